// The report of a job that is done: its artifacts, scores and comparisons, and what each phase took.
import * as api from "../lib/api.js";
import { Asked } from "../lib/asked.js";
import { comparisonTable } from "../lib/comparisons.js";
import { h } from "../lib/dom.js";
import { notice } from "../lib/dialog.js";
import { paretoPlot } from "../lib/pareto.js";
import * as parts from "../lib/parts.js";
import * as words from "../lib/words.js";

export function open({ update }, id) {
  const asked = new Asked(update, () => api.get(`/v1/jobs/${id}/results`));

  async function savePage() {
    try {
      parts.save(await api.getBlob(`/v1/jobs/${id}/report`), `job-${id}.html`);
    } catch (problem) {
      notice(problem.message);
    }
  }

  function artifacts(report) {
    return parts.table({
      label: "Artifacts",
      key: (one) => one.name,
      rows: report.artifacts,
      columns: [
        { title: "Artifact", cell: (one) => parts.artifactLink(one.digest, one.name) },
        { title: "Recipe", cell: (one) => words.recipeName(one) },
        { title: "Bits per weight", number: true, cell: (one) => words.number(one.bits_per_weight) },
        { title: "Size", number: true, cell: (one) => words.bytes(one.bytes) },
        { title: "Mean loss", number: true, cell: (one) => (one.method === "none" ? words.kNothing : words.loss(one.mean_relative_loss)) },
        { title: "Quantized in", number: true, cell: (one) => words.duration(one.seconds) },
        { title: "Peak memory", number: true, cell: (one) => words.bytes(one.quantize_usage?.peak_resident_bytes) },
        { title: "Energy", number: true, cell: (one) => energy(one.quantize_usage) },
      ],
    });
  }
  const energy = (usage) =>
    Number.isFinite(usage?.joules) ? `${words.number(usage.joules / 3600, 2)} Wh` : h("span", { title: usage?.not_measured ?? "" }, words.kNothing);

  function scores(report) {
    const rows = report.artifacts.flatMap((artifact) => (artifact.evaluations ?? []).map((score) => ({ artifact, score })));
    if (!rows.length) return parts.emptyLine("The job evaluated nothing.");
    return parts.table({
      label: "Scores",
      key: ({ score }) => score.digest,
      rows,
      columns: [
        { title: "Artifact", cell: ({ artifact }) => artifact.name },
        { title: "Benchmark", cell: ({ score }) => `${score.benchmark}, ${score.language}` },
        { title: "Tasks", number: true, cell: ({ score }) => String(score.tasks) },
        { title: "Passed", number: true, cell: ({ score }) => `${score.passed} of ${score.completions}` },
        { title: "pass@1", number: true, cell: ({ score }) => words.percent(score.pass_at_1) },
        { title: "95 % interval", number: true, cell: ({ score }) => `${words.percent(score.ci_low)} to ${words.percent(score.ci_high)}` },
        { title: "Took", number: true, cell: ({ score }) => words.duration(score.usage?.seconds) },
      ],
    });
  }

  function plots(report) {
    const keys = [...new Set(report.artifacts.flatMap((one) => (one.evaluations ?? []).map((score) => `${score.benchmark}, ${score.language}`)))];
    return keys.map((key) => {
      const points = report.artifacts.flatMap((one) =>
        (one.evaluations ?? []).filter((score) => `${score.benchmark}, ${score.language}` === key).map((score) => ({
          name: one.name, href: "#/artifacts/" + one.digest, bytes: one.bytes, score: score.pass_at_1 })));
      return points.length > 1 ? h("div", { key }, h("h3", null, key), paretoPlot(points, key)) : null;
    });
  }

  function render() {
    return [
      h("div", { class: "page-head" },
        h("div", null, h("h1", null, asked.value ? `Report of ${asked.value.job.name}` : "Report"),
          h("p", { class: "quiet" }, h("a", { href: `#/jobs/${id}` }, `Job ${id}`))),
        h("button", { onclick: savePage }, "Save as a page")),
      asked.render((report) => [
        parts.facts([
          ["Model", h("span", { title: report.job.model }, words.modelName(report.job.model))],
          ["Ranks", String(report.job.ranks)],
          ["All artifacts together", words.bytes(report.job.distinct_bytes)],
        ]),
        parts.section("Artifacts", artifacts(report)),
        parts.section("Scores", scores(report), plots(report)),
        report.comparisons?.length ? parts.section("Comparisons", comparisonTable(report.comparisons)) : null,
        (report.protocol_tables ?? []).map((one) =>
          parts.section(one.title, parts.table({
            label: one.title,
            rows: one.rows,
            columns: one.columns.map((title, i) => ({ title, cell: (row) => String(row[i] ?? "") })),
          }), (one.notes ?? []).map((note) => h("p", { class: "quiet" }, note)))),
      ]),
    ];
  }
  return { title: "Report", render };
}
