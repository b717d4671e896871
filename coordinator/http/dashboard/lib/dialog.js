// The one dialog of the page: a question with its fields. Escape and "Close" leave it; the browser keeps the focus
// inside and gives it back.
import { h, morph } from "./dom.js";

// `fields`: {name, label, type, value, hint, required}. `act(values)` may throw: the message is shown and the dialog
// stays.
export function ask({ title, text, fields = [], action, danger = false, act }) {
  const dialog = document.getElementById("dialog");
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const inputs = fields.map((field) => {
    const { label, hint, name, ...attributes } = field;
    return { name, label, hint, input: h("input", { id: "ask-" + name, autocomplete: "off", spellcheck: "false", ...attributes }) };
  });
  const go = h("button", { class: danger ? "danger" : "primary" }, action);
  const form = h(
    "form",
    {
      key: title,
      onsubmit: async (event) => {
        event.preventDefault();
        go.disabled = true;
        problem.hidden = true;
        try {
          await act(Object.fromEntries(inputs.map(({ name, input }) => [name, input.value.trim()])));
          dialog.close();
        } catch (failure) {
          problem.textContent = failure.message;
          problem.hidden = false;
        }
        go.disabled = false;
      },
    },
    h("h2", { id: "dialog-title" }, title),
    text ? h("p", null, text) : null,
    inputs.map(({ name, label, hint, input }) =>
      h("p", { class: "field" }, h("label", { for: "ask-" + name }, label), input, hint ? h("small", null, hint) : null),
    ),
    problem,
    h("div", { class: "actions" }, go, h("button", { type: "button", onclick: () => dialog.close() }, "Close")),
  );
  dialog.replaceChildren();
  morph(dialog, [form]);
  if (!dialog.open) dialog.showModal();
  (inputs[0]?.input ?? go).focus();
}

// A line that is read out and goes away.
export function notice(text) {
  const line = h("p", null, text);
  const place = document.getElementById("notices");
  place.append(line);
  while (place.childElementCount > 3) place.firstChild.remove();
  setTimeout(() => line.remove(), 6000);
}
