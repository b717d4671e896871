// Elements from values. Text always goes in as text: nothing here, or anywhere on this page, reads markup.

const kSvg = "http://www.w3.org/2000/svg";

function append(place, children) {
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== false) place.append(child.viewOwn && child.isConnected ? standIn(child) : child);
}

// What is on the page stays where it is while a new tree is made: in the tree stands an empty element for it.
function standIn(shown) {
  const element = document.createElement(shown.nodeName);
  Object.assign(element, { viewKey: shown.viewKey, viewOwn: true, viewStandsFor: shown });
  return element;
}

function insert(place, fresh, before) {
  place.insertBefore(fresh, before);
  if (fresh.nodeType !== Node.ELEMENT_NODE) return;
  for (const one of [fresh, ...fresh.querySelectorAll("*")]) if (one.viewStandsFor) one.replaceWith(one.viewStandsFor);
}

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false || name === "value") continue;
    if (name === "key") {
      element.viewKey = String(value);
    } else if (name === "own") {
      element.viewOwn = true;
    } else if (name === "vars") {
      element.viewVars = value;
      for (const [variable, setting] of Object.entries(value)) element.style.setProperty(variable, setting);
    } else if (name.startsWith("on")) {
      (element.viewHandlers ??= {})[name] = value;
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  append(element, children);
  // A select has its value only once its options are there.
  if (properties?.value !== undefined && properties.value !== null) {
    if (element.nodeName === "PROGRESS" || element.nodeName === "OPTION") {
      element.setAttribute("value", properties.value);
    } else {
      element.value = properties.value;
    }
  }
  return element;
}

// An element with `own` is its maker's: the same one is given each time, and what is inside is left alone.
// h("p", {class: "note"}, "text", [more]): `properties` may be null; children that are null or false are left out.
export const h = (tag, properties, ...children) => build(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) => build(document.createElementNS(kSvg, tag), properties, children);

// Plots are drawn for the width that there is, so that their text has the page's size.
export const narrowScreen = matchMedia("(max-width: 640px)");

const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.viewKey === b.viewKey;

// Makes the children of `place` like `children` (as h() takes them) but keeps the elements that are there already, and
// with them the focus, selections, scroll positions and what was typed.
export function morph(place, children) {
  const fragment = document.createDocumentFragment();
  append(fragment, children);
  morphNodes(place, fragment.childNodes);
}

function morphNodes(place, fresh) {
  const keyed = new Map();
  for (const child of place.childNodes) if (child.viewKey !== undefined) keyed.set(child.viewKey, child);
  const staying = new Set(Array.from(fresh, (next) => next.viewKey));
  // Gone before others are looked at: what stays need not be moved then, which would lose its focus and scrolling.
  for (const [key, child] of keyed) if (!staying.has(key)) child.remove();
  let at = place.firstChild;
  for (const next of [...fresh]) {
    let kept = null;
    if (next.viewKey !== undefined) {
      const found = keyed.get(next.viewKey);
      if (found && same(found, next)) {
        kept = found;
        while (at && at !== kept && at.viewKey === undefined) {
          const gone = at;
          at = at.nextSibling;
          gone.remove();
        }
      }
    } else if (at && same(at, next)) {
      kept = at;
    }
    if (!kept) {
      insert(place, next, at);
      continue;
    }
    if (kept === at) {
      at = at.nextSibling;
    } else {
      place.insertBefore(kept, at);
    }
    update(kept, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function update(kept, next) {
  if (kept.nodeType !== Node.ELEMENT_NODE) {
    if (kept.data !== next.data) kept.data = next.data;
    return;
  }
  if (kept.viewOwn) return;
  for (const { name } of [...kept.attributes])
    // Whether details are open is the reader's; styles are set through `vars`.
    if (name !== "style" && name !== "open" && !next.hasAttribute(name)) kept.removeAttribute(name);
  for (const { name, value } of next.attributes)
    if (name !== "style" && name !== "open" && kept.getAttribute(name) !== value) kept.setAttribute(name, value);
  for (const [variable, setting] of Object.entries(next.viewVars ?? {})) kept.style.setProperty(variable, setting);
  for (const name of Object.keys({ ...kept.viewHandlers, ...next.viewHandlers }))
    kept[name] = next.viewHandlers?.[name] ?? null;
  kept.viewHandlers = next.viewHandlers;
  const chosen = kept.nodeName === "SELECT" ? next.value : null;
  morphNodes(kept, next.childNodes);
  if (chosen !== null && kept.value !== chosen) kept.value = chosen;
}
