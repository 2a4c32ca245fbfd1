// An example: an application whose websockets end with their sessions. It stands
// behind a proxy that has curfew asked about each request and passes on
// X-Curfew-Session, and hears of ends by NATS.
import { createServer } from "node:http";
import { connect } from "@nats-io/transport-node";
import { WebSocketServer } from "ws";
import { Hub } from "./hub.mjs";

const { NATS_URL = "", LISTEN = "127.0.0.1:8000" } = process.env;

// How long a websocket may be open, in milliseconds. A browser then opens it anew,
// and so asks the guard: whatever was missed is over by then. Plain NATS promises
// to deliver once at most, and a replica of curfew that has lost the log may let
// somebody in for a while yet.
const longest = Number(process.env.LONGEST_MS ?? 15 * 60_000);

const hub = new Hub();

// Started again, there is no websocket that it might have forgotten to close.
function giveUp(error) {
  console.error("ends may have been missed:", error);
  process.exit(1);
}

// serversOf reads NATS_URL as nats.go does, and curfew: one URL or several with
// commas between. With tls:// the connection is encrypted or is none, whatever the
// server would do. Who we are stands in the first, percent-encoded.
function serversOf(text) {
  const urls = text.split(",").map((url) => (URL.canParse(url.trim()) ? new URL(url.trim()) : {}));
  if (!urls.every(({ protocol }) => protocol === "nats:" || protocol === "tls:")) {
    console.error("NATS_URL: want nats://USER:PASSWORD@HOST:PORT, or tls:// where it is to be encrypted");
    process.exit(2);
  }
  const [user, pass] = [urls[0].username, urls[0].password].map(decodeURIComponent);
  return {
    servers: urls.map((url) => url.host),
    ...(pass ? { user, pass } : user ? { token: user } : {}),
    ...(urls.some(({ protocol }) => protocol === "tls:") ? { tls: {} } : {}),
  };
}

const nats = await connect({
  ...serversOf(NATS_URL),
  maxReconnectAttempts: -1,
  reconnectTimeWait: 1000,
  // A connection that is dead without a word is noticed within 15 seconds, the
  // time after which curfew's guard lets nobody in either.
  pingInterval: 5000,
  maxPingOut: 2,
});
nats.closed().then(giveUp);
nats.subscribe("curfew.ended.*", {
  callback(error, message) {
    if (error) giveUp(error); // it may not listen, for one
    hub.end(message.subject, message.string());
  },
});
watch(nats.status()).catch(giveUp);
// Answered when the server has the subscription.
await nats.flush();
hub.hear();

async function watch(statuses) {
  for await (const status of statuses) {
    if (status.type === "disconnect") {
      console.error("NATS is away");
      hub.lose();
    } else if (status.type === "reconnect") {
      // It may be away again before it answers; then it will be back again.
      nats.flush().then(() => hub.hear(), () => {});
    }
  }
}

const server = createServer((_, response) => response.writeHead(404).end());
const sockets = new WebSocketServer({ noServer: true });

server.on("upgrade", (request, connection, head) => {
  // From here on errors of the connection are ours. One that nobody listens for
  // ends the process.
  connection.on("error", () => connection.destroy());
  const refuse = (status) => connection.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  // Any page can open a websocket here, with the cookies of whoever looks at it.
  const { origin, host } = request.headers;
  if (origin && (!URL.canParse(origin) || new URL(origin).host !== host)) return refuse("403 Forbidden");
  // The proxy takes this header away from whatever a client sends.
  const session = request.headers["x-curfew-session"];
  if (!session) return refuse("401 Unauthorized");
  const seat = hub.enter(session);
  if (seat.refused) return refuse(seat.refused);
  connection.once("close", seat.leave);
  sockets.handleUpgrade(request, connection, head, (socket) => {
    seat.closeWith((code, reason) => {
      socket.removeAllListeners("message");
      socket.close(code, reason);
      setTimeout(() => socket.terminate(), 1000).unref(); // for a client that does not answer
    });
    const limit = setTimeout(() => seat.close(1013, "come again"), longest);
    socket.once("close", () => clearTimeout(limit));
    socket.on("error", () => socket.terminate());
    socket.on("message", (message, binary) => socket.send(message, { binary }));
  });
});

const [port, host] = LISTEN.split(":").reverse();
server.listen(Number(port), host, () => {
  const at = server.address();
  console.log(`listening on ${at.address}:${at.port}`);
});
