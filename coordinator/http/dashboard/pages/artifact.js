// One artifact: where it comes from, what is known of it, its tensors.
import * as api from "../lib/api.js";
import { Asked } from "../lib/asked.js";
import { h } from "../lib/dom.js";
import * as parts from "../lib/parts.js";
import * as words from "../lib/words.js";

export function open({ update }, ref) {
  const asked = new Asked(update, () => api.get("/v1/artifacts/" + api.segment(ref)));

  const bytesOf = (manifest) => {
    const chunks = new Map();
    for (const file of manifest.files ?? []) chunks.set(file.chunk.digest, file.chunk.bytes);
    for (const tensor of manifest.tensors ?? [])
      for (const chunk of [...tensor.chunks, tensor.permutation]) if (chunk?.digest) chunks.set(chunk.digest, chunk.bytes);
    return [...chunks.values()].reduce((sum, one) => sum + one, 0);
  };
  const digest = (text) => h("code", { title: text ?? "" }, words.shortDigest(text));

  // From the model to what the artifact is called, in the order in which it came about.
  function lineage(manifest, known) {
    const steps = [
      ["Model", known.model, digest(manifest.source)],
      manifest.calibration_set ? ["Calibration set", parts.artifactLink(manifest.calibration_set, words.shortDigest(manifest.calibration_set)), null] : null,
      ["Calibration", manifest.calibration ? digest(manifest.calibration) : "none", null],
      ["Recipe", words.recipeName(manifest.recipe), null],
      ["Artifact", digest(known.digest), null],
      ["Names", known.names.length ? known.names.map((name) => h("span", { class: "tag" }, name)) : "none now", null],
    ];
    return h("ol", { class: "lineage" }, steps.filter(Boolean).map(([what, value, more]) =>
      h("li", null, h("span", { class: "quiet" }, what), h("div", null, value, " ", more))));
  }

  function recipe(manifest) {
    const { method, bits, ...rest } = manifest.recipe ?? {};
    return h("details", { key: "recipe" }, h("summary", null, "The whole recipe"),
      parts.facts(Object.entries({ method, bits, ...rest }).map(([word, value]) => [word.replaceAll("_", " "), String(value)])));
  }

  function scores(known) {
    if (!known.scores?.length) return parts.emptyLine("It has not been evaluated.");
    return parts.table({
      label: "Scores",
      key: (score) => score.evaluation,
      rows: known.scores,
      columns: [
        { title: "Benchmark", cell: (score) => `${score.benchmark}, ${score.language}` },
        { title: "Samples", number: true, cell: (score) => String(score.samples) },
        { title: "Temperature", number: true, cell: (score) => String(score.temperature) },
        { title: "pass@1", number: true, cell: (score) => (score.pass_at_1 === null ? "not complete" : words.percent(score.pass_at_1)) },
      ],
    });
  }

  function runs(known) {
    if (!known.runs?.length) return parts.emptyLine("It was not made here.");
    return parts.table({
      label: "Runs",
      rows: known.runs,
      columns: [
        { title: "Job", cell: (run) => run.job_name },
        { title: "Finished", cell: (run) => words.time(run.finished_unix_ms) },
        { title: "Took", number: true, cell: (run) => words.duration(run.quantize_seconds) },
        { title: "Ranks", number: true, cell: (run) => String(run.ranks) },
        { title: "Hosts", cell: (run) => (run.hosts ?? []).join(", ") },
        { title: "Runs on", cell: (run) => run.isa ?? "" },
        { title: "Build", cell: (run) => run.build },
      ],
    });
  }

  function tensors(manifest) {
    const losses = new Map((manifest.losses ?? []).map((one) => [one.tensor, one.relative_loss]));
    return h("details", { key: "tensors" }, h("summary", null, words.count(manifest.tensors.length, "tensor")),
      parts.table({
        label: "Tensors",
        key: (tensor) => tensor.name,
        rows: manifest.tensors,
        columns: [
          { title: "Tensor", cell: (tensor) => h("code", null, tensor.name) },
          { title: "Shape", number: true, cell: (tensor) => tensor.shape.join(" × ") },
          { title: "Bits", number: true, cell: (tensor) => (tensor.layout === "raw" ? tensor.dtype : String(tensor.bits)) },
          { title: "Relative loss", number: true, cell: (tensor) => words.loss(losses.get(tensor.name) ?? NaN) },
        ],
      }));
  }

  function render() {
    return [
      h("div", { class: "page-head" },
        h("h1", { class: "long" }, ref.length === 64 ? words.shortDigest(ref) : ref),
        asked.value?.recipe ? h("a", { class: "button", href: "#/compare/" + encodeURIComponent(ref) }, "Compare with …") : null),
      asked.render((manifest) => {
        const known = manifest.known;
        return [
          known.collected_unix_ms ? h("p", { class: "problem" }, `Its weights were collected ${words.time(known.collected_unix_ms)}; this record is left.`) : null,
          parts.facts([
            ["Size", words.bytes(bytesOf(manifest))],
            ["Job", known.job],
            ["Signature", known.signature?.standing],
            ["Served at", manifest.endpoint_url],
          ]),
          parts.section("Lineage", lineage(manifest, known), manifest.recipe ? recipe(manifest) : null),
          parts.section("Scores", scores(known)),
          parts.section("Made by", runs(known)),
          manifest.tensors?.length ? parts.section("Weights", tensors(manifest)) : null,
        ];
      }),
    ];
  }
  return { title: ref, render };
}
