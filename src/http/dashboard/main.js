// Starts the page that the address names, once it is known who looks at it.

import { gatePage } from "./gate_page.js";
import { listPage } from "./list_page.js";
import { enter } from "./session.js";

const GATES = "/gates/";

await enter();
const { pathname } = location;
const tick = pathname.startsWith(GATES) ? gatePage(decode(pathname.slice(GATES.length))) : listPage();

// One timer for all that is counted in seconds.
setInterval(tick, 1000);

function decode(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
