// The page: which of its views is shown (the address's fragment says), the header, the token.
import { setToken, token } from "./lib/api.js";
import { ask, notice } from "./lib/dialog.js";
import { h, morph, narrowScreen } from "./lib/dom.js";
import { emptyLine, stateWord } from "./lib/parts.js";
import { Service } from "./lib/service.js";
import * as artifact from "./pages/artifact.js";
import * as artifacts from "./pages/artifacts.js";
import * as compare from "./pages/compare.js";
import * as job from "./pages/job.js";
import * as jobs from "./pages/jobs.js";
import * as report from "./pages/report.js";
import * as submit from "./pages/submit.js";
import * as workers from "./pages/workers.js";

const kPages = [
  { title: "Jobs", at: "jobs" },
  { title: "Workers", at: "workers" },
  { title: "Artifacts", at: "artifacts" },
  { title: "Compare", at: "compare" },
  { title: "Submit", at: "submit" },
];
// A view module's open(context, ...parts of the fragment) gives {title, render(), close()}.
const kViews = [
  [/^\/jobs$/, jobs],
  [/^\/jobs\/(\d+)$/, job],
  [/^\/jobs\/(\d+)\/report$/, report],
  [/^\/workers$/, workers],
  [/^\/artifacts$/, artifacts],
  [/^\/artifacts\/([^/]+)$/, artifact],
  [/^\/compare(?:\/([^/]*))?(?:\/([^/]*))?$/, compare],
  [/^\/submit$/, submit],
];
const kRenderPauseMs = 60;
const kTickMs = 5000;
const kHiddenMsMax = 60_000;

const service = new Service();
const main = document.getElementById("main");
let view = null;
let viewOf = null;  // the fragment it was opened for
let renderTimer = null;

const context = { service, update, go: (at) => (location.hash = at) };

function update() {
  renderTimer ??= setTimeout(() => {
    renderTimer = null;
    render();
  }, kRenderPauseMs);
}

function openView() {
  const at = location.hash.slice(1) || "/jobs";
  view?.close?.();
  view = null;
  viewOf = at;
  if (!token()) {
    view = { title: "Sign in", render: () => [h("h1", null, "Quench"), signedOut()] };
    return;
  }
  for (const [pattern, module] of kViews) {
    const found = pattern.exec(at);
    if (!found) continue;
    try {
      view = module.open(context, ...found.slice(1).map((part) => part && decodeURIComponent(part)));
    } catch (error) {
      if (!(error instanceof URIError)) throw error;  // a fragment that somebody has cut
    }
    break;
  }
  view ??= { title: "Not here", render: () => [h("h1", null, "Not here"), emptyLine("There is nothing at this address.")] };
}

function render() {
  document.title = `${view.title} · Quench`;
  morph(main, [h("div", { key: `${viewOf} ${Boolean(token())}`, class: "view" }, view.render())]);
  morph(document.getElementById("pages"), kPages.map(pageLink));
  morph(document.getElementById("session"), session());
}

function pageLink({ title, at }) {
  const here = viewOf.startsWith("/" + at);
  return h("a", { href: "#/" + at, "aria-current": here ? "page" : null }, title);
}

const kConnections = {
  closed: "not connected",
  connecting: "connecting",
  open: "live",
  lost: "reconnecting",
  paused: "paused",
  refused: "no access",
};

function session() {
  const user = service.caller;
  return [
    h("span", { class: "connection " + service.connection }, kConnections[service.connection]),
    user ? h("span", { class: "user", title: `may ${user.scopes.join(", ")}` }, user.user) : null,
    user && token()
      ? h("button", { class: "small", onclick: signOut }, "Forget token")
      : h("button", { class: "small", onclick: () => askToken() }, "Token"),
  ];
}

function signedOut() {
  return h(
    "div",
    { class: "welcome" },
    h("p", null, "This service shows nothing without a token. An administrator makes one for you with ", h("code", null, "quench token create"), "."),
    h("button", { class: "primary", onclick: () => askToken() }, "Enter a token"),
  );
}

function askToken(why = "") {
  ask({
    title: "Your token",
    text: why || "It stays in this tab and is forgotten when the tab is closed.",
    fields: [{ name: "token", label: "Token", type: "password", required: true }],
    action: "Use it",
    act: async (values) => {
      setToken(values.token);
      await service.begin();
      if (service.caller) return openAgain();
      setToken("");
      throw service.problem ?? new Error("the service does not answer");
    },
  });
}

function openAgain() {
  openView();
  render();
}

function signOut() {
  setToken("");
  service.forget();
  service.connection = "refused";
  openAgain();
  notice("The token is forgotten.");
}

service.addEventListener("change", update);
service.addEventListener("refused", (event) => {
  if (document.getElementById("dialog").open) return;
  askToken(event.detail && token() ? `The service does not take this token: ${event.detail.message}` : "");
});
service.addEventListener("moved", ({ detail }) => notice(`Job ${detail.id}, ${detail.name}: ${stateWord(detail.state)}`));
narrowScreen.addEventListener("change", update);
window.addEventListener("hashchange", () => {
  openView();
  render();
  // As after loading a page: reading and tabbing begin at the top of the new one.
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

let hiddenTimer = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = setTimeout(() => service.pause(), kHiddenMsMax);
  } else {
    service.resume();
  }
});
// Times pass without events.
setInterval(() => document.hidden || update(), kTickMs);

openView();
render();
service.begin();
