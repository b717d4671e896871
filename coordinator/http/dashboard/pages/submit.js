// A job file to the queue: typed, pasted, or read from a file.
import { h } from "../lib/dom.js";
import * as parts from "../lib/parts.js";

const kExample = {
  name: "first",
  model: "/models/name-of-a-model",
  ranks: 2,
  quantize: [{ method: "gptq", bits: 4, groupSize: 128 }],
  calibration: { files: ["/calibration/python.txt"], sequences: 128, length: 2048, seed: 0 },
  evaluate: [{ benchmark: "humaneval", samples: 1 }],
};

export function open({ service, update, go }) {
  let problem = null;
  let busy = false;
  const text = h("textarea", { id: "job-text", rows: 18, spellcheck: "false", autocapitalize: "off", "aria-describedby": "job-help" });
  const file = h("input", { id: "job-file", type: "file", accept: ".json,application/json", onchange: async () => {
    if (file.files[0]) text.value = await file.files[0].text();
  } });
  const priority = h("input", { id: "job-priority", type: "number", min: -1000, max: 1000, step: 1, value: 0 });
  const after = h("input", { id: "job-after", type: "text", inputmode: "numeric", pattern: "[0-9]+(,[0-9]+)*" });
  const fields = h("div", { key: "fields", own: true, class: "form" },
    h("p", { class: "field" }, h("label", { for: "job-file" }, "Job file"), file),
    h("p", { class: "field" }, h("label", { for: "job-text" }, "Its text"), text,
      h("small", { id: "job-help" }, "JSON, as for ", h("code", null, "quench run"), ". Paths are those of the service's host and absolute.")),
    h("p", { class: "field short" }, h("label", { for: "job-priority" }, "Priority"), priority,
      h("small", null, "Larger goes first; above 0 takes the scope admin.")),
    h("p", { class: "field short" }, h("label", { for: "job-after" }, "After jobs"), after,
      h("small", null, "Numbers, with commas between them: it starts when these are done.")));

  async function send(event) {
    event.preventDefault();
    if (busy) return;
    busy = true;
    problem = null;
    update();
    try {
      const job = await service.submit(text.value, Number(priority.value) || 0, after.value.trim());
      go(`#/jobs/${job.id}`);
    } catch (failure) {
      problem = failure;
    }
    busy = false;
    update();
  }

  function render() {
    const allowed = !service.caller || service.may("submit");
    return [
      h("h1", null, "Submit a job"),
      allowed ? null : h("p", { class: "problem" }, "Your token may not submit jobs: it lacks the scope submit."),
      h("form", { class: "narrow", onsubmit: send },
        fields,
        problem ? parts.problemLine(problem) : null,
        h("div", { class: "actions" },
          h("button", { class: "primary", disabled: busy || !allowed }, busy ? "Asking the service …" : "Submit"),
          h("button", { type: "button", onclick: () => { text.value = JSON.stringify(kExample, null, 2); text.focus(); } }, "Example"))),
    ];
  }
  return { title: "Submit a job", render };
}
