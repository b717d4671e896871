// A job's log as it grows. Asks for what is new when an event of the job says that there may be some; the service keeps
// the log, so nothing is missing after a pause.
import * as api from "./api.js";
import { h } from "./dom.js";

const kLinesMax = 5000;
const kPauseMs = 300;

export class LogView {
  #id;
  #service;
  #next = 0;
  #lines = [];
  #rest = "";
  #filter = "";
  #decoder = new TextDecoder();
  #timer = null;
  #asking = false;
  #closed = false;
  #text;
  #follow;
  #note;
  #sizes = new ResizeObserver(() => this.#toEnd());  // lines break elsewhere in a narrower window
  #on = (event) => {
    if (event.type === "again" || event.detail === this.#id || event.detail?.id === this.#id) this.#soon();
  };

  constructor(id, service) {
    this.#id = id;
    this.#service = service;
    this.#text = h("pre", { class: "log", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off" });
    this.#follow = h("input", { type: "checkbox", id: "log-follow", checked: true, onchange: () => this.#toEnd() });
    this.#note = h("span", { class: "quiet" });
    const filter = h("input", {
      type: "search", id: "log-filter", placeholder: "Lines with …", "aria-label": "Only lines with",
      oninput: (event) => { this.#filter = event.target.value.toLowerCase(); this.#show(); },
    });
    this.element = h("div", { key: "log", own: true },
      h("div", { class: "inline tools" }, filter, h("label", { for: "log-follow" }, this.#follow, " Follow"), this.#note),
      this.#text);
    for (const type of ["written", "moved", "again"]) service.addEventListener(type, this.#on);
    this.#sizes.observe(this.#text);
    this.#ask();
  }
  close() {
    this.#closed = true;
    this.#sizes.disconnect();
    clearTimeout(this.#timer);
    for (const type of ["written", "moved", "again"]) this.#service.removeEventListener(type, this.#on);
  }

  #soon() {
    if (!this.#closed) this.#timer ??= setTimeout(() => { this.#timer = null; this.#ask(); }, kPauseMs);
  }
  async #ask() {
    if (this.#asking) return this.#soon();
    this.#asking = true;
    try {
      for (;;) {
        const { bytes, next } = await api.logPart(this.#id, this.#next);
        if (this.#closed || bytes.byteLength === 0) break;
        this.#next = next;
        this.#add(this.#decoder.decode(bytes, { stream: true }));
      }
      this.#note.textContent = this.#lines.length >= kLinesMax ? `the last ${kLinesMax} lines; quench logs ${this.#id} has all` : "";
    } catch (problem) {
      this.#note.textContent = problem.message;
    }
    this.#asking = false;
  }
  #add(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    this.#lines.push(...lines);
    if (this.#lines.length > kLinesMax) this.#lines.splice(0, this.#lines.length - kLinesMax);
    this.#show();
  }
  #show() {
    const lines = this.#filter ? this.#lines.filter((line) => line.toLowerCase().includes(this.#filter)) : this.#lines;
    this.#text.textContent = lines.length ? lines.join("\n") + "\n" : "";
    this.#toEnd();
  }
  #toEnd() {
    if (this.#follow.checked) this.#text.scrollTop = this.#text.scrollHeight;
  }
}
