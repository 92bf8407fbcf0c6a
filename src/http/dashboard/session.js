// Who looks at the page. Where the server asks who calls, somebody logs in first, and again once their session has ended.

import { LOGGED_OUT, Refused, endSession, getSession } from "./api.js";
import { announce, show } from "./connection.js";
import { parts, say } from "./dom.js";
import { logIn } from "./login.js";

// Milliseconds between two times that a server that does not answer is asked who looks.
const PAUSE = 1_000;

const OPEN = "Nothing protects this server: everybody who reaches it can decide every gate.";
const READABLE = "This server is reached without TLS: whoever is on the way to it can read what you log in with.";

const main = document.getElementById("main");
const header = document.getElementById("who");
const { principal, logOut } = parts(header);
const insecure = document.getElementById("insecure");

let looking;
let finding;

addEventListener(LOGGED_OUT, enter);
// Another window may have logged in as somebody else.
addEventListener("focus", () => looking?.asks && getSession().then(meet, () => {}));
logOut.addEventListener("click", async () => {
  try {
    await endSession();
    // Nothing of what was seen stays.
    location.reload();
  } catch (error) {
    logOut.textContent = "Log out again";
    announce(`You are not logged out: ${error.message}.`);
  }
});

/** Finds out who looks, and has them log in if they are nobody yet. Whoever calls meanwhile waits for the same. */
export function enter() {
  finding ??= find().finally(() => (finding = undefined));
  return finding;
}

/** What has to be waited for until it is known who looks; nothing if it is. */
export const entering = () => finding;

async function find() {
  let hasLoggedIn = false;
  let hasAsked = false;
  for (;;) {
    try {
      return meet(await getSession());
    } catch (error) {
      if (!isLoggedOut(error)) {
        show("lost");
        await new Promise((wake) => setTimeout(wake, PAUSE));
        continue;
      }
      // A session that has ended is forgotten with that: a certificate counts from then on.
      if (!hasAsked) {
        hasAsked = true;
        continue;
      }
      const unkept = "The server has let you in, and the browser has not kept it. Open the page at its https address.";
      await outside(() => logIn(hasLoggedIn ? unkept : looking ? "Your session has ended." : ""));
      hasLoggedIn = true;
    }
  }
}

const isLoggedOut = (error) => error instanceof Refused && error.reason === "UNAUTHENTICATED";

/** Keeps the page as it is, out of sight, until somebody has logged in. */
async function outside(logIn) {
  const { activeElement } = document;
  const { title } = document;
  show("out");
  document.title = "Log in — gatepost";
  // An open dialog would keep everything else from being used.
  main.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  main.hidden = true;
  header.hidden = true;
  await logIn();
  show("connecting");
  document.title = title;
  main.hidden = false;
  activeElement.focus();
}

/** Shows the page to somebody. What somebody else was shown, or has written, is not for them. */
function meet(session) {
  if (looking && looking.principal !== session.principal) {
    location.reload();
    return new Promise(() => {});
  }
  looking = session;
  header.hidden = !session.asks;
  say(principal, session.principal);
  logOut.hidden = !session.session;
  say(insecure, session.insecure ? (session.asks ? READABLE : OPEN) : "");
  document.body.toggleAttribute("data-asks", session.asks);
}
