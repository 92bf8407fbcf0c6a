// Approve and Reject: what is sent, and what is said of how it went.

import { Unreachable, change, getGate, requestId } from "./api.js";
import { exact } from "./clock.js";
import { announce } from "./connection.js";
import { say } from "./dom.js";
import { approvals, isDecided, outcome } from "./gate.js";

// Milliseconds between attempts to send a decision that was not answered. After the last it is up to the reader.
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000];

/**
 * Lets people decide the gate of a view. `shown` returns the gate as it is shown, and `update` shows a newer one.
 */
export function decidable(view, shown, update) {
  const { form, comment, approve, reject, message } = view;
  // What was sent and not answered. Sent again with the same id, it counts once.
  let unanswered;

  const { name } = shown();
  approve.setAttribute("aria-label", `Approve ${name}`);
  reject.setAttribute("aria-label", `Reject ${name}`);
  comment.setAttribute("aria-label", `Comment on ${name}`);
  approve.addEventListener("click", () => decide("approve"));
  reject.addEventListener("click", () => decide("reject"));
  comment.addEventListener("input", () => comment.removeAttribute("aria-invalid"));
  form.addEventListener("submit", (event) => event.preventDefault());

  async function decide(verb) {
    const text = comment.value.trim();
    if (verb === "reject" && text === "") {
      comment.setAttribute("aria-invalid", "true");
      comment.focus();
      return tell("Say why, then reject again.");
    }
    const gate = shown();
    const what = JSON.stringify([verb, text, gate.uid, gate.round]);
    if (unanswered?.what !== what) unanswered = { what, body: body(verb, text, gate) };
    disable(true);
    tell("Sending…");
    try {
      const decided = await persist(() => change(name, verb, unanswered.body));
      unanswered = undefined;
      update(decided);
      comment.value = "";
      tell(decided.revision === gate.revision ? repeated(decided) : done(decided));
    } catch (error) {
      await explain(error);
    }
    disable(false);
    // A button that is gone or was disabled has lost the focus, which has to be somewhere.
    if (document.activeElement === document.body) (form.hidden ? view.outcome : { approve, reject }[verb]).focus();
  }

  /** Sends until there is an answer, for a while. */
  async function persist(send) {
    for (const pause of PAUSES) {
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
        tell("The server does not answer. Sending it again…");
        await new Promise((wake) => setTimeout(wake, pause));
      }
    }
    return send();
  }

  async function explain(error) {
    if (error instanceof Unreachable) {
      return tell("It is not known whether this has arrived. Press again once the server is back: it counts once.");
    }
    unanswered = undefined;
    // What holds now, whatever it is. If this fails too, the stream will tell.
    const gate = await getGate(name).catch(() => undefined);
    if (gate) update(gate);
    tell(sentence(error, gate));
  }

  function tell(text) {
    say(message, text);
    announce(`${name}: ${text}`);
  }

  function disable(disabled) {
    for (const element of [approve, reject]) element.disabled = disabled;
    comment.readOnly = disabled;
    form.setAttribute("aria-busy", String(disabled));
  }
}

function body(verb, text, { round, etag, spec }) {
  const said = verb === "approve" ? { comment: text } : { reason: text };
  return { ...said, round, etag, subjectDigest: spec?.subject?.digest ?? "", requestId: requestId() };
}

function done(gate) {
  return isDecided(gate) ? `You have ${sentenceOf(gate)}.` : `Your approval is recorded: ${approvals(gate)}.`;
}

function repeated(gate) {
  const anonymous = gate.votes?.some(({ voter }) => voter === "anonymous");
  const why = anonymous ? " Without identities, all callers are one voter." : "";
  return `You have approved already: ${approvals(gate)}.${why}`;
}

const sentenceOf = (gate) => (gate.status === "GATE_STATUS_APPROVED" ? "approved it" : "rejected it");

/** Says why a decision was refused. */
function sentence(error, gate) {
  switch (error.reason) {
    case "GATE_ALREADY_RESOLVED": {
      if (!gate?.resolution) return `Somebody was faster: ${error.message}.`;
      const how = outcome(gate).map((part) => part.textContent ?? part).join("");
      return error.metadata.cause === "TIMEOUT" ? `Too late. ${how}.` : `Somebody was faster. ${how}.`;
    }
    case "UNAUTHENTICATED":
      return "Your session had ended, so that nothing was decided: press again.";
    case "ETAG_MISMATCH":
    case "ROUND_MISMATCH":
    case "SUBJECT_CHANGED":
      return "The gate has changed since you looked. It is shown as it is now: look again, then decide.";
    case "NOT_AN_APPROVER": {
      const approvers = error.metadata.approvers.split(",").join(", ");
      return `You (${error.metadata.principal}) are none of those who decide this gate: ${approvers}.`;
    }
    case "OWN_GATE":
      return `You (${error.metadata.principal}) asked for this gate: somebody else has to approve it.`;
    case "TOO_EARLY": {
      const time = error.metadata.not_before;
      if (!time) return "It is too early: an approval counts once somebody has waited for a while.";
      return `It is too early: an approval counts from ${exact(time)} on.`;
    }
    default:
      return `This was refused: ${error.message}.`;
  }
}
