// The page of one gate: all of it, and its rounds with what happened in each.

import { Refused, Unreachable, change, getGate, listEvents, requestId } from "./api.js";
import { exact, refresh } from "./clock.js";
import { announce, isLive } from "./connection.js";
import { decidable } from "./decision.js";
import { clone, fill, make, say } from "./dom.js";
import { actor, after, approvals, gateView, isDecided, newer, outcome, silence, voteText, when } from "./gate.js";
import { follow } from "./live.js";

// Events in one answer, and those that are read before anybody asks for more.
const PAGE = 500;
const EVENTS_MAX = 5000;
// Seconds between two looks at who waits.
const WAITERS_EVERY = 5;

/** Shows the page of a gate. Returns what is to be called each second. */
export function gatePage(name) {
  const page = clone("page");
  const view = gateView({ whole: true });
  document.getElementById("main").append(page.root);
  page.name.textContent = name;
  document.title = `${name} — gatepost`;
  let gate;
  let isGone = false;
  // What happened, by revision, and where the next page of it starts.
  let events = new Map();
  let token = "";

  page.more.addEventListener("click", () => loadMore().then(drawHistory, (error) => say(page.problem, error.message)));
  page.reset.addEventListener("click", () => page.confirm.showModal());
  page.cancel.addEventListener("click", () => page.confirm.close());
  page.resetNow.addEventListener("click", reset);
  follow(name, { load, happened, refused: (error) => say(page.problem, error.message) }, new AbortController().signal);

  async function load() {
    events = new Map();
    token = "";
    do await loadMore();
    while (token && events.size < EVENTS_MAX);
    gate = await getGate(name).catch(unlessMissing);
    isGone = gate === undefined;
    const last = oldestFirst().at(-1);
    say(page.problem, isGone && !last ? `There is no gate ${name}.` : "");
    // What is left of a gate that was deleted.
    gate ??= last?.gate;
    draw();
    drawHistory();
    return last?.revision ?? 0;
  }

  async function loadMore() {
    const answer = await listEvents(name, { size: PAGE, token }).catch(unlessMissing);
    for (const event of answer?.events ?? []) events.set(event.revision, event);
    token = answer?.nextPageToken ?? "";
  }

  function happened(event) {
    if (event.name !== name) return;
    isGone = event.type === "EVENT_TYPE_DELETED";
    say(page.problem, "");
    put(after(event, gate));
    events.set(event.revision, event);
    drawHistory();
  }

  function put(changed) {
    if (!changed || !newer(changed, gate)) return;
    gate = changed;
    draw();
  }

  function draw() {
    if (!gate) return;
    if (!view.root.isConnected) {
      page.gate.append(view.root);
      decidable(view, () => gate, put);
    }
    view.show(gate, isGone);
    page.reset.hidden = !isDecided(gate) || isGone;
    // Somebody else was faster.
    if (page.reset.hidden) page.confirm.close();
    fill(page.facts, facts(gate));
    const { inputs } = gate.resolution ?? {};
    say(page.inputs, inputs && Object.keys(inputs).length > 0 ? JSON.stringify(inputs, null, 2) : "");
    page.inputsPart.hidden = page.inputs.hidden;
  }

  const oldestFirst = () => Array.from(events.values()).sort((a, b) => Number(BigInt(a.revision) - BigInt(b.revision)));

  function drawHistory() {
    const rounds = Map.groupBy(oldestFirst(), ({ round }) => round);
    const newestFirst = Array.from(rounds.entries()).sort(([a], [b]) => b - a);
    fill(page.history, newestFirst.map(([round, events]) => roundOf(round, events)));
    page.historyPart.hidden = events.size === 0;
    page.more.hidden = token === "";
  }

  // The round to be reset and the id of the request, which is the same for as long as it is tried.
  let resetting;

  async function reset() {
    const { uid, round } = gate;
    if (resetting?.uid !== uid || resetting.round !== round) resetting = { uid, round, id: requestId() };
    page.resetNow.disabled = true;
    try {
      put(await change(name, "reset", { requestId: resetting.id }));
      resetting = undefined;
      say(page.resetProblem, "");
      page.confirm.close();
      announce(`${name}: round ${gate.round} has begun.`);
    } catch (error) {
      if (!(error instanceof Unreachable)) resetting = undefined;
      say(page.resetProblem, `${error.message}. Press again to try again.`);
    }
    page.resetNow.disabled = false;
  }

  let seconds = 0;

  return () => {
    if (gate) view.tick(gate);
    refresh(page.root);
    seconds += 1;
    const isUndecided = gate && !isGone && !isDecided(gate);
    if (isLive() && isUndecided && (seconds % WAITERS_EVERY === 0 || gate.waiterCount === undefined)) {
      // If this fails, the stream says what has become of the gate or of the server.
      getGate(name).then(put, () => {});
    }
  };
}

