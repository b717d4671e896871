// What the page knows of the service: jobs, details of those that are looked at, the caller. Filled from the API, kept
// current by the stream of events; whoever shows something of it is called after each change.
import * as api from "./api.js";
import { EventStream } from "./stream.js";

const kListPauseMs = 400;     // changes come in bursts; one list is asked for after them
const kDetailPauseMs = 400;
const kActive = new Set(["queued", "running", "cancelling"]);

export const isActive = (job) => kActive.has(job.state);
export const ranksAtWork = (jobs) =>
  jobs.filter((job) => job.state === "running" || job.state === "cancelling").reduce((sum, job) => sum + job.ranks, 0);

export class Service extends EventTarget {
  caller = null;
  jobs = new Map();     // by id
  limits = { slots: 0, queued_max: 0 };
  loaded = false;
  problem = null;       // of the last list
  details = new Map();  // JobDetail by id, of watched jobs
  connection = "closed";  // closed, connecting, open, lost, paused, refused
  #watched = new Map();   // id → how many look at it
  #listTimer = null;
  #detailTimers = new Map();
  #stream = new EventStream("/v1/events", (type, data) => this.#take(type, data), (state, detail) => this.#on(state, detail));

  async begin() {
    this.end();
    if (!api.token()) {
      // It would only refuse.
      this.connection = "refused";
      this.#changed();
      return this.#tell("refused", null);
    }
    this.connection = "connecting";
    this.#changed();
    try {
      this.caller = await api.get("/v1/whoami");
    } catch (problem) {
      this.caller = null;
      this.problem = problem;
      this.connection = problem.unauthorized ? "refused" : "lost";
      this.#changed();
      if (problem.unauthorized) return this.#tell("refused", problem);
    }
    this.#stream.start();
  }
  end() {
    this.#stream.stop();
    clearTimeout(this.#listTimer);
    this.#listTimer = null;
  }
  // Nobody looks: a browser has few connections to one host, and this one is another tab's meanwhile.
  pause() {
    if (this.connection !== "open" && this.connection !== "lost") return;
    this.end();
    this.connection = "paused";
  }
  resume() {
    if (this.connection !== "paused") return;
    this.connection = "connecting";
    this.#stream.start();
    this.#changed();
  }
  forget() {
    this.end();
    this.caller = null;
    this.loaded = false;
    this.jobs.clear();
    this.details.clear();
    this.connection = "closed";
    this.#changed();
  }
  may(scope) {
    const scopes = this.caller?.scopes ?? [];
    return scopes.includes(scope) || scopes.includes("admin");
  }

  // --- Jobs ---

  sorted(wanted) {
    return [...this.jobs.values()].filter(wanted).sort((a, b) => b.id - a.id);
  }
  // Keeps the detail of a job current until the returned function is called.
  watch(id) {
    this.#watched.set(id, (this.#watched.get(id) ?? 0) + 1);
    this.#askDetail(id, 0);
    return () => {
      const left = this.#watched.get(id) - 1;
      if (left > 0) return this.#watched.set(id, left);
      this.#watched.delete(id);
      this.details.delete(id);
    };
  }
  refresh(id) {
    this.#askDetail(id, 0);
  }
  put(view) {
    const before = this.jobs.get(view.id);
    this.jobs.set(view.id, view);
    if (before && before.state !== view.state) this.#tell("moved", view);
    this.#changed();
  }
  async submit(text, priority, after) {
    const view = await api.post(`/v1/jobs?priority=${priority}${after ? `&after=${encodeURIComponent(after)}` : ""}`, text);
    this.put(view);
    return view;
  }
  async cancel(id, reason) {
    this.put(await api.post(`/v1/jobs/${id}/cancel`, JSON.stringify({ reason })));
  }
  async retry(id) {
    this.put(await api.post(`/v1/jobs/${id}/retry`));
  }

  // --- What comes ---

  #take(type, data) {
    if (type === "job") {
      this.put(data);
      this.#askList();  // others wait for other reasons now
      this.#askDetail(data.id);
    } else if (type === "progress") {
      const job = this.jobs.get(data.job);
      if (job) {
        if (job.progress?.what !== data.progress.what) this.#askDetail(data.job);
        job.progress = data.progress;
        this.#noteEvaluation(data.job, data.progress);
      }
      this.#changed();
    } else if (type === "block") {
      this.#noteBlock(data);
      this.#changed();
    } else if (type === "lost") {
      this.#askEverything();
    }
    if (data.job !== undefined) this.#tell("written", data.job);
  }
  #on(state, detail) {
    this.connection = state;
    if (state === "open") this.#askEverything();
    if (state === "refused") this.#tell("refused", detail);
    this.#changed();
  }
  #askEverything() {
    this.#askList(0);
    for (const id of this.#watched.keys()) this.#askDetail(id, 0);
    this.#tell("again", null);
  }
  #askList(pause = kListPauseMs) {
    this.#listTimer ??= setTimeout(async () => {
      this.#listTimer = null;
      try {
        if (!this.caller) this.caller = await api.get("/v1/whoami");
        const list = await api.get("/v1/jobs");
        const before = this.jobs;
        this.jobs = new Map(list.jobs.map((job) => [job.id, job]));
        for (const job of list.jobs)
          if (before.has(job.id) && before.get(job.id).state !== job.state) this.#tell("moved", job);
        this.limits = { slots: list.slots, queued_max: list.queued_max };
        this.loaded = true;
        this.problem = null;
      } catch (problem) {
        this.problem = problem;
        if (problem.unauthorized) this.#tell("refused", problem);
      }
      this.#changed();
    }, pause);
  }
  #askDetail(id, pause = kDetailPauseMs) {
    if (!this.#watched.has(id) || this.#detailTimers.has(id)) return;
    this.#detailTimers.set(
      id,
      setTimeout(async () => {
        this.#detailTimers.delete(id);
        try {
          const detail = await api.get(`/v1/jobs/${id}`);
          if (this.#watched.has(id)) this.details.set(id, detail);
        } catch (problem) {
          if (this.#watched.has(id)) this.details.set(id, { problem });
        }
        this.#changed();
      }, pause),
    );
  }
  #noteBlock({ job, artifact, block }) {
    const found = this.details.get(job)?.artifacts?.find((one) => one.name === artifact);
    if (!found) return;
    found.blocks ??= [];
    if (found.blocks.some((one) => one.block === block.block)) return;
    found.blocks.push(block);
    found.blocks_done = found.blocks.length;
    const total = this.jobs.get(job)?.progress?.total;
    if (!found.blocks_total && total) found.blocks_total = total;
  }
  #noteEvaluation(job, progress) {
    const found = this.details
      .get(job)
      ?.evaluations?.find((one) => `${one.artifact} ${one.benchmark}` === progress.what);
    if (!found) return;
    found.done = progress.done;
    found.total = progress.total;
  }
  #changed() {
    this.dispatchEvent(new Event("change"));
  }
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
