// What the page says of itself: whether it is live, and what screen readers should hear.

const connection = document.getElementById("connection");
const heard = document.getElementById("heard");

const TEXTS = {
  connecting: "Connecting…",
  live: "Live",
  lost: "Lost the server. What is shown may be old; trying again…",
  paused: "Paused",
};

/** Says how the page stands with the server. */
export function show(state) {
  if (document.body.dataset.connection === state) return;
  document.body.dataset.connection = state;
  connection.textContent = TEXTS[state];
}

/** Has something read out, without moving the focus. */
export function announce(text) {
  // Said again, it would not be heard without a change.
  heard.textContent = heard.textContent === text ? `${text}\u00a0` : text;
}
