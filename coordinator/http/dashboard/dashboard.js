"use strict";

// The token stays in this tab.
const token = () => sessionStorage.getItem("token") || "";

async function ask(path) {
  const headers = token() ? { Authorization: "Bearer " + token() } : {};
  const reply = await fetch(path, { headers });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.message);
  return body;
}

function row(job) {
  const line = document.createElement("tr");
  const progress = job.progress && job.progress.total ? `${job.progress.what}: ${job.progress.done} of ${job.progress.total}` : "";
  for (const text of [job.id, job.name, job.user, job.state, progress, job.reason || ""]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    line.append(cell);
  }
  return line;
}

async function refresh() {
  const message = document.getElementById("message");
  try {
    const list = await ask("/v1/jobs");
    document.getElementById("jobs").replaceChildren(...list.jobs.map(row));
    message.textContent = `${list.slots_used} of ${list.slots} ranks are at work`;
  } catch (problem) {
    message.textContent = problem.message;
  }
}

document.getElementById("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", document.getElementById("token").value.trim());
  refresh();
});
refresh();
setInterval(refresh, 2000);