/** Returns nothing where there is no such gate. */
function unlessMissing(error) {
  if (error instanceof Refused && error.reason === "GATE_NOT_FOUND") return undefined;
  throw error;
}

function facts(gate) {
  const { spec = {}, requester, firstWaiter, createTime, waitTime, deadline, uid, revision } = gate;
  const seconds = (duration) => `${parseFloat(duration)} seconds from the first wait`;
  const own = spec.forbidRequester ? "forbidden" : "allowed";
  const said = [
    ["Created", [inFull(createTime), ...actor(requester)]],
    ["First wait", waitTime && [inFull(waitTime), ...actor(firstWaiter)]],
    ["Deadline", deadline && [make("span", {}, exact(deadline))]],
    ["Time limit", [spec.timeout ? `${seconds(spec.timeout)}, then it ${silence(spec)}` : "none"]],
    ["Approval counts", spec.minWait && [seconds(spec.minWait)]],
    ["Approvers", spec.approvers?.length > 0 && [spec.approvers.join(", ")]],
    ["Own approval", spec.forbidRequester !== undefined && [own]],
    ["Approvals", [approvals(gate)]],
    ["Round", [String(gate.round)]],
    ["Revision", [revision]],
    ["Id", [uid]],
  ];
  return said.filter(([, value]) => value).flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, ...value)]);
}

const inFull = (time) => make("span", {}, exact(time), " (", when(time), ")");

function roundOf(round, events) {
  const items = events.map((event) => {
    const kind = event.type.replace("EVENT_TYPE_", "").toLowerCase();
    const status = event.gate.status.replace("GATE_STATUS_", "").toLowerCase();
    const time = make("span", { class: "at" }, exact(event.time));
    return make("li", { "data-kind": kind, "data-status": status }, make("p", {}, ...happening(event)), time);
  });
  return make("section", {}, make("h3", {}, `Round ${round}`), make("ol", { class: "timeline" }, ...items));
}

const known = ({ evidence = {} }) =>
  Object.entries(evidence)
    .sort()
    .map((fact) => fact.join("="))
    .join(", ");

/** Says what happened, as children of an element. */
function happening({ type, actor: by, round, gate }) {
  switch (type) {
    case "EVENT_TYPE_CREATED":
      return isDecided(gate) ? ["Created", ...actor(by), ". ", ...outcome(gate)] : ["Created", ...actor(by)];
    case "EVENT_TYPE_WAITING":
      return ["The first worker reached the gate", gate.deadline ? `; it ${silence(gate.spec)} at ${exact(gate.deadline)}` : ""];
    case "EVENT_TYPE_VOTED":
      return [...voteText(gate.votes.at(-1)), ` (${approvals(gate)})`];
    case "EVENT_TYPE_RESOLVED":
      return outcome(gate);
    case "EVENT_TYPE_EVIDENCE_REPORTED":
      return ["Evidence", ...actor(by), ": ", known(gate)];
    case "EVENT_TYPE_RESET":
      return ["Reset", ...actor(by), `: round ${round} began`];
    case "EVENT_TYPE_DELETED":
      return ["Deleted", ...actor(by)];
    default:
      return ["Changed", ...actor(by)];
  }
}
