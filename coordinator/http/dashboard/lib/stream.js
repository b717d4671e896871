// Server-sent events by fetch(), because EventSource cannot send a token: reads, goes on where it was cut, and waits
// longer after each failure in a row.
import { headers, problemOf, Problem } from "./api.js";

const kWaitMaxMs = 30_000;
const kSilenceMaxMs = 45_000;  // the service says something every 15 s

// Takes text of a stream, gives back its events.
export class EventParser {
  #rest = "";
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    const events = [];
    for (const line of lines) {
      if (line === "") {
        if (this.#event.data.length || this.#event.retry)
          events.push({ ...this.#event, data: this.#event.data.join("\n") });
        this.#event = { type: "message", data: [] };
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") this.#event.type = value;
      if (field === "data") this.#event.data.push(value);
      if (field === "id") this.#event.id = value;
      if (field === "retry") this.#event.retry = Number(value);
    }
    return events;
  }
  #event = { type: "message", data: [] };
}

export class EventStream {
  #path;
  #onEvent;
  #onState;
  #lastId = "";
  #retryMs = 2000;
  #failures = 0;
  #abort = null;
  #timer = null;

  // `onEvent(type, data)` with parsed data; `onState(state, detail)`: "open", "lost" (detail: milliseconds until the
  // next try), "refused" (detail: the Problem; nothing more is tried until start()).
  constructor(path, onEvent, onState) {
    this.#path = path;
    this.#onEvent = onEvent;
    this.#onState = onState;
  }
  start() {
    this.stop();
    this.#failures = 0;
    this.#connect();
  }
  stop() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #connect() {
    const abort = (this.#abort = new AbortController());
    let silence = null;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), kSilenceMaxMs);
    };
    try {
      heard();
      const added = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
      const reply = await fetch(this.#path, { headers: headers(added), credentials: "omit", signal: abort.signal });
      if (!reply.ok) throw await problemOf(reply);
      this.#onState("open");
      this.#failures = 0;
      const parser = new EventParser();
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        heard();
        for (const event of parser.push(value)) this.#take(event);
      }
    } catch (problem) {
      if (problem instanceof Problem && (problem.status === 401 || problem.status === 403)) {
        clearTimeout(silence);
        if (this.#abort === abort) this.#onState("refused", problem);
        return;
      }
    }
    clearTimeout(silence);
    if (this.#abort !== abort) return;  // stopped, or started anew
    const wait = Math.min(kWaitMaxMs, this.#retryMs * 2 ** this.#failures) * (0.75 + 0.5 * Math.random());
    ++this.#failures;
    this.#onState("lost", wait);
    this.#timer = setTimeout(() => this.#connect(), wait);
  }
  #take(event) {
    if (event.retry) this.#retryMs = event.retry;
    if (event.id !== undefined) this.#lastId = event.id;
    if (!event.data) return;
    try {
      this.#onEvent(event.type, JSON.parse(event.data));
    } catch (error) {
      reportError(error);  // a mistake of this page, not of the connection
    }
  }
}
