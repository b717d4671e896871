// One job: what it does now, its artifacts block by block with the loss of each linear, evaluations, workers, log.
import * as api from "../lib/api.js";
import { h } from "../lib/dom.js";
import { notice } from "../lib/dialog.js";
import { LogView } from "../lib/log.js";
import { blockStrip, lossTable, lossPlot } from "../lib/losses.js";
import * as parts from "../lib/parts.js";
import { isActive } from "../lib/service.js";
import * as words from "../lib/words.js";

const kWorkersPauseMs = 5000;

export function open({ service }, text) {
  const id = Number(text);
  const log = new LogView(id, service);
  const unwatch = service.watch(id);
  // Who works on it has no event of its own.
  const timer = setInterval(() => {
    if (!document.hidden && service.jobs.get(id)?.state === "running") service.refresh(id);
  }, kWorkersPauseMs);

  function artifactCard(job, artifact) {
    const current = job.state === "running" && job.progress?.what === artifact.name;
    const total = artifact.blocks_total || artifact.blocks_done;
    const blocks = [...(artifact.blocks ?? [])].sort((a, b) => a.block - b.block);
    const withLosses = blocks.filter((block) => block.losses?.length);
    const state = artifact.digest
      ? parts.artifactLink(artifact.digest, "published")
      : current ? "at work" : total && artifact.blocks_done === total ? "being published" : artifact.blocks_done ? "begun" : "to come";
    return h("li", { key: artifact.name, class: "card" },
      h("div", { class: "card-head" },
        h("h3", null, artifact.name),
        h("span", { class: "quiet" }, state)),
      h("p", { class: "quiet" },
        [words.recipeName(artifact), total ? `${artifact.blocks_done} of ${words.count(total, "block")}` : null,
          artifact.quantize_seconds ? words.duration(artifact.quantize_seconds) : null].filter(Boolean).join(" · ")),
      total ? blockStrip(artifact.name, blocks, total, current) : null,
      withLosses.length
        ? [
            lossPlot(artifact.name, withLosses, total),
            h("details", { key: "losses" }, h("summary", null, "Relative loss of every linear"), lossTable(artifact.name, withLosses)),
          ]
        : null);
  }

  function evaluations(list) {
    if (!list?.length) return null;
    return parts.section("Evaluations", parts.table({
      label: "Evaluations",
      key: (one) => `${one.artifact} ${one.benchmark} ${one.language}`,
      rows: list,
      columns: [
        { title: "Artifact", cell: (one) => one.artifact },
        { title: "Benchmark", cell: (one) => `${one.benchmark}, ${one.language}` },
        { title: "Completions", cell: (one) => h("div", { class: "inline" },
            one.total ? h("progress", { max: one.total, value: one.done, "aria-label": `${one.artifact}, ${one.benchmark}` }) : null,
            one.total ? `${one.done} of ${one.total}` : "to come") },
        { title: "State", cell: (one) => (one.complete ? "complete" : one.done ? "at work" : "waiting") },
      ],
    }));
  }

  function workers(list) {
    if (!list?.length) return null;
    return parts.section("Workers", workerTable(list.map((worker) => ({ worker }))));
  }

  function history(list) {
    if (!list?.length) return null;
    return parts.section("History", h("ol", { class: "history" }, list.map((moved) =>
      h("li", null,
        h("span", { class: "quiet" }, words.time(moved.unix_ms)), " ", parts.stateBadge(moved.to), " ",
        moved.reason ? `${moved.reason} ` : "", h("span", { class: "quiet" }, moved.by ? `by ${moved.by}` : "")))));
  }

  async function saveJobFile(job) {
    try {
      parts.save(await api.getBlob(`/v1/jobs/${id}/job`), `${job.name || "job-" + id}.json`);
    } catch (problem) {
      notice(problem.message);
    }
  }

  function render() {
    const detail = service.details.get(id);
    if (detail?.problem) return [h("h1", null, `Job ${id}`), parts.problemLine(detail.problem)];
    const job = service.jobs.get(id) ?? detail?.job;
    if (!job) return [h("h1", null, `Job ${id}`), parts.emptyLine("Asking the service …")];
    view.title = `${job.name} (job ${id})`;
    const took = job.started_unix_ms ? ((job.ended_unix_ms || Date.now()) - job.started_unix_ms) / 1000 : NaN;
    return [
      h("div", { class: "page-head" },
        h("div", null, h("h1", null, job.name || `Job ${id}`),
          h("p", { class: "inline" }, parts.stateBadge(job.state), h("span", { class: "quiet" }, `#${id} · ${detail?.phase ?? ""}`))),
        h("div", { class: "inline" },
          job.state === "done" ? h("a", { class: "button primary", href: `#/jobs/${id}/report` }, "Open the report") : null,
          h("button", { class: "small", onclick: () => saveJobFile(job) }, "Job file"),
          parts.jobActions(service, job))),
      job.reason ? h("p", { class: job.state === "failed" ? "problem" : "reason" }, job.state === "queued" ? `Place ${job.place}: ${job.reason}` : job.reason) : null,
      isActive(job) && job.state !== "queued" ? parts.progressLine(job) : null,
      parts.facts([
        ["Model", h("span", { title: job.model }, words.modelName(job.model))],
        ["User", job.user],
        ["Ranks", String(job.ranks)],
        ["Priority", String(job.priority)],
        ["After", job.after?.length ? job.after.map((id) => `#${id}`).join(", ") : null],
        ["Submitted", words.time(job.submitted_unix_ms)],
        [job.ended_unix_ms ? "Took" : "For", Number.isFinite(took) ? words.duration(took) : null],
        ["Starts", job.starts > 1 ? String(job.starts) : null],
      ]),
      detail
        ? [
            parts.section("Artifacts", h("ul", { class: "cards two" }, (detail.artifacts ?? []).map((artifact) => artifactCard(job, artifact)))),
            evaluations(detail.evaluations),
            workers(detail.workers),
          ]
        : null,
      parts.section("Log", log.element),
      history(detail?.history),
    ];
  }

  const view = {
    title: `Job ${id}`,
    render,
    close() {
      clearInterval(timer);
      unwatch();
      log.close();
    },
  };
  return view;
}

