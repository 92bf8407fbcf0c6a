// The list: gates of one status below a prefix, those that have waited longest first.

import { getGate, listGates } from "./api.js";
import { announce, isLive } from "./connection.js";
import { decidable } from "./decision.js";
import { arrange, clone, say } from "./dom.js";
import { STATUSES, after, gateView, newer } from "./gate.js";
import { follow } from "./live.js";

// Gates in one answer. Undecided ones are read to their end, or so many; of the others, of which there may be millions,
// one page at a time.
const UNDECIDED_PAGE = 1_000;
const UNDECIDED_MAX = 3_000;
const DECIDED_PAGE = 100;
// Milliseconds that a gate in sight stays where it is once it is none of the list's: long enough to read what became of
// it, and nothing moves under the pointer.
const LINGER = 6_000;
// Milliseconds after which it is asked again who waits on a gate that is in sight.
const WAITERS_AGE = 5_000;
// Seconds between two times that the number of gates is read out.
const ANNOUNCE_EVERY = 3;
// Milliseconds without a key after which a prefix is taken for complete.
const TYPING = 300;

const UNDECIDED = ["GATE_STATUS_WAITING", "GATE_STATUS_PENDING"];
const STATUS_PREFIX = "GATE_STATUS_";

/** Shows the list. Returns what is to be called each second. */
export function listPage() {
  const page = clone("list");
  document.getElementById("main").append(page.root);
  const { filters } = page;

  // By name: the gate, its view, what it is ordered by, when it was asked for, and when it has to go.
  const entries = new Map();
  const inSight = new Set();
  const sight = new IntersectionObserver(look, { rootMargin: "300px" });
  let view = fromAddress();
  let following = new AbortController();
  let token = "";
  let drawing = 0;
  let typing;

  filters.elements.status.value = view.status;
  filters.elements.prefix.value = view.prefix;
  filters.elements.text.value = view.text;
  filters.addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(filter, event.target.name === "prefix" ? TYPING : 0);
  });
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    filter();
  });
  page.more.addEventListener("click", () => loadMore().catch((error) => say(page.problem, error.message)));
  restart();

  function filter() {
    const { status, prefix, text } = filters.elements;
    const before = view;
    view = { status: status.value, prefix: prefix.value.trim().replace(/\/+$/, ""), text: text.value.trim() };
    history.replaceState(null, "", toAddress(view));
    if (view.status !== before.status || view.prefix !== before.prefix) restart();
    else draw();
  }

  function restart() {
    following.abort();
    following = new AbortController();
    clear();
    draw();
    page.root.setAttribute("aria-busy", "true");
    say(page.problem, "");
    follow(view.prefix, { load, happened, refused: (error) => say(page.problem, error.message) }, following.signal);
  }

  async function load() {
    const { signal } = following;
    const pages = [await nextPage("")];
    const count = () => pages.reduce((sum, { gates }) => sum + gates.length, 0);
    const enough = UNDECIDED.includes(view.status) ? UNDECIDED_MAX : 1;
    while (pages.at(-1).nextPageToken && count() < enough) {
      pages.push(await nextPage(pages.at(-1).nextPageToken));
    }
    signal.throwIfAborted();
    clear();
    token = pages.at(-1).nextPageToken ?? "";
    for (const { gates } of pages) gates.forEach((gate) => put(gate, Date.now()));
    page.root.removeAttribute("aria-busy");
    draw();
    return pages[0].revision ?? 0;
  }

  async function loadMore() {
    const { signal } = following;
    let page;
    do {
      page = await nextPage(token);
      if (signal.aborted) return;
      token = page.nextPageToken ?? "";
      page.gates.forEach((gate) => put(gate, Date.now()));
      // A page may be empty, and is not the end then.
    } while (token && page.gates.length === 0);
    draw();
  }

  function nextPage(token) {
    const { prefix, status } = view;
    return listGates({ prefix, status, size: UNDECIDED.includes(status) ? UNDECIDED_PAGE : DECIDED_PAGE, token });
  }

  function happened(event) {
    const gate = after(event, entries.get(event.name)?.gate);
    if (gate) put(gate, 0, event.type === "EVENT_TYPE_DELETED");
  }

  /** Shows a gate if it is one of the list's, or was until now. */
  function put(gate, askedAt, isGone = false) {
    const isWanted = gate.status === view.status && !isGone;
    const entry = entries.get(gate.name) ?? (isWanted ? add(gate) : undefined);
    if (!entry || !newer(gate, entry.gate)) return;
    Object.assign(entry, { gate, askedAt, order: isWanted ? order(gate) : entry.order });
    if (isWanted || inSight.has(entry)) {
      const { root } = entry.shown;
      // It keeps its height, so that nothing below it moves while somebody is about to press a button there.
      root.style.minHeight = isWanted ? "" : `${root.offsetHeight}px`;
      entry.goesAt = isWanted ? undefined : (entry.goesAt ?? Date.now() + LINGER);
      entry.shown.show(gate, isGone);
    } else drop(entry);
    draw();
  }

  function add(gate) {
    const entry = { gate, shown: gateView({ whole: false }) };
    entries.set(gate.name, entry);
    entry.shown.root.dataset.name = gate.name;
    decidable(entry.shown, () => entry.gate, (decided) => put(decided, Date.now()));
    sight.observe(entry.shown.root);
    return entry;
  }

  function drop(entry) {
    const { root } = entry.shown;
    if (root.contains(document.activeElement)) {
      const beside = root.nextElementSibling ?? root.previousElementSibling;
      (beside?.querySelector("h2 a") ?? page.count).focus();
    }
    sight.unobserve(root);
    inSight.delete(entry);
    entries.delete(entry.gate.name);
    root.remove();
  }

  function clear() {
    for (const entry of entries.values()) drop(entry);
    token = "";
  }

  /** Brings the list in order, once for all that has changed since. */
  function draw() {
    drawing ||= requestAnimationFrame(() => {
      drawing = 0;
      const words = view.text.toLowerCase().split(/\s+/);
      const matching = Array.from(entries.values()).filter(({ gate }) => view.text === "" || matches(gate, words));
      arrange(page.gates, matching.sort(inOrder).map(({ shown }) => shown.root));
      count(matching);
    });
  }

  function count(matching) {
    const isBusy = page.root.hasAttribute("aria-busy");
    const total = Array.from(entries.values()).filter(({ goesAt }) => !goesAt).length;
    const found = matching.filter(({ goesAt }) => !goesAt).length;
    const all = STATUSES[view.status].so(total);
    const text = view.text && total > 0 ? `${found} of ${all}` : all;
    say(page.count, isBusy ? "Gates" : token ? `${text}, and more` : text);
    page.more.hidden = token === "";
    page.empty.hidden = isBusy || matching.length > 0 || token !== "";
    document.title = view.status === "GATE_STATUS_WAITING" && total > 0 ? `(${total}) gatepost` : "gatepost";
  }

  function look(changes) {
    for (const { target, isIntersecting } of changes) {
      const entry = entries.get(target.dataset.name);
      if (entry && isIntersecting) {
        entry.shown.tick(entry.gate);
        inSight.add(entry);
      } else if (entry) inSight.delete(entry);
    }
  }

  let isAsking = false;

  /** Asks who waits on the gates in sight, one after the other. */
  async function askForWaiters() {
    if (isAsking || !isLive()) return;
    isAsking = true;
    const isDue = ({ gate, goesAt, askedAt }) =>
      gate.status === "GATE_STATUS_WAITING" && !goesAt && Date.now() - askedAt > WAITERS_AGE;
    for (const entry of Array.from(inSight).filter(isDue)) {
      // If this fails, the stream says what has become of the gate or of the server.
      const gate = await getGate(entry.gate.name).catch(() => undefined);
      entry.askedAt = Date.now();
      if (gate && entries.get(gate.name) === entry) put(gate, entry.askedAt);
    }
    isAsking = false;
  }

  let seconds = 0;
  let announced = page.count.textContent;

  return () => {
    seconds += 1;
    const count = page.count.textContent;
    if (seconds % ANNOUNCE_EVERY === 0 && count !== announced) announce((announced = count));
    for (const { shown, gate } of inSight) shown.tick(gate);
    const isPointedAt = ({ shown }) => matchMedia("(hover: hover)").matches && shown.root.matches(":hover");
    const leaving = Array.from(entries.values()).filter(({ goesAt }) => goesAt && goesAt < Date.now());
    leaving.filter((entry) => !isPointedAt(entry)).forEach(drop);
    if (leaving.length > 0) draw();
    askForWaiters();
  };
}

