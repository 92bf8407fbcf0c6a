// Keeps a page up with what happens, through lost connections and other stores.

import { LOGGED_OUT, Refused, watch } from "./api.js";
import { show } from "./connection.js";
import { enter, entering } from "./session.js";

// Milliseconds between two attempts to connect: at first, and at most.
const PAUSE_MIN = 250;
const PAUSE_MAX = 5_000;

/**
 * Follows what happens below a prefix, for as long as `signal` lets it.
 *
 * `load` reads everything anew and returns the revision that it read: it is called at the start, and where events cannot
 * be had from the place that was reached. `happened` is told each event after that, in order. `refused` is told why the
 * prefix is none, or not for who looks, which ends it.
 *
 * A hidden page lets go of its connection, since a browser has few for one host, and catches up when it is shown.
 */
export async function follow(prefix, { load, happened, refused }, signal) {
  // The store, and the last revision that was seen of it.
  let place;
  let pause = PAUSE_MIN;

  async function connect(connection) {
    const start = place && place.revision + 1n;
    for await (const { event, data } of watch({ prefix, start }, connection)) {
      if (event === "error") throw new Refused(data);
      if (event === "created") {
        if (place && place.store !== data.storeId) {
          place = undefined;
          return;
        }
        // The stream is in place before the list is read, so that nothing falls between them.
        place ??= { store: data.storeId, revision: BigInt(await load()) };
        pause = PAUSE_MIN;
        show("live");
      }
      const revision = BigInt(data.revision ?? 0);
      if (revision <= place.revision) continue;
      place.revision = revision;
      if (event === "gate") happened(data);
    }
  }

  while (!signal.aborted) {
    const connection = new AbortController();
    const hide = () => document.hidden && connection.abort();
    const leave = () => connection.abort();
    document.addEventListener("visibilitychange", hide);
    window.addEventListener(LOGGED_OUT, leave);
    try {
      await connect(AbortSignal.any([signal, connection.signal]));
    } catch (error) {
      if (error instanceof Refused && isFinal(error.reason)) {
        show("paused");
        return refused(error);
      }
      if (error.reason === "UNAUTHENTICATED") enter();
      if (["REVISION_COMPACTED", "REVISION_AHEAD"].includes(error.reason)) place = undefined;
    } finally {
      document.removeEventListener("visibilitychange", hide);
      window.removeEventListener(LOGGED_OUT, leave);
      connection.abort();
    }
    if (signal.aborted) return;
    if (entering()) {
      await entering();
      continue;
    }
    if (document.hidden) {
      show("paused");
      await until(signal, document, "visibilitychange");
      continue;
    }
    show("lost");
    await until(signal, window, "online", pause);
    pause = Math.min(2 * pause, PAUSE_MAX);
  }
}

const isFinal = (reason) => reason.startsWith("INVALID_") || reason === "PERMISSION_DENIED";

// Returns at an event, when `signal` is aborted, or after some milliseconds.
async function until(signal, target, event, pause) {
  const over = new AbortController();
  const once = { signal: over.signal };
  let timer;
  await new Promise((wake) => {
    target.addEventListener(event, wake, once);
    signal.addEventListener("abort", wake, once);
    if (pause !== undefined) timer = setTimeout(wake, pause);
  });
  clearTimeout(timer);
  over.abort();
}
