// What time it is at the server, and how times are written.

// The server's time minus ours, in milliseconds, is between these.
let least = -Infinity;
let most = Infinity;

/**
 * Learns from the `Date` of an answer, which is cut to whole seconds, and from when it was asked for and had, by our
 * clock. Each answer narrows what the difference can be; one that does not fit means that a clock was set.
 */
export function heard(date, sent, had) {
  const server = Date.parse(date ?? "");
  if (Number.isNaN(server)) return;
  const [low, high] = [server - had, server + 1000 - sent];
  const fits = low <= most && high >= least;
  least = fits ? Math.max(least, low) : low;
  most = fits ? Math.min(most, high) : high;
}

/** The server's time in milliseconds. Our own, where it agrees as far as can be known. */
export function now() {
  const difference = least <= 0 && most >= 0 ? 0 : (least + most) / 2;
  return Date.now() + difference;
}

/** Writes how long ago a time is: "4m ago". */
export function ago(time) {
  const seconds = (now() - Date.parse(time)) / 1000;
  return seconds < 2 ? "just now" : `${rough(seconds)} ago`;
}

/** Writes how long something takes, in its largest unit: "42s", "4m", "3h", "2d". */
export function rough(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Writes what is left until a time: "4:09", "2h 05m", "3d 4h". */
export function left(deadline) {
  const seconds = Math.max(0, Math.ceil((Date.parse(deadline) - now()) / 1000));
  const [days, hours, minutes] = [86_400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  const two = (number) => String(number).padStart(2, "0");
  if (days > 0) return `${days}d ${hours % 24}h`;
  if (hours > 0) return `${hours}h ${two(minutes % 60)}m`;
  return `${minutes}:${two(seconds % 60)}`;
}

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Writes a time in full, in the reader's time zone. */
export const exact = (time) => full.format(Date.parse(time));

/** Brings the relative times below an element up to date. */
export function refresh(root) {
  for (const element of root.querySelectorAll("time[data-ago]")) {
    const text = ago(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}
