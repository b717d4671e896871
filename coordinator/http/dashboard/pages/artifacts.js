// What the store has: the Pareto plot, the list, two of them chosen to be compared.
import * as api from "../lib/api.js";
import { Asked } from "../lib/asked.js";
import { h } from "../lib/dom.js";
import { paretoPlot } from "../lib/pareto.js";
import * as parts from "../lib/parts.js";
import * as words from "../lib/words.js";

const benchmarkOf = (score) =>
  `${score.benchmark}, ${score.language}, ${words.count(score.tasks, "task")}, ${words.count(score.samples, "sample")}, temperature ${score.temperature}`;

const textOf = (value) =>
  (value !== null && typeof value === "object" ? Object.values(value).map(textOf).join(" ") : String(value ?? "")).toLowerCase();

// Every word is somewhere: in any field, or in the one it names (bits:4, digest:b45be2).
const fitsWords = (one, wanted) => wanted.split(/\s+/).every((word) => {
  const colon = word.indexOf(":"), field = word.slice(0, Math.max(colon, 0));
  return Object.hasOwn(one, field) ? textOf(one[field]).includes(word.slice(colon + 1)) : textOf(one).includes(word);
});

const kSorts = {
  name: (one) => one.name,
  size: (one) => one.bytes,
  bits: (one) => one.bits_per_weight ?? Infinity,
  loss: (one) => one.mean_relative_loss ?? Infinity,
  score: (one) => -(one.pass_at_1 ?? -1),
  date: (one) => -one.published_unix_ms,
};

export function open({ service, update, go }) {
  const list = new Asked(update, () => api.get("/v1/artifacts"));
  const chosen = [];  // names, at most two
  const first = new parts.Shortened(update);
  let wanted = "";
  let benchmark = "", model = "";
  let sorted = { by: "date", down: false };

  const again = ({ detail }) => {
    if (!detail || detail.state === "done") list.again();
  };
  service.addEventListener("moved", again);

  function choose(name, on) {
    const at = chosen.indexOf(name);
    if (at >= 0) chosen.splice(at, 1);
    if (on) chosen.push(name);
    if (chosen.length > 2) chosen.shift();
    // A box that was ticked is the browser's to show, not morph's.
    for (const box of document.querySelectorAll("input[data-ref]")) box.checked = chosen.includes(box.dataset.ref);
    update();
  }

  function plot(artifacts) {
    const models = [...new Set(artifacts.filter((one) => one.scores?.length).map((one) => one.model))];
    if (!models.length) return parts.emptyLine("No artifact has been evaluated yet.");
    if (!models.includes(model)) model = models[0];
    const ofModel = artifacts.filter((one) => one.model === model);
    const benchmarks = [...new Set(ofModel.flatMap((one) => (one.scores ?? []).map(benchmarkOf)))];
    if (!benchmarks.includes(benchmark)) benchmark = benchmarks[0];
    const byDigest = new Map();
    for (const one of ofModel) {
      const score = one.scores?.find((each) => benchmarkOf(each) === benchmark);
      if (score && !byDigest.has(one.digest))
        byDigest.set(one.digest, { name: one.name, label: one.name.split("/").pop(), href: "#/artifacts/" + encodeURIComponent(one.name), bytes: one.bytes, score: score.pass_at_1 });
    }
    const select = (id, label, options, value, set) =>
      h("p", { class: "field" }, h("label", { for: id }, label),
        h("select", { id, value, onchange: (event) => { set(event.target.value); update(); } }, options.map((option) => h("option", { value: option }, option))));
    return [
      h("div", { class: "inline tools" },
        select("plot-model", "Model", models, model, (value) => (model = value)),
        select("plot-benchmark", "Benchmark", benchmarks, benchmark, (value) => (benchmark = value))),
      paretoPlot([...byDigest.values()], benchmark),
    ];
  }

  function rows(artifacts) {
    const fits = artifacts.filter((one) => !wanted || fitsWords(one, wanted));
    const value = kSorts[sorted.by];
    const sign = sorted.down ? -1 : 1;
    fits.sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
    if (!fits.length) return parts.emptyLine(wanted ? "No artifact fits." : "The store has no artifacts yet.");
    return [parts.table({
      label: "Artifacts",
      key: (one) => one.name,
      rows: first.rows(fits),
      sorted,
      onsort: (by) => {
        sorted = { by, down: sorted.by === by && !sorted.down };
        update();
      },
      columns: [
        { title: "Compare", cell: (one) => one.method
            ? h("input", { type: "checkbox", "data-ref": one.name, "aria-label": `Compare ${one.name}`, onchange: (event) => choose(one.name, event.target.checked) })
            : null },
        { title: "Name", sort: "name", cell: (one) => parts.artifactLink(one.name) },
        { title: "Model", cell: (one) => one.model ?? `calibration, ${one.calibration}` },
        { title: "Size", sort: "size", number: true, cell: (one) => words.bytes(one.bytes) },
        { title: "Bits per weight", sort: "bits", number: true, cell: (one) => words.number(one.bits_per_weight) },
        { title: "Mean loss", sort: "loss", number: true, cell: (one) => (one.method === "none" ? words.kNothing : words.loss(one.mean_relative_loss)) },
        { title: "pass@1", sort: "score", number: true, cell: (one) => h("span", { title: one.benchmark ?? null }, words.percent(one.pass_at_1)) },
        { title: "Published", sort: "date", cell: (one) => words.time(one.published_unix_ms) },
      ],
    }), first.more(fits)];
  }

  function render() {
    const both = chosen.length === 2;
    return [
      h("div", { class: "page-head" },
        h("h1", null, "Artifacts"),
        h("div", { class: "inline" },
          h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter artifacts", title: "Words of any field, or of one: bits:4 humaneval", oninput: (event) => { wanted = event.target.value.trim().toLowerCase(); update(); } }),
          h("button", { class: both ? "primary" : null, disabled: !both, onclick: () => go(`#/compare/${chosen.map(encodeURIComponent).join("/")}`) },
            both ? "Compare the two" : `Compare (${chosen.length} of 2)`))),
      list.render((artifacts) => [parts.section("Size and quality", plot(artifacts)), parts.section("All", rows(artifacts))]),
    ];
  }
  return { title: "Artifacts", render, close: () => service.removeEventListener("moved", again) };
}
