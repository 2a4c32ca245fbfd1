// The provider's pages: sign in, consent, sign out. Forms carry data-step, by
// which a client without scripts finds its way.

export function plainPage(text, body = '') {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"/><title>${escape(text)}</title></head>`
    + `<body><h1>${escape(text)}</h1>${body}</body></html>`;
}

const signInForm = `<form method="post" data-step="sign-in">
<label>Username <input name="username" type="text"/></label>
<label>Password <input name="password" type="password"/></label>
<button type="submit">Sign in</button></form>`;

const consentForm = `<form method="post" data-step="consent"><button type="submit">Allow</button></form>`;

// logoutPage completes the form that the provider hands over.
export function logoutPage(form) {
  const asking = form
    .replace('<form ', '<form data-step="confirm" ')
    .replace('</form>', '<input type="hidden" name="logout" value="yes"/><button type="submit">Sign out</button></form>');
  return plainPage('Sign out?', asking);
}

function escape(text) {
  return String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

async function readForm(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return new URLSearchParams(body);
}

function show(response, status, text, body) {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  response.end(plainPage(text, body));
}

export async function handleInteraction(provider, users, request, response) {
  const details = await provider.interactionDetails(request, response);
  const signingIn = details.prompt.name === 'login';
  if (request.method !== 'POST') {
    show(response, 200, signingIn ? 'Sign in' : 'Allow access?', signingIn ? signInForm : consentForm);
    return;
  }
  if (!signingIn) {
    const result = { consent: { grantId: await grant(provider, details) } };
    await provider.interactionFinished(request, response, result);
    return;
  }
  const form = await readForm(request);
  const user = users.find((u) => u.username === form.get('username') && u.password === form.get('password'));
  if (!user) {
    show(response, 422, 'Sign in: that name and password do not match', signInForm);
    return;
  }
  const result = { login: { accountId: user.sub } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

// grant lets the client have all it asked for.
async function grant(provider, { grantId, params, prompt: { details }, session }) {
  const existing = grantId && await provider.Grant.find(grantId);
  const given = existing || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (details.missingOIDCScope) given.addOIDCScope(details.missingOIDCScope.join(' '));
  if (details.missingOIDCClaims) given.addOIDCClaims(details.missingOIDCClaims);
  return given.save();
}
