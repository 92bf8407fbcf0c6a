// The log-in: one field for a token, which the server takes for a session.

import { beginSession } from "./api.js";
import { parts, say } from "./dom.js";

const page = document.getElementById("login");
const { form, token, submit, problem } = parts(page);

/** Shows the log-in, and why there is one. Returns once the server has let somebody in. */
export async function logIn(why) {
  say(problem, why);
  page.hidden = false;
  token.focus();
  while (!(await attempt()));
  // It stays nowhere but in the browser's own store, if anybody has put it there.
  form.reset();
  page.hidden = true;
}

async function attempt() {
  await new Promise((given) => form.addEventListener("submit", given, { once: true }));
  submit.disabled = true;
  try {
    await beginSession(token.value);
    return true;
  } catch (error) {
    say(problem, `This did not work: ${error.message}.`);
    token.setAttribute("aria-invalid", "true");
    token.select();
    return false;
  } finally {
    submit.disabled = false;
  }
}

form.addEventListener("submit", (event) => event.preventDefault());
token.addEventListener("input", () => token.removeAttribute("aria-invalid"));
