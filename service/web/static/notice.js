// Says what went wrong, and offers what helps. Knows the page's notice; knows no server.

import { DepthError } from "./depth.js";

/** @param {string} id */
const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {ReturnType<typeof setInterval> | undefined} */
let counting;

/**
 * @param {unknown} error
 * @param {(() => void) | null} [retry] what would be tried again
 */
export function complain(error, retry = null) {
  hush();
  const known = error instanceof DepthError ? error : new DepthError("Something went wrong on this page", { text: "Reloading it may help.", detail: String(error) });
  if (known !== error) console.error(error);
  $("notice").dataset["tone"] = known.status === 401 ? "ask" : "bad";
  $("notice").dataset["status"] = String(known.status);
  $("notice-title").textContent = known.message;
  $("notice-text").textContent = known.text;
  $("notice-detail").textContent = known.detail;
  $("unlock").hidden = known.status !== 401;
  $("retry").hidden = !retry || known.status === 401;
  $("retry").onclick = retry;
  $("notice").hidden = false;
  if (known.status === 401) $("key").focus();
  if (retry && known.status === 429) comeAgain(known.retryAfterS ?? 1, retry);
}

/** A busy service says when to come again, so that nobody has to guess.
 * @param {number} seconds
 * @param {() => void} retry
 */
function comeAgain(seconds, retry) {
  let left = Math.ceil(seconds);
  const tick = () => {
    $("notice-text").textContent = `More pictures came than it can measure at once. Trying again in ${left} s.`;
    if (left <= 0) retry();
    left -= 1;
  };
  tick();
  counting = setInterval(tick, 1000);
}

/** Takes the notice away. */
export function hush() {
  clearInterval(counting);
  $("notice").hidden = true;
}

/** The status of what is being complained of, or null. */
export const complaint = () => ($("notice").hidden ? null : Number($("notice").dataset["status"]));
