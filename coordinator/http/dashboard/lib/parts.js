// Pieces that several pages show.
import { h } from "./dom.js";
import { ask, notice } from "./dialog.js";
import * as words from "./words.js";

const kStates = {
  queued: "waiting",
  running: "at work",
  cancelling: "being cancelled",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};
export const stateWord = (state) => kStates[state] ?? state;
export const stateBadge = (state) => h("span", { class: "badge " + state }, stateWord(state));

export const jobLink = (job) => h("a", { class: "strong", href: `#/jobs/${job.id}` }, job.name || `job ${job.id}`);
export const artifactLink = (ref, text = ref) => h("a", { href: "#/artifacts/" + encodeURIComponent(ref) }, text);
export const problemLine = (problem) => h("p", { class: "problem", role: "alert" }, problem.message);
export const emptyLine = (text) => h("p", { class: "empty" }, text);

export function progressLine(job) {
  const progress = job.progress;
  if (!progress) return null;
  const what = progress.what || progress.step || "starting";
  const known = progress.total > 0;
  const step = progress.what && progress.step ? progress.step : "";
  return h(
    "div",
    { class: "progress" },
    h("progress", { max: known ? progress.total : 1, value: known ? progress.done : null, "aria-label": `${job.name}: ${what}` }),
    h(
      "div",
      { class: "progress-words" },
      h("span", null, known ? `${what}: ${progress.done} of ${progress.total}` : what, step ? h("span", { class: "quiet" }, ` · ${step}`) : null),
      h("span", { class: "quiet" }, words.timeLeft(progress)),
    ),
  );
}

// `columns`: {title, cell(row), number, sort}; rows become blocks with their titles on narrow screens. `key(row)` keeps
// a row's elements when others come and go.
export function table({ label, columns, rows, key, sorted, onsort }) {
  const head = (column) => {
    const attributes = { scope: "col", class: column.number ? "number" : null };
    if (!column.sort) return h("th", attributes, column.title);
    if (sorted?.by === column.sort) attributes["aria-sort"] = sorted.down ? "descending" : "ascending";
    return h("th", attributes, h("button", { class: "sort", onclick: () => onsort(column.sort) }, column.title));
  };
  return h(
    "div",
    { class: "table", role: "region", "aria-label": label, tabindex: "0" },
    h(
      "table",
      null,
      h("thead", null, h("tr", null, columns.map(head))),
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            { key: key ? key(row) : null },
            columns.map((column) =>
              h("td", { class: column.number ? "number" : null, "data-title": column.title || null }, column.cell(row)),
            ),
          ),
        ),
      ),
    ),
  );
}

// The first of many rows, and a button for more. One for each list of a view.
export class Shortened {
  #shown;
  #step;
  #update;
  constructor(update, step = 100) {
    this.#shown = this.#step = step;
    this.#update = update;
  }
  rows(all) {
    return all.slice(0, this.#shown);
  }
  more(all) {
    const left = all.length - this.#shown;
    if (left <= 0) return null;
    const show = () => {
      this.#shown += this.#step;
      this.#update();
    };
    return h("p", null, h("button", { onclick: show }, `Show more: ${left} are left`));
  }
}

// [["word", value], …]; what is empty is left out.
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([word, value]) => h("div", null, h("dt", null, word), h("dd", null, value))),
  );
}

export const section = (title, ...children) => h("section", { key: title }, h("h2", null, title), children);

export function jobActions(service, job) {
  if (!service.may("submit")) return null;
  if (job.state === "queued" || job.state === "running")
    return h("button", { class: "small", "aria-label": `Cancel job ${job.id}, ${job.name}`, onclick: () => askCancel(service, job) }, "Cancel");
  if (job.state === "failed" || job.state === "cancelled")
    return h("button", { class: "small", "aria-label": `Retry job ${job.id}, ${job.name}`, onclick: () => retry(service, job) }, "Retry");
  return null;
}

function askCancel(service, job) {
  ask({
    title: `Cancel job ${job.id}?`,
    text: `${job.name}: what it has committed is kept, and a retry goes on from there.`,
    fields: [{ name: "reason", label: "Reason", maxlength: 1000 }],
    action: "Cancel the job",
    danger: true,
    act: ({ reason }) => service.cancel(job.id, reason),
  });
}

async function retry(service, job) {
  try {
    await service.retry(job.id);
  } catch (problem) {
    notice(problem.message);
  }
}

export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
