// What the page says of itself: whether it is live, and what screen readers should hear.

import { make } from "./dom.js";

// Sentences that are kept: what comes close together is read one after the other.
const KEPT = 5;

const connection = document.getElementById("connection");
const heard = document.getElementById("heard");

const TEXTS = {
  connecting: "Connecting…",
  live: "Live",
  lost: "Lost the server, trying again…",
  paused: "Paused",
  out: "Not logged in",
};

/** Says how the page stands with the server. */
export function show(state) {
  if (document.body.dataset.connection === state) return;
  document.body.dataset.connection = state;
  connection.textContent = TEXTS[state];
}

/** Says whether the page is up with the server, so that it may ask for more. */
export const isLive = () => document.body.dataset.connection === "live";

/** Has something read out, without moving the focus. */
export function announce(text) {
  heard.append(make("p", {}, text));
  while (heard.childElementCount > KEPT) heard.firstElementChild.remove();
}
