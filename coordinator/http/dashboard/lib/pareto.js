// Size against pass@1: which artifacts no other one beats in both.
import { h, narrowScreen, svg } from "./dom.js";
import { bytes, percent } from "./words.js";

const kHeight = 300, kLeft = 52, kRight = 20, kTop = 28, kBottom = 44;
const kLetter = 6.8, kLine = 14;  // of the labels, about

// Points {name, href, bytes, score}: those that no smaller or equally large one reaches, smallest first.
export function front(points) {
  const chosen = [];
  for (const point of [...points].sort((a, b) => a.bytes - b.bytes || b.score - a.score))
    if (!chosen.length || point.score > chosen[chosen.length - 1].score) chosen.push(point);
  return chosen;
}

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(at);
  return found;
}

// Where each label may stand without touching another one or a point; those that find no room have none, and are told
// when their point is pointed at. `spots`: {point, x, y}, the more important ones first.
function placeLabels(spots, width) {
  const taken = spots.map(({ x, y }) => [x - 7, y - 7, x + 7, y + 7]);
  const labels = new Map();
  for (const { point, x, y } of spots) {
    const text = point.label ?? point.name;
    const long = text.length * kLetter;
    for (const [dx, dy] of [[9, -9], [-9 - long, -9], [9, 22], [-9 - long, 22]]) {
      const box = [x + dx - 4, y + dy - kLine, x + dx + long + 4, y + dy + 2];
      if (box[0] < 0 || box[2] > width || box[3] > kHeight - kBottom + 4) continue;
      if (taken.some((one) => box[0] < one[2] && one[0] < box[2] && box[1] < one[3] && one[1] < box[3])) continue;
      taken.push(box);
      labels.set(point, svg("text", { x: (x + dx).toFixed(1), y: (y + dy).toFixed(1) }, text));
      break;
    }
  }
  return labels;
}

export function paretoPlot(points, benchmark) {
  const width = narrowScreen.matches ? 360 : 680;
  const best = front(points);
  const isBest = new Set(best);
  const sizeMax = Math.max(...points.map((point) => point.bytes)) * 1.08;
  const scores = points.map((point) => point.score);
  const low = Math.max(0, Math.min(...scores) - 0.05), high = Math.min(1, Math.max(...scores) + 0.05);
  const x = (size) => kLeft + ((width - kLeft - kRight) * size) / sizeMax;
  const y = (score) => kTop + ((kHeight - kTop - kBottom) * (high - score)) / (high - low);
  const steps = best.flatMap((point, i) => (i === 0 ? [[x(point.bytes), y(point.score)]] : [[x(point.bytes), y(best[i - 1].score)], [x(point.bytes), y(point.score)]]));
  const spots = [...points].sort((a, b) => isBest.has(b) - isBest.has(a)).map((point) => ({ point, x: x(point.bytes), y: y(point.score) }));
  const labels = placeLabels(spots, width);
  return h("figure", { key: "pareto", class: "plot" },
    svg("svg", { viewBox: `0 0 ${width} ${kHeight}`, role: "group", "aria-label": `Size against pass@1 of ${benchmark}; ${best.length} of ${points.length} artifacts are not beaten in both` },
      ticks(low, high, 5).map((mark) => [
        svg("line", { class: "grid", x1: kLeft, x2: width - kRight, y1: y(mark), y2: y(mark) }),
        svg("text", { class: "tick", x: kLeft - 8, y: y(mark) + 4, "text-anchor": "end" }, `${Math.round(mark * 1000) / 10}`),
      ]),
      ticks(0, sizeMax, Math.floor(width / 100)).slice(1).map((mark) =>
        svg("text", { class: "tick", x: x(mark), y: kHeight - kBottom + 18, "text-anchor": "middle" }, bytes(mark))),
      svg("text", { class: "axis", x: (kLeft + width - kRight) / 2, y: kHeight - 6, "text-anchor": "middle" }, "size"),
      svg("text", { class: "axis", transform: `translate(12 ${(kTop + kHeight - kBottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "pass@1, %"),
      svg("polyline", { class: "front", points: steps.map((point) => point.map((one) => one.toFixed(1)).join(",")).join(" ") }),
      spots.toReversed().map(({ point, x: cx, y: cy }) =>
        svg("a", { key: point.name, href: point.href, class: isBest.has(point) ? "point best" : "point", "aria-label": `${point.name}: ${bytes(point.bytes)}, ${percent(point.score)}` },
          svg("title", null, `${point.name}: ${bytes(point.bytes)}, ${percent(point.score)}`),
          svg("circle", { class: "target", cx, cy, r: 12 }),
          svg("circle", { cx, cy, r: 5 }),
          labels.get(point)))),
    h("figcaption", { class: "quiet" }, "The line joins the artifacts that no smaller one reaches. The table has the same numbers."));
}
