// Who works now, over all jobs at work.
import { h } from "../lib/dom.js";
import * as parts from "../lib/parts.js";
import { ranksAtWork } from "../lib/service.js";
import * as words from "../lib/words.js";
import { workerTable } from "./job.js";

const kPauseMs = 4000;
const kJobsMax = 32;

export function open({ service }) {
  const watched = new Map();  // id → how to stop

  function watchRunning() {
    const running = new Set(service.sorted((job) => job.state === "running").slice(0, kJobsMax).map((job) => job.id));
    for (const id of running) if (!watched.has(id)) watched.set(id, service.watch(id));
    for (const [id, stop] of watched) {
      if (running.has(id)) continue;
      watched.delete(id);
      stop();
    }
  }
  service.addEventListener("change", watchRunning);
  const timer = setInterval(() => {
    if (!document.hidden) for (const id of watched.keys()) service.refresh(id);
  }, kPauseMs);
  watchRunning();

  function render() {
    const running = service.sorted((job) => watched.has(job.id));
    const rows = running.flatMap((job) => (service.details.get(job.id)?.workers ?? []).map((worker) => ({ worker, job })));
    const hosts = new Set(rows.map(({ worker }) => worker.host).filter(Boolean));
    const { slots } = service.limits;
    return [
      h("div", { class: "page-head" }, h("div", null, h("h1", null, "Workers"),
        h("p", { class: "quiet" }, `${ranksAtWork(running)} of ${words.count(slots, "rank")} at work, ${words.count(rows.length, "worker")} on ${words.count(hosts.size, "host")}`))),
      rows.length ? workerTable(rows) : parts.emptyLine("Nobody works now: ranks and evaluators appear here while their job is at work."),
      h("p", { class: "quiet" }, "Memory is the worker's own, power that of its host; the energy of each phase is in a job's report."),
    ];
  }
  return {
    title: "Workers",
    render,
    close() {
      clearInterval(timer);
      service.removeEventListener("change", watchRunning);
      for (const stop of watched.values()) stop();
    },
  };
}