// Rows {worker, job}; the column of jobs only where they are given.
function gpus(worker) {
  if (!worker.memory_bytes) return words.kNothing; // it has said nothing yet
  if (!worker.gpus?.length) return "no GPU";
  return worker.gpus.map((gpu) => `${gpu.name}, ${words.bytes(gpu.used_bytes)} of ${words.bytes(gpu.total_bytes)}`).join("; ");
}

// Of the host's processors and memory where they have counters, and of the worker's GPUs.
function power(worker) {
  const watts = [worker.watts, ...(worker.gpus ?? []).map((gpu) => gpu.watts)].filter((one) => one >= 0);
  if (watts.length) return `${Math.round(watts.reduce((sum, one) => sum + one, 0))} W`;
  return worker.energy_note ? h("span", { title: worker.energy_note }, "no counter") : words.kNothing;
}

export function workerTable(rows) {
  return parts.table({
    label: "Workers",
    key: ({ worker, job }) => `${job?.id} ${worker.role} ${worker.number} ${worker.host}`,
    rows,
    columns: [
      { title: "Worker", cell: ({ worker }) => (worker.number >= 0 ? `${worker.role} ${worker.number}` : `${worker.role} that joined`) },
      { title: "Host", cell: ({ worker }) => worker.host ?? "" },
      { title: "Runs on", cell: ({ worker }) => worker.isa ?? "" },
      { title: "Works on", cell: ({ worker }) => worker.work ?? "nothing now" },
      { title: "Memory", cell: ({ worker }) => words.bytes(worker.memory_bytes) },
      { title: "GPU", cell: ({ worker }) => gpus(worker) },
      { title: "Power", cell: ({ worker }) => power(worker) },
      ...(rows.some(({ job }) => job) ? [{ title: "Job", cell: ({ job }) => parts.jobLink(job) }] : []),
    ],
  });
}
