// Numbers, times and names as people read them.

export const kNothing = "–";

export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return kNothing;
  if (seconds < 1) return "under 1 s";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function bytes(count) {
  if (!count) return kNothing;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    ++unit;
  }
  return `${count >= 100 || unit === 0 ? Math.round(count) : count.toPrecision(3)} ${units[unit]}`;
}

const kTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const kClock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
export function time(unixMs) {
  if (!unixMs) return kNothing;
  const date = new Date(unixMs);
  return date.toDateString() === new Date().toDateString() ? "today, " + kClock.format(date) : kTime.format(date);
}

export const percent = (share) => (Number.isFinite(share) ? `${(share * 100).toFixed(1)} %` : kNothing);
export const points = (share) =>
  Number.isFinite(share) ? `${share > 0 ? "+" : ""}${(share * 100).toFixed(1)} points`.replace("-", "−") : kNothing;
export const loss = (value) => (Number.isFinite(value) ? value.toExponential(1) : kNothing);
export const number = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : kNothing);
export const probability = (p) => (!Number.isFinite(p) ? kNothing : p < 0.001 ? "< 0.001" : p.toFixed(3));

export const count = (many, one, more = one + "s") => `${many} ${many === 1 ? one : more}`;
export const shortDigest = (digest) => (digest ? digest.slice(0, 12) : kNothing);
// A model's directory without where it lies; endpoints as they are.
export const modelName = (model = "") => (model.includes("://") ? model : model.split("/").filter(Boolean).pop() ?? model);
export const recipeName = (artifact) =>
  artifact.method === "none" ? "unquantized" : `${artifact.method}, ${count(artifact.bits, "bit")}`;

export function timeLeft(progress) {
  if (!progress || !(progress.seconds_left >= 0)) return "";
  return progress.seconds_left < 1 ? "less than a second left" : `about ${duration(progress.seconds_left)} left`;
}
// "layers.3.self_attn.q_proj" is block 3's "q_proj".
export const linearName = (tensor) => tensor.replace(/\.weight$/, "").split(".").pop();
