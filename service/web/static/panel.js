// What stands beside the picture: colours, range, times and what can be taken away. Knows the page; knows no server.

import { gradient } from "./colour.js";
import { FORMATS } from "./formats.js"; // written by the service
import { MAPS } from "./maps.js";
import { milliseconds, sign } from "./numbers.js";

/** @typedef {import("./depth.js").DepthMap} DepthMap */
/** @typedef {import("./colour.js").Range} Range */

/** @typedef {string} Format by its name in FORMATS: title, note, what a file's name ends with, whether it needs metres */

/** @type {Record<string, [string, string]>} */
const PHASES = {
  decode: ["decode", "#4668e0"],
  queue: ["queue", "#9aa3b2"],
  predict: ["network", "#f28b30"],
  encode: ["encode", "#17b897"],
  way: ["on the way", "#b9a7e6"],
};

/** @param {string} id */
const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ ($(id));

/** @param {(name: string) => void} onChoice */
export function offerMaps(onChoice) {
  const names = ["turbo", ...Object.keys(MAPS).filter((name) => name !== "turbo")];
  $("maps").replaceChildren(...names.map((name) => {
    const label = document.createElement("label");
    label.title = name;
    label.style.background = gradient(name);
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "map", value: name, checked: name === "turbo" });
    radio.setAttribute("aria-label", name);
    radio.addEventListener("change", () => onChoice(name));
    label.append(radio);
    return label;
  }));
}

/** @param {(format: Format) => void} onChoice */
export function offerDownloads(onChoice) {
  $("downloads").replaceChildren(...Object.entries(FORMATS).map(([format, [name, what]]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: String(name), disabled: true });
    button.dataset["format"] = format;
    button.append(Object.assign(document.createElement("small"), { textContent: String(what) }));
    button.addEventListener("click", () => onChoice(/** @type {Format} */ (format)));
    return button;
  }));
}

/** @param {DepthMap} map */
export function allowDownloads(map) {
  for (const button of $("downloads").querySelectorAll("button")) {
    const needsMetres = FORMATS[/** @type {Format} */ (button.dataset["format"])]?.[3];
    button.disabled = Boolean(needsMetres) && map.unit !== "metre";
    button.title = button.disabled ? "This model's depth is relative: it has no millimetres." : "";
  }
}

/** @param {Range} range @param {string} unit */
export function showRange([near, far], unit) {
  for (const [id, value] of /** @type {const} */ ([["near", near], ["far", far]])) {
    if (document.activeElement !== $(id)) input(id).value = String(Number(value.toPrecision(3)));
    const mark = $(id).nextElementSibling;
    if (mark) mark.textContent = sign(unit);
  }
}

/** What the number fields say, or null where that makes no range. @returns {Range | null} */
export function typedRange() {
  const [near, far] = [Number(input("near").value), Number(input("far").value)];
  const makesSense = near > 0 && far > near;
  for (const id of ["near", "far"]) $(id).setAttribute("aria-invalid", String(!makesSense));
  return makesSense ? [near, far] : null;
}

/** @param {DepthMap} map */
export function showTimes({ phases, roundTripMs }) {
  const known = phases.filter(([name]) => name in PHASES);
  const spent = known.reduce((sum, [, ms]) => sum + ms, 0);
  /** @type {Array<[string, number]>} */
  const parts = [...known, ["way", Math.max(0, roundTripMs - spent)]];
  $("total").textContent = milliseconds(roundTripMs);
  $("phases").replaceChildren(...parts.map(([name, ms]) => {
    const part = document.createElement("i");
    Object.assign(part.style, { flex: String(Math.max(ms, 0.01)), background: PHASES[name]?.[1] ?? "" });
    return part;
  }));
  $("timings").replaceChildren(...parts.map(([name, ms]) => {
    const entry = document.createElement("span");
    const dot = document.createElement("i");
    dot.style.background = PHASES[name]?.[1] ?? "";
    entry.append(dot, `${PHASES[name]?.[0] ?? name} ${milliseconds(ms)}`);
    return entry;
  }));
}

/** The options that a format is asked for with.
 * @param {Format} format
 * @param {{colours: string, range: Range, fov: number}} seen
 * @returns {Record<string, string>}
 */
export function optionsOf(format, { colours, range, fov }) {
  if (format === "color") return { format, colormap: colours, near: range[0].toPrecision(4), far: range[1].toPrecision(4) };
  if (format === "ply") return { format, fov_deg: String(fov), ply_edges: "drop" };
  if (format === "json") return { format, size: "model" };
  return { format };
}

/** The same call for a terminal.
 * @param {Record<string, string>} query
 * @param {Format} format
 * @param {boolean} hasKey
 */
export function showCall(query, format, hasKey) {
  const address = new URL("v1/depth", document.baseURI);
  address.search = String(new URLSearchParams(query));
  const key = hasKey ? ` -H "Authorization: Bearer $KEY"` : "";
  $("call").textContent = `curl -X POST -T photo.jpg${key} '${address}' -o photo${FORMATS[format]?.[2]}`;
}
