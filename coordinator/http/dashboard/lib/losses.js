// A quantized model block by block: which blocks are done, and the relative loss of each linear as a table and a plot.
import { h, narrowScreen, svg } from "./dom.js";
import { linearName, loss } from "./words.js";

export function blockStrip(name, blocks, total, current) {
  const done = new Map(blocks.map((block) => [block.block, block]));
  const next = current ? Math.min(...Array.from({ length: total }, (_, i) => (done.has(i) ? total : i))) : -1;
  return h("div", { class: "strip", role: "img", "aria-label": `${name}: ${done.size} of ${total} blocks are done` },
    Array.from({ length: total }, (_, i) =>
      h("span", { class: done.has(i) ? "done" : i === next ? "now" : "", title: done.has(i) ? `block ${i}: ${done.get(i).seconds.toFixed(2)} s` : `block ${i}` })));
}

// The linears of a block, in the model's order.
function linearsOf(blocks) {
  const names = [];
  for (const block of blocks)
    for (const one of block.losses) if (!names.includes(linearName(one.tensor))) names.push(linearName(one.tensor));
  return names;
}

const lossIn = (block, linear) => block.losses.find((one) => linearName(one.tensor) === linear)?.relative_loss;

// [smallest, largest] exponent of ten; the span is at least one decade.
function decades(blocks) {
  const logs = blocks.flatMap((block) => block.losses.map((one) => Math.log10(Math.max(one.relative_loss, 1e-12))));
  const low = Math.floor(Math.min(...logs)), high = Math.ceil(Math.max(...logs));
  return [low, Math.max(high, low + 1)];
}

export function lossTable(name, blocks) {
  const linears = linearsOf(blocks);
  const [low, high] = decades(blocks);
  const heat = (value) => (value > 0 ? Math.round((100 * (Math.log10(value) - low)) / (high - low)) : 0);
  return h("div", { class: "table plain", role: "region", "aria-label": `Losses of ${name}`, tabindex: "0" },
    h("table", { class: "losses" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Block"), linears.map((linear) => h("th", { scope: "col", class: "number" }, linear)))),
      h("tbody", null, blocks.map((block) =>
        h("tr", { key: block.block }, h("th", { scope: "row" }, String(block.block)),
          linears.map((linear) => {
            const value = lossIn(block, linear);
            return h("td", { class: "number heat", vars: { "--heat": `${heat(value)}%` } }, loss(value));
          }))))));
}

const kHeight = 150, kLeft = 44, kRight = 8, kTop = 8, kBottom = 22;

// One line per linear over the blocks, on a logarithmic scale.
export function lossPlot(name, blocks, total) {
  const width = narrowScreen.matches ? 340 : 560;
  const linears = linearsOf(blocks);
  const [low, high] = decades(blocks);
  const x = (block) => kLeft + ((width - kLeft - kRight) * (block + 0.5)) / Math.max(total, 1);
  const y = (value) => kTop + ((kHeight - kTop - kBottom) * (high - Math.log10(Math.max(value, 1e-12)))) / (high - low);
  const marks = Array.from({ length: high - low + 1 }, (_, i) => low + i).filter((_, i) => high - low <= 5 || i % 2 === 0);
  const every = Math.max(1, Math.ceil((total * 40) / width));
  return h("figure", { key: "plot", class: "plot" },
    svg("svg", { viewBox: `0 0 ${width} ${kHeight}`, role: "img", "aria-label": `Relative loss of each linear of ${name} by block; the table below has the numbers` },
      marks.map((mark) => [
        svg("line", { class: "grid", x1: kLeft, x2: width - kRight, y1: y(10 ** mark), y2: y(10 ** mark) }),
        svg("text", { class: "tick", x: kLeft - 6, y: y(10 ** mark) + 4, "text-anchor": "end" }, `1e${mark}`),
      ]),
      Array.from({ length: total }, (_, i) => i).filter((i) => i % every === 0).map((i) =>
        svg("text", { class: "tick", x: x(i), y: kHeight - 6, "text-anchor": "middle" }, String(i))),
      linears.map((linear, i) => {
        const points = blocks.filter((block) => lossIn(block, linear) !== undefined).map((block) => [x(block.block), y(lossIn(block, linear))]);
        return svg("g", { class: `series s${i % 8}` },
          svg("polyline", { points: points.map((point) => point.map((one) => one.toFixed(1)).join(",")).join(" ") }),
          points.map(([cx, cy]) => svg("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 2.4 })));
      })),
    h("figcaption", { class: "legend" }, linears.map((linear, i) => h("span", { class: `key s${i % 8}` }, linear))));
}
