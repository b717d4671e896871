// Two artifacts beside each other: what differs in how they were made, their weights, their scores, and whether the
// difference of the scores is more than chance.
import * as api from "../lib/api.js";
import { Asked } from "../lib/asked.js";
import { comparisonTable } from "../lib/comparisons.js";
import { h } from "../lib/dom.js";
import * as parts from "../lib/parts.js";
import * as words from "../lib/words.js";

export function open({ update, go }, a = "", b = "") {
  const names = new Asked(update, () => api.get("/v1/artifacts"));
  const both = a && b;
  const refs = [a, b].map(api.segment);
  const difference = both ? new Asked(update, () => api.get(`/v1/artifacts/${refs[0]}/difference/${refs[1]}`)) : null;
  const results = both ? new Asked(update, () => api.get(`/v1/results?ref=${refs[0]}&ref=${refs[1]}`)) : null;

  function chooser(artifacts) {
    const known = artifacts.filter((one) => one.method).map((one) => one.name);
    const select = (id, label, value, to) =>
      h("p", { class: "field grow" }, h("label", { for: id }, label),
        h("select", { id, value, onchange: (event) => go(`#/compare/${to(encodeURIComponent(event.target.value))}`) },
          h("option", { value: "" }, "choose …"),
          [...new Set([...known, value].filter(Boolean))].sort().map((name) => h("option", { value: name }, name))));
    return h("div", { class: "inline tools" },
      select("side-a", "A", a, (chosen) => `${chosen}/${refs[1]}`),
      select("side-b", "B", b, (chosen) => `${refs[0]}/${chosen}`));
  }

  function changes(found) {
    if (found.a === found.b) return h("p", { class: "reason" }, "These are the same artifact.");
    const value = (one, field) => (one === null ? words.kNothing : field === "group_size" && one < 0 ? "whole rows" : String(one));
    const rows = [
      ["model", found.same_source ? "the same" : "different", null],
      ["calibration", found.same_calibration ? "the same" : "different", null],
      ...found.recipe.map(({ field, a: left, b: right }) => [field.replaceAll("_", " "), value(left, field), value(right, field)]),
      ["size", words.bytes(found.bytes_a), words.bytes(found.bytes_b)],
    ];
    return [
      h("div", { class: "table plain" }, h("table", null,
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "What"), h("th", { scope: "col" }, "A"), h("th", { scope: "col" }, "B"))),
        h("tbody", null, rows.map(([what, left, right]) =>
          h("tr", null, h("th", { scope: "row" }, what), h("td", { colspan: right === null ? 2 : null }, left), right === null ? null : h("td", null, right)))))),
      h("p", { class: "quiet" }, `${words.bytes(found.bytes_shared)} of the bytes are shared; ${words.count(found.tensors_same, "tensor")} the same, ${found.tensors_changed.length} different.`),
    ];
  }

  function weights(found) {
    if (!found.tensors_changed.length) return null;
    const side = (one) => (one ? one.bits : words.kNothing);
    return parts.section("Weights that differ", h("details", { key: "weights" }, h("summary", null, words.count(found.tensors_changed.length, "tensor")),
      parts.table({
        label: "Weights that differ",
        key: (one) => one.tensor,
        rows: found.tensors_changed,
        columns: [
          { title: "Tensor", cell: (one) => h("code", null, one.tensor) },
          { title: "Bits A", number: true, cell: (one) => side(one.a) },
          { title: "Bits B", number: true, cell: (one) => side(one.b) },
          { title: "Loss A", number: true, cell: (one) => words.loss(one.a?.relative_loss) },
          { title: "Loss B", number: true, cell: (one) => words.loss(one.b?.relative_loss) },
        ],
      })));
  }

  function scores(report) {
    const byKey = new Map();
    report.artifacts.forEach((artifact, i) => {
      for (const one of artifact.evaluations ?? []) {
        const key = `${one.benchmark}, ${one.language}, ${words.count(one.samples, "sample")}`;
        if (!byKey.has(key)) byKey.set(key, [null, null]);
        byKey.get(key)[i] = one;
      }
    });
    if (!byKey.size) return parts.emptyLine("Neither has been evaluated.");
    const cell = (one) => (one ? `${words.percent(one.pass_at_1)} [${words.percent(one.ci_low)}, ${words.percent(one.ci_high)}]` : words.kNothing);
    return parts.table({
      label: "Scores",
      rows: [...byKey],
      columns: [
        { title: "pass@1 of", cell: ([key]) => key },
        { title: "A [95 %]", number: true, cell: ([, [left]]) => cell(left) },
        { title: "B [95 %]", number: true, cell: ([, [, right]]) => cell(right) },
        { title: "B − A", number: true, cell: ([, [left, right]]) => (left && right ? words.points(right.pass_at_1 - left.pass_at_1) : words.kNothing) },
      ],
    });
  }

  function render() {
    return [
      h("h1", null, "Compare two artifacts"),
      names.render(chooser),
      both
        ? [
            parts.section("Scores", results.render(scores)),
            results.value?.comparisons?.length ? parts.section("More than chance?", comparisonTable(results.value.comparisons, false)) : null,
            parts.section("How they were made", difference.render(changes)),
            difference.value ? weights(difference.value) : null,
          ]
        : parts.emptyLine("Choose two artifacts of the store."),
    ];
  }
  return { title: "Compare", render };
}
