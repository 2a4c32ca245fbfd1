// What an operator of the provider can do without the user's browser. The
// provider has no console of its own; this does what its end-session endpoint
// does for a browser.

export class Operator {
  #provider;

  #seen = new Set(); // uids of sessions that some client was signed in with

  #gate; // holds the token endpoint's next answer, if there is one

  constructor(provider) {
    this.#provider = provider;
    provider.on('authorization.success', (ctx) => this.#seen.add(ctx.oidc.session.uid));
    provider.use(async (ctx, next) => {
      await next();
      if (ctx.oidc?.route === 'token') await this.#gate?.pass();
    });
  }

  // GET  /operator/sessions                    lists sessions
  // POST /operator/sessions/end?sid=… or sub=…  ends those that match, and
  //                                             tells their clients
  // POST /operator/gate/close                   holds the token endpoint's next
  //                                             answer, which is made by then
  // POST /operator/gate/wait                    answers when one is held
  // POST /operator/gate/open                    lets it go
  async handle(request, response, path) {
    const url = new URL(path, 'http://operator');
    let answer;
    switch (`${request.method} ${url.pathname}`) {
      case 'GET /operator/sessions':
        answer = (await this.#sessions()).map(describe);
        break;
      case 'POST /operator/sessions/end':
        answer = await this.#end(url.searchParams.get('sid'), url.searchParams.get('sub'));
        break;
      case 'POST /operator/gate/close':
        this.#gate = new Gate();
        answer = {};
        break;
      case 'POST /operator/gate/wait':
        await this.#gate.held;
        answer = {};
        break;
      case 'POST /operator/gate/open':
        this.#gate.open();
        this.#gate = undefined;
        answer = {};
        break;
      default:
        response.writeHead(404).end();
        return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  }

  async #sessions() {
    const found = await Promise.all([...this.#seen].map((uid) => this.#provider.Session.findByUid(uid)));
    return found.filter((session) => session?.accountId);
  }

  async #end(sid, sub) {
    const matching = (await this.#sessions()).filter((session) => (
      session.accountId === sub || Object.values(session.authorizations ?? {}).some((a) => a.sid === sid)));
    const told = [];
    for (const session of matching) {
      // Gone before anybody is told: whoever hears of it finds it so.
      await session.destroy();
      for (const [clientId, authorization] of Object.entries(session.authorizations ?? {})) {
        told.push(this.#tell(session, clientId, authorization));
      }
    }
    return Promise.all(told);
  }

  async #tell(session, clientId, { sid, grantId, persistsLogout }) {
    const client = await this.#provider.Client.find(clientId);
    if (grantId && !persistsLogout) {
      const { AccessToken, AuthorizationCode, RefreshToken, Grant } = this.#provider;
      await Promise.all([AccessToken, AuthorizationCode, RefreshToken].map((m) => m.revokeByGrantId(grantId)));
      await Grant.adapter.destroy(grantId);
    }
    const result = { client: clientId, sub: session.accountId, sid };
    if (!client.backchannelLogoutUri) return result;
    try {
      await client.backchannelLogout(session.accountId, sid);
    } catch (error) {
      result.error = error.message;
    }
    return result;
  }
}

// A Gate is passed once it is open, and tells when somebody stands before it.
class Gate {
  #arrive;

  #opened;

  constructor() {
    this.held = new Promise((resolve) => { this.#arrive = resolve; });
    this.#opened = new Promise((resolve) => { this.open = resolve; });
  }

  async pass() {
    this.#arrive();
    await this.#opened;
  }
}

function describe(session) {
  const sids = Object.entries(session.authorizations ?? {}).map(([client, { sid }]) => [client, sid]);
  return { sub: session.accountId, sids: Object.fromEntries(sids) };
}
