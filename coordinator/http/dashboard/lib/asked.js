// Something that is asked for and shown when it has come.
import { h } from "./dom.js";
import { emptyLine, problemLine } from "./parts.js";

export class Asked {
  value = null;
  problem = null;
  #update;
  #ask;
  #turn = 0;

  // `ask()` gives a promise; it is called now and at every again().
  constructor(update, ask) {
    this.#update = update;
    this.#ask = ask;
    this.again();
  }
  async again() {
    const turn = ++this.#turn;
    try {
      const value = await this.#ask();
      if (turn !== this.#turn) return;  // it has been asked for again since
      this.value = value;
      this.problem = null;
    } catch (problem) {
      if (turn !== this.#turn) return;
      this.problem = problem;
    }
    this.#update();
  }
  // What `show(value)` makes; until then, and where it failed, a line that says so.
  render(show) {
    if (this.problem) return [problemLine(this.problem), h("p", null, h("button", { onclick: () => this.again() }, "Try again"))];
    return this.value === null ? emptyLine("Asking the service …") : show(this.value);
  }
}
