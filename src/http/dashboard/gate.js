// A gate as people read it: the same on the list and on its own page.

import { ago, exact, left, now, refresh, rough } from "./clock.js";
import { clone, fill, link, make, say } from "./dom.js";

/** Each status, with the word for it and what is said of so many gates that have it. */
export const STATUSES = {
  GATE_STATUS_WAITING: { word: "waiting", so: (count) => `${gates(count)} ${count > 1 ? "wait" : "waits"}` },
  GATE_STATUS_PENDING: { word: "pending", so: (count) => `${gates(count)} that nobody waits at yet` },
  GATE_STATUS_APPROVED: { word: "approved", so: (count) => `${gates(count)} approved` },
  GATE_STATUS_REJECTED: { word: "rejected", so: (count) => `${gates(count)} rejected` },
  GATE_STATUS_TIMED_OUT: { word: "timed out", so: (count) => `${gates(count)} timed out` },
};

// Waiters that a card of the list names; more are counted.
const WAITERS_NAMED = 3;
// From here on, what is left of a deadline is shown as urgent, in milliseconds.
const URGENT = 60_000;

// What becomes of a round that nobody decides, where it does not time out.
const SILENCE = { ON_TIMEOUT_APPROVE: "approved", ON_TIMEOUT_REJECT: "rejected" };

// How it was verified who somebody is, where it was.
const VERIFIED = {
  AUTHENTICATION_CERTIFICATE: " (certificate)",
  AUTHENTICATION_TOKEN: " (token)",
  AUTHENTICATION_JWT: " (JWT)",
};

const gates = (count) => (count > 1 ? `${count} gates` : `${count || "No"} gate`);

export const isDecided = (gate) => gate.resolution !== undefined;
export const address = (name) => `/gates/${name.split("/").map(encodeURIComponent).join("/")}`;

/**
 * Returns the gate to show after an event, given what was shown; nothing if that is newer. An event does not say who
 * waits: that stays, or is not known after another status.
 */
export function after(event, shown) {
  const { waiters, waiterCount } = shown?.status === event.gate.status ? shown : {};
  return newer({ ...event.gate, waiters, waiterCount }, shown);
}

/** Returns a gate unless what was shown is newer. */
export function newer(gate, shown) {
  return shown && BigInt(gate.revision) < BigInt(shown.revision) ? undefined : gate;
}

/** Makes the view of a gate, as a card of the list or, if `whole`, with all that is known. */
export function gateView({ whole }) {
  const view = clone("gate");
  view.root.classList.toggle("whole", whole);

  function show(gate, gone) {
    const { name, spec = {}, status, round, votes = [], resolution } = gate;
    // What was said is about the round before.
    if (view.root.dataset.round !== String(round)) say(view.message, "");
    view.root.dataset.round = round;
    view.root.dataset.status = gone ? "gone" : STATUSES[status].word.replace(" ", "-");
    say(view.title, spec.title || (whole ? "" : name));
    view.heading.hidden = view.title.hidden;
    view.title.href = address(name);
    say(view.name, spec.title && !whole ? name : "");
    say(view.status, gone ? "deleted" : STATUSES[status].word);
    say(view.round, round > 1 ? `round ${round}` : "");
    say(view.description, spec.description ?? "");
    fill(view.subject, subject(spec.subject));
    fill(view.links, (spec.links ?? []).map(({ title, url }) => make("li", {}, link(title || url, url))));
    fill(view.evidence, Object.entries(gate.evidence ?? {}).sort().map(label));
    fill(view.labels, Object.entries(spec.labels ?? {}).sort().map(label));
    fill(view.waiters, isDecided(gate) || gone ? [] : waiters(gate, whole));
    const hasTerms = spec.requiredApprovals > 1 || spec.approvers?.length > 0 || votes.length > 0;
    say(view.approvals, !isDecided(gate) && hasTerms ? approvals(gate) : "");
    // The outcome says the same as a single vote that decided.
    const shownVotes = isDecided(gate) && !whole && votes.length < 2 ? [] : votes;
    fill(view.votes, shownVotes.map((vote) => make("li", {}, ...voteText(vote))));
    fill(view.outcome, resolution ? outcome(gate) : []);
    view.form.hidden = isDecided(gate) || gone;
    tick(gate);
  }

  /** Brings what depends on the time up to date. */
  function tick(gate) {
    const runs = gate.status === "GATE_STATUS_WAITING";
    view.clock.hidden = !runs;
    view.bar.hidden = !runs || !gate.deadline;
    const then = SILENCE[gate.spec?.onTimeout];
    say(view.left, gate.deadline ? `${left(gate.deadline)} left${then ? `, then ${then}` : ""}` : "no time limit");
    say(view.early, isDecided(gate) ? "" : early(gate));
    if (!view.bar.hidden) {
      const [from, to] = [gate.waitTime, gate.deadline].map(Date.parse);
      const rest = Math.min(1, Math.max(0, (to - now()) / (to - from)));
      view.rest.style.transform = `scaleX(${rest})`;
      view.clock.classList.toggle("urgent", to - now() < URGENT);
      view.clock.title = `${silence(gate.spec)} at ${exact(gate.deadline)}`;
    }
    refresh(view.root);
  }

  return { ...view, show, tick };
}

