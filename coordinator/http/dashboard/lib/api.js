// The service's HTTP API with the user's token, which stays in this tab.

const kTokenKey = "quench.token";

export const token = () => sessionStorage.getItem(kTokenKey) ?? "";
export function setToken(secret) {
  if (secret) {
    sessionStorage.setItem(kTokenKey, secret);
  } else {
    sessionStorage.removeItem(kTokenKey);
  }
}

export class Problem extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
  get unauthorized() {
    return this.status === 401;
  }
}

export function headers(added = {}) {
  return token() ? { Authorization: "Bearer " + token(), ...added } : added;
}

export async function problemOf(reply) {
  try {
    const body = await reply.json();
    return new Problem(reply.status, body.code, body.message);
  } catch {
    return new Problem(reply.status, "failed", `the service answered with status ${reply.status}`);
  }
}

async function send(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, { ...options, headers: headers(options.headers), credentials: "omit" });
  } catch {
    throw new Problem(0, "unreachable", "the service does not answer");
  }
  if (!reply.ok) throw await problemOf(reply);
  return reply;
}

export const get = async (path) => (await send(path)).json();
export const getBlob = async (path) => (await send(path)).blob();
export const post = async (path, body = "") => (await send(path, { method: "POST", body })).json();

// One path segment; names of artifacts hold slashes.
export const segment = (text) => encodeURIComponent(text);

// A part of a job's log as bytes, and where the next part begins.
export async function logPart(job, from) {
  const reply = await send(`/v1/jobs/${job}/logs?from=${from}`);
  return { bytes: await reply.arrayBuffer(), next: Number(reply.headers.get("Quench-Log-Next")) };
}
