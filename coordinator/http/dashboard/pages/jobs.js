// All jobs: at work, waiting and why, ended.
import { h } from "../lib/dom.js";
import * as parts from "../lib/parts.js";
import { isActive, ranksAtWork } from "../lib/service.js";
import * as words from "../lib/words.js";

export function open({ service, update }) {
  const firstWaiting = new parts.Shortened(update), firstEnded = new parts.Shortened(update, 50);
  let wanted = "";

  const fits = (job) =>
    !wanted || [job.name, job.user, job.model, job.state, String(job.id)].some((text) => (text ?? "").toLowerCase().includes(wanted));

  function atWork(jobs) {
    if (!jobs.length) return parts.emptyLine("No job is at work.");
    return h("ul", { class: "cards" }, jobs.map((job) =>
      h("li", { key: job.id, class: "card" },
        h("div", { class: "card-head" },
          h("div", null, parts.jobLink(job), h("span", { class: "quiet" }, ` #${job.id}`)),
          h("div", { class: "inline" }, job.state === "cancelling" ? parts.stateBadge(job.state) : null, parts.jobActions(service, job))),
        h("p", { class: "quiet" }, `${words.modelName(job.model)} · ${words.count(job.ranks, "rank")} · ${job.user} · since ${words.time(job.started_unix_ms)}`),
        parts.progressLine(job))));
  }

  function waiting(jobs) {
    if (!jobs.length) return parts.emptyLine("Nothing waits.");
    return [parts.table({
      label: "Jobs that wait",
      key: (job) => job.id,
      rows: firstWaiting.rows(jobs),
      columns: [
        { title: "Place", number: true, cell: (job) => String(job.place) },
        { title: "Job", cell: (job) => [parts.jobLink(job), h("span", { class: "quiet" }, ` #${job.id}`)] },
        { title: "User", cell: (job) => job.user },
        { title: "Ranks", number: true, cell: (job) => String(job.ranks) },
        { title: "Priority", number: true, cell: (job) => String(job.priority) },
        { title: "Why it waits", cell: (job) => job.reason ?? "" },
        { title: "", cell: (job) => parts.jobActions(service, job) },
      ],
    }), firstWaiting.more(jobs)];
  }

  function ended(jobs) {
    if (!jobs.length) return parts.emptyLine(wanted ? "No ended job fits." : "No job has ended yet.");
    return [
      parts.table({
        label: "Jobs that ended",
        key: (job) => job.id,
        rows: firstEnded.rows(jobs),
        columns: [
          { title: "Job", cell: (job) => [parts.jobLink(job), h("span", { class: "quiet" }, ` #${job.id}`)] },
          { title: "State", cell: (job) => parts.stateBadge(job.state) },
          { title: "Model", cell: (job) => words.modelName(job.model) },
          { title: "User", cell: (job) => job.user },
          { title: "Ended", cell: (job) => words.time(job.ended_unix_ms) },
          { title: "Took", number: true, cell: (job) => job.started_unix_ms ? words.duration((job.ended_unix_ms - job.started_unix_ms) / 1000) : words.kNothing },
          { title: "Why", cell: (job) => job.reason ?? "" },
          { title: "", cell: (job) =>
              job.state === "done"
                ? h("a", { href: `#/jobs/${job.id}/report`, "aria-label": `Report of job ${job.id}, ${job.name}` }, "Report")
                : parts.jobActions(service, job) },
        ],
      }),
      firstEnded.more(jobs),
    ];
  }

  function render() {
    const everything = service.sorted(() => true);
    const jobs = everything.filter(fits);
    const running = jobs.filter((job) => isActive(job) && job.state !== "queued");
    const queued = jobs.filter((job) => job.state === "queued").sort((a, b) => a.place - b.place);
    const over = jobs.filter((job) => !isActive(job));
    const { slots, queued_max } = service.limits;
    const summary = service.loaded
      ? `${ranksAtWork(everything)} of ${words.count(slots, "rank")} at work, ${words.count(everything.filter((job) => job.state === "queued").length, "job")} waiting of at most ${queued_max}`
      : "Asking the service …";
    return [
      h("div", { class: "page-head" },
        h("div", null, h("h1", null, "Jobs"), h("p", { class: "quiet" }, summary)),
        h("div", { class: "inline" },
          h("label", { class: "hidden", for: "job-filter" }, "Filter jobs"),
          h("input", { id: "job-filter", type: "search", placeholder: "Filter", oninput: (event) => { wanted = event.target.value.trim().toLowerCase(); update(); } }),
          service.may("submit") ? h("a", { class: "button primary", href: "#/submit" }, "Submit a job") : null)),
      service.problem && !service.problem.unauthorized ? parts.problemLine(service.problem) : null,
      parts.section("At work", atWork(running)),
      parts.section("Waiting", waiting(queued)),
      parts.section("Ended", ended(over)),
    ];
  }
  return { title: "Jobs", render };
}
