// A certified OpenID Provider for curfew's tests. It reads one line of JSON on
// standard input (see `settings` below), listens on loopback, prints one line of
// JSON when it is ready, and ends when standard input does: it never outlives
// the test that started it.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

import { handleInteraction, logoutPage, plainPage } from './interaction.mjs';
import { Operator } from './operator.mjs';

// settings: {
//   port: 0 for one of the system's choice,
//   path: the issuer's path, such as "", "/" or "/realm/",
//   clients: [client metadata as in OpenID Connect Dynamic Client Registration],
//   users: [{ sub, username, password, claims: {…} }],
//   userinfoOnly: keep profile claims out of ID tokens, as the specification says,
//   accessLife: seconds an access token lasts,
//   rotate: give a new refresh token with every refresh,
// }
const [line] = await new Promise((resolve) => {
  const lines = createInterface({ input: process.stdin });
  lines.once('line', (first) => resolve([first]));
  lines.once('close', () => process.exit(0));
});
const settings = JSON.parse(line);

// Notices about development defaults go where the parent reads the log.
console.info = console.error;
console.warn = console.error;

function signingKey(alg, type, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig' };
}

function configuration() {
  const accounts = new Map(settings.users.map((user) => [user.sub, user]));
  return {
    clients: settings.clients,
    jwks: {
      keys: [
        signingKey('RS256', 'rsa', { modulusLength: 2048 }),
        signingKey('ES256', 'ec', { namedCurve: 'P-256' }),
        signingKey('EdDSA', 'ed25519'),
      ],
    },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    findAccount: (_ctx, sub) => accounts.has(sub) && {
      accountId: sub,
      claims: () => ({ sub, ...accounts.get(sub).claims }),
    },
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username', 'groups'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    conformIdTokenClaims: settings.userinfoOnly,
    rotateRefreshToken: settings.rotate,
    ttl: {
      AccessToken: settings.accessLife,
      AuthorizationCode: 60,
      Grant: 86400,
      IdToken: 300,
      Interaction: 600,
      RefreshToken: 86400,
      Session: 86400,
    },
    interactions: {
      url: (_ctx, interaction) => `${base}/interaction/${interaction.uid}`,
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      userinfo: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => { ctx.body = logoutPage(form); },
        postLogoutSuccessSource: (ctx) => { ctx.body = plainPage('Signed out'); },
      },
    },
    renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = plainPage(`${out.error}: ${out.error_description ?? ''}`); },
    // Its guard against requests to special-use addresses would keep it from
    // telling applications on loopback of a logout.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  };
}

const server = createServer();
await new Promise((resolve) => { server.listen(settings.port, '127.0.0.1', resolve); });
const origin = `http://127.0.0.1:${server.address().port}`;
const base = settings.path.replace(/\/$/, '');

const provider = new Provider(origin + settings.path, configuration());
provider.on('server_error', (_ctx, error) => console.error(error));
const operator = new Operator(provider);
const callback = provider.callback();

server.on('request', async (request, response) => {
  if (!request.url.startsWith(`${base}/`)) {
    response.writeHead(404).end();
    return;
  }
  const path = request.url.slice(base.length);
  try {
    if (path.startsWith('/operator/')) {
      await operator.handle(request, response, path);
    } else if (path.startsWith('/interaction/')) {
      await handleInteraction(provider, settings.users, request, response);
    } else {
      // How a provider below a path is mounted: it takes the difference of the
      // two for its prefix.
      request.originalUrl = request.url;
      request.url = path;
      await callback(request, response);
    }
  } catch (error) {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end(String(error));
  }
});

console.log(JSON.stringify({ issuer: provider.issuer, url: origin + base }));
