// The coordinator's JSON API: its calls, and the stream of what happens.

import { heard } from "./clock.js";

// Milliseconds until a call counts as lost.
const ANSWER_MAX = 20_000;
// Milliseconds that a stream may be silent: the server says something every 20 seconds.
const SILENCE_MAX = 45_000;

const SESSION = "/v1/session";

/** The event of the window when the server does not know who calls, be it that their session has ended. */
export const LOGGED_OUT = "loggedout";

/** The server refuses. `reason` and `metadata` are those of its ErrorInfo. */
export class Refused extends Error {
  constructor(status) {
    super(status.message);
    const info = status.details?.find((detail) => "reason" in detail);
    this.reason = info?.reason ?? "";
    this.metadata = info?.metadata ?? {};
  }
}

/** No answer came, or one that says to ask again. What was asked for may have happened. */
export class Unreachable extends Error {}

/** Says who calls, as the server knows them. */
export const getSession = () => call(SESSION);

/** Begins a session, by a token. */
export const beginSession = (token) => call(SESSION, posted({ token }));

/** Ends the session. */
export const endSession = () => call(SESSION, { method: "DELETE" });

/** Reads a gate, with who waits on it. */
export const getGate = async (name) => asked(await call(path(name)));

/** Reads a page of the gates below a prefix with one status. */
export async function listGates({ prefix, status, size, token }) {
  const page = await call(`/v1/gates?${query({ prefix, status, page_size: size, page_token: token })}`);
  return { ...page, gates: (page.gates ?? []).map(asked) };
}

/** Reads a page of a gate's history, oldest first. */
export const listEvents = (name, { size, token }) =>
  call(`${path(name)}/events?${query({ page_size: size, page_token: token })}`);

/** Makes a call that changes a gate: `approve`, `reject` or `reset`. Returns the gate. */
export const change = async (name, verb, body) => asked(await call(`${path(name)}:${verb}`, posted(body)));

/** Makes the id of a request. `crypto.randomUUID` is missing where a page came over plain HTTP. */
export function requestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Yields what the server streams, each as `{ event, data }`, until the stream ends or is cut. An EventSource would not
 * tell why it was refused, and goes on by itself where a page has to start over.
 */
export async function* watch({ prefix, start }, signal) {
  const silence = new AbortController();
  const either = AbortSignal.any([signal, silence.signal]);
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new Unreachable("nothing is heard")), SILENCE_MAX);
  };
  alive();
  try {
    const parameters = query({ prefix, start_revision: start });
    const response = await fetch(`/v1/watch?${parameters}`, { signal: either, cache: "no-store" });
    if (!response.ok) throw failure(response, await response.json());
    let text = "";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      text += value;
      const messages = text.split("\n\n");
      text = messages.pop();
      for (const message of messages) {
        const fields = Object.fromEntries(message.split("\n").map(field));
        if (fields.event) yield { event: fields.event, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

// Whoever is asked for a gate knows who waits on it: what the JSON leaves out is nobody.
const asked = (gate) => ({ waiters: [], waiterCount: 0, ...gate });

function field(line) {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
}

async function call(address, options) {
  const sent = Date.now();
  let response, answer;
  try {
    response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MAX), ...options });
    answer = await response.json();
  } catch (error) {
    throw new Unreachable("the server does not answer", { cause: error });
  }
  heard(response.headers.get("Date"), sent, Date.now());
  if (!response.ok) throw failure(response, answer);
  return answer;
}

const posted = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

// 503 is UNAVAILABLE, after which the same call may be made again.
function failure(response, status) {
  if (response.status === 401) dispatchEvent(new Event(LOGGED_OUT));
  return response.status === 503 ? new Unreachable(status.message) : new Refused(status);
}

// A slash in a name is escaped, so that no name looks like a part of the path.
const path = (name) => `/v1/gates/${encodeURIComponent(name)}`;

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
}
