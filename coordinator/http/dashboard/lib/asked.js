// Something that is asked for once and shown when it has come.
import { emptyLine, problemLine } from "./parts.js";

export class Asked {
  value = null;
  problem = null;
  #update;
  #turn = 0;

  constructor(update, promise) {
    this.#update = update;
    if (promise) this.ask(promise);
  }
  async ask(promise) {
    const turn = ++this.#turn;
    try {
      const value = await promise;
      if (turn !== this.#turn) return;  // something else has been asked for since
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
    if (this.problem) return problemLine(this.problem);
    return this.value === null ? emptyLine("Asking the service …") : show(this.value);
  }
}
