// One WebSocket that comes back: jittered backoff, and a word about silence.

const FIRST_MS = 500;
const MOST_MS = 15000;
export const STALE_MS = 5000;
// After so long without a message the socket is given up, whatever it says of itself.
const DEAD_MS = 15000;
const UNKNOWN_NAME = 4404;
const NOT_RUNNING = 4503;

export class Stream {
  // `onMessage(message)`, `onState(state)`; states: opening, open, stale, waiting, absent
  // (no feed runs there), refused.
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.socket = null;
    this.attempts = 0;
    this.retryAt = 0;
    this.heardAt = 0;
    this.state = "";
    this.timer = setInterval(() => this.watch(), 250);
  }

  open(path) {
    this.path = path;
    this.attempts = 0;
    this.connect();
  }

  connect() {
    this.drop();
    this.retryAt = 0;
    this.tell("opening");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${this.path}`);
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.heardAt = performance.now();
      const message = JSON.parse(event.data);
      if (message.type !== "error") {
        this.attempts = 0;
        this.tell("open");
      }
      // The server holds back what is newer while a few contexts are not acknowledged.
      if (message.seq !== undefined) socket.send(JSON.stringify({ ack: message.seq }));
      this.onMessage(message);
    };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      this.socket = null;
      if (event.code === UNKNOWN_NAME) this.tell("refused");
      else if (event.code === NOT_RUNNING) this.wait("absent", MOST_MS);
      else this.retry();
    };
  }

  drop() {
    const socket = this.socket;
    this.socket = null;
    // Closing before the handshake is done is an error in the console.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket?.close();
  }

  retry() {
    const delay = Math.min(MOST_MS, FIRST_MS * 2 ** this.attempts);
    this.attempts += 1;
    this.wait("waiting", delay);
  }

  wait(state, delay) {
    this.retryAt = performance.now() + delay * (0.8 + 0.4 * Math.random());
    this.tell(state);
  }

  // Seconds until the next attempt.
  get retryIn() {
    return Math.max(0, Math.ceil((this.retryAt - performance.now()) / 1000));
  }

  get silence() {
    return performance.now() - this.heardAt;
  }

  watch() {
    if (this.state === "waiting" || this.state === "absent") {
      if (performance.now() >= this.retryAt) this.connect();
    } else if (this.socket !== null && this.silence > DEAD_MS) {
      this.drop();
      this.retry();
    } else if (this.state === "open" && this.silence > STALE_MS) {
      this.tell("stale");
    }
  }

  tell(state) {
    const changed = state !== this.state;
    this.state = state;
    if (changed) this.onState(state);
  }
}
