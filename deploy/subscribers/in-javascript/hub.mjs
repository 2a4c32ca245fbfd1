// For how long at least an end is remembered, in milliseconds: longer than a
// replica of curfew that lags behind may go on letting the session in
// (CURFEW_MAX_STALENESS), and than a websocket takes to open.
const remembered = 60_000;

// The close codes. Those from 4000 are for applications to choose. With ended, a
// page goes where nobody is signed in; with again, it opens the websocket anew,
// which asks the guard.
const ended = 4401;
const again = 1013;

// Hub knows the open websockets of each session.
export class Hub {
  #sure = false; // every end is heard of
  #open = new Map(); // seats by session
  #over = new Map(); // reasons of late ends by session

  // enter takes in a websocket that the guard has let pass, or says with which
  // status it is refused.
  enter(session) {
    if (!this.#sure) return { refused: "503 Service Unavailable" };
    // The guard said yes before the end, or had not heard of it.
    if (this.#over.has(session)) return { refused: "401 Unauthorized" };
    const seats = this.#open.get(session) ?? new Set();
    this.#open.set(session, seats);
    const seat = new Seat(() => {
      seats.delete(seat);
      if (seats.size === 0 && this.#open.get(session) === seats) this.#open.delete(session);
    });
    seats.add(seat);
    return seat;
  }

  // end closes the websockets of a session that has ended, whatever the message
  // says of it.
  end(subject, body) {
    const session = subject.slice("curfew.ended.".length);
    let reason = "ended";
    try {
      const said = JSON.parse(body).reason;
      if (typeof said === "string" && said.length <= 100) reason = said;
    } catch {
      // It has ended all the same.
    }
    this.#over.set(session, reason);
    setTimeout(() => this.#over.delete(session), remembered).unref();
    for (const seat of this.#open.get(session) ?? []) seat.close(ended, reason);
  }

  // lose closes all websockets, and takes in none: who has ended meanwhile is not
  // known. Those whose sessions stand come again, and are let in by the guard.
  lose() {
    this.#sure = false;
    for (const seats of this.#open.values()) for (const seat of seats) seat.close(again, "unsure");
  }

  // hear takes websockets in: from here on every end is heard of.
  hear() {
    this.#sure = true;
  }
}

// Seat is one websocket's place.
class Seat {
  #close;
  #closed;

  constructor(leave) {
    this.leave = leave;
  }

  // closeWith says how the websocket is closed, once it is open. That may be due
  // already.
  closeWith(close) {
    this.#close = close;
    if (this.#closed) close(...this.#closed);
  }

  // close closes it, the first time.
  close(code, reason) {
    if (this.#closed) return;
    this.#closed = [code, reason];
    this.#close?.(code, reason);
  }
}
