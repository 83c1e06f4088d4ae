// The distance under the pointer, and the points that somebody keeps. Knows the page; knows no server.

import { css, leveller } from "./colour.js";
import { distance } from "./numbers.js";
import { showTruth } from "./metres.js";
import { $, histogram, input, stage, state } from "./state.js";

/** @typedef {import("./depth.js").DepthMap} DepthMap */
/** @typedef {import("./stage.js").Place} Place */

const MOST_KEPT = 12;

/** @param {DepthMap} map @param {Place} place */
function depthAt(map, { x, y }) {
  return map.values[Math.floor(y * map.height) * map.width + Math.floor(x * map.width)] ?? 0;
}

/** @param {boolean} isKeyboard */
export function read(isKeyboard) {
  const { map } = state;
  const { cursor } = stage;
  if (!map) return;
  const marks = state.kept.map((at) => ({ at, words: distance(depthAt(map, at), map.unit), kept: true }));
  if (cursor) {
    const value = depthAt(map, cursor);
    const words = distance(value, map.unit);
    marks.push({ at: cursor, words, kept: false });
    $("distance").textContent = words;
    $("where").textContent = `at ${Math.floor(cursor.x * map.width)}, ${Math.floor(cursor.y * map.height)} of ${map.width} × ${map.height}` + (map.unit === "metre" ? "" : "; relative, no unit of length");
    $("swatch").style.background = css(state.colours, leveller(state.range)(value));
    if (isKeyboard) $("spoken").textContent = words;
    histogram.marked = value;
    histogram.draw();
  }
  stage.mark(marks);
  input("keep").disabled = !cursor;
  $("clear").hidden = !state.kept.length;
  showTruth();
}

export function keep() {
  if (!stage.cursor || !state.map) return;
  state.kept = [...state.kept, stage.cursor].slice(-MOST_KEPT);
  read(false);
}

export function clear() {
  state.kept = [];
  stage.cursor = null;
  histogram.marked = null;
  $("distance").textContent = "–";
  $("where").textContent = "Point at the picture";
  $("swatch").style.background = "";
  stage.mark([]);
  input("keep").disabled = true;
  $("clear").hidden = true;
  showTruth();
}