/** Says when something happened: how long ago, and in full to who asks. */
export function when(time) {
  return make("time", { datetime: time, title: exact(time), "data-ago": "" }, ago(time));
}

/** Says how many have approved, and who has yet to where that is known. Who is in a group is not known here. */
export function approvals({ spec = {}, votes = [], approvalsMissing = 0, resolution }) {
  const given = votes.filter(({ verdict }) => verdict === "VERDICT_APPROVE").length;
  const needed = Math.max(1, spec.requiredApprovals ?? 1);
  const said = `${given} of ${needed} ${needed === 1 ? "approval" : "approvals"}`;
  const awaited = (spec.approvers ?? []).filter((party) => !votes.some(({ voter }) => voter === party));
  if (resolution || awaited.length === 0) return said;
  return `${said}, waiting for ${awaited.join(approvalsMissing < awaited.length ? " or " : " and ")}`;
}

/** Says what becomes of a gate that nobody decides in time: "times out", "is approved". */
export function silence({ onTimeout } = {}) {
  return SILENCE[onTimeout] ? `is ${SILENCE[onTimeout]}` : "times out";
}

/** Says from when on an approval counts; nothing if it does. */
function early({ spec = {}, waitTime }) {
  if (!spec.minWait) return "";
  const seconds = parseFloat(spec.minWait);
  if (!waitTime) return `An approval counts once somebody has waited for ${rough(seconds)}.`;
  const time = Date.parse(waitTime) + seconds * 1000;
  return time > now() ? `An approval counts in ${left(new Date(time).toISOString())}.` : "";
}

/** Says how a round ended, as children of an element. */
export function outcome({ resolution, spec = {} }) {
  const { cause, by, authentication, onBehalfOf, time, reason, status } = resolution;
  const { word } = STATUSES[status];
  const [first, ...rest] = {
    CAUSE_AUTO_APPROVE: ["approved automatically (auto_approve)"],
    CAUSE_POLICY: [`${word} by the rule`],
    CAUSE_BREAK_GLASS: [
      word,
      ...actor(by, authentication),
      claimed(onBehalfOf),
      ", ",
      make("strong", { class: "alarm" }, "breaking the glass"),
    ],
    CAUSE_SUPERSEDED: [`${word}: another round took its place`],
    CAUSE_CANCELLED: ["deleted undecided", ...actor(by, authentication)],
  }[cause] ?? [word, ...actor(by, authentication), claimed(onBehalfOf)];
  const isLate = cause === "CAUSE_TIMEOUT" && spec.timeout;
  const why = isLate ? [`: nobody decided within ${rough(parseFloat(spec.timeout))}`] : because(reason);
  return [first[0].toUpperCase() + first.slice(1), ...rest, " ", when(time), ...why];
}

/** Says what somebody said of a round, as children of an element. */
export function voteText({ voter, authentication, verdict, comment, onBehalfOf, time }) {
  const did = verdict === "VERDICT_REJECT" ? " rejected " : " approved ";
  return [make("strong", {}, voter), verified(authentication), claimed(onBehalfOf), did, when(time), ...because(comment)];
}

export const actor = (name, how) => (name ? [" by ", make("strong", {}, name), verified(how)] : []);
const verified = (how) => VERIFIED[how] ?? "";
const claimed = (name) => (name ? ` on behalf of ${name} (claimed)` : "");
export const because = (reason) => (reason ? [": ", make("q", {}, reason)] : []);

function subject({ uri, digest } = {}) {
  if (!uri && !digest) return [];
  return [uri ? link(uri, uri) : "", " ", digest ? make("code", { title: digest }, digest) : ""];
}

function label([key, value]) {
  return make("li", {}, make("span", { class: "key" }, key), value && ` ${value}`);
}

// Who waits is known of gates that were asked for. Events do not say it.
function waiters({ status, waiters = [], waiterCount, waitTime }, whole) {
  if (status !== "GATE_STATUS_WAITING") return [];
  if (waiterCount === undefined) return [make("li", {}, "the first worker came ", when(waitTime))];
  if (waiterCount === 0) return [make("li", {}, "no worker is connected now, the first came ", when(waitTime))];
  const named = whole ? waiters : waiters.slice(0, WAITERS_NAMED);
  const items = named.map(({ id, host, note, since }) => {
    const where = host && host !== id ? ` on ${host}` : "";
    const said = note ? ` (${note})` : "";
    return make("li", {}, make("strong", {}, id || "a worker"), where, said, ", came ", when(since));
  });
  const more = waiterCount - named.length;
  return more > 0 ? [...items, make("li", {}, `and ${more} more`)] : items;
}