/** Says what a gate is ordered by, before its name: since when it waits, or is there to be waited at. */
function order({ status, waitTime, createTime }) {
  if (!UNDECIDED.includes(status)) return 0;
  return Date.parse(status === "GATE_STATUS_WAITING" ? waitTime : createTime);
}

function inOrder(a, b) {
  return a.order - b.order || (a.gate.name < b.gate.name ? -1 : 1);
}

function matches({ name, requester, spec = {} }, words) {
  const { title, description, subject, labels = {} } = spec;
  const said = [name, requester, title, description, subject?.uri, subject?.digest, ...Object.entries(labels).flat()];
  const text = said.join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  const status = STATUS_PREFIX + (asked.get("status") ?? "waiting").toUpperCase();
  const known = status in STATUSES ? status : "GATE_STATUS_WAITING";
  return { status: known, prefix: asked.get("prefix") ?? "", text: asked.get("text") ?? "" };
}

function toAddress({ status, prefix, text }) {
  const asked = new URLSearchParams();
  if (status !== "GATE_STATUS_WAITING") asked.set("status", status.slice(STATUS_PREFIX.length).toLowerCase());
  if (prefix) asked.set("prefix", prefix);
  if (text) asked.set("text", text);
  return asked.size > 0 ? `/?${asked}` : "/";
}
