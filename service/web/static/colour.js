// Depth as colours. Knows pixels; knows no page and no server.

import { MAPS } from "./maps.js";
import { within } from "./numbers.js";

/** @typedef {[near: number, far: number]} Range */

/** The range that leaves out the nearest and the farthest hundredth of the pixels.
 * @param {Float32Array} values
 * @param {number} [share] what is left out at each end
 * @returns {Range}
 */
export function ownRange(values, share = 0.01) {
  const step = Math.max(1, Math.floor(values.length / 20000));
  const seen = [];
  for (let index = 0; index < values.length; index += step) {
    const value = values[index] ?? 0;
    if (value > 0 && Number.isFinite(value)) seen.push(value);
  }
  seen.sort((one, other) => one - other);
  const near = seen[Math.floor(seen.length * share)] ?? 1;
  const far = seen[Math.max(0, Math.ceil(seen.length * (1 - share)) - 1)] ?? 2;
  return far > near ? [near, far] : [near, near * 1.01];
}

/** Which of a map's 256 colours a distance has: by disparity, the near at the bright end.
 * @param {Range} range
 * @returns {(value: number) => number}
 */
export function leveller([near, far]) {
  const low = 1 / far;
  const share = 255 / Math.max(1 / near - low, 1e-9);
  return (value) => within(Math.floor((1 / value - low) * share), 0, 255);
}

/** @param {string} name @returns {Uint8Array} */
const table = (name) => /** @type {Uint8Array} */ (MAPS[name] ?? MAPS["turbo"]);

/** @param {string} name @param {number} level */
export function css(name, level) {
  const map = table(name);
  return `rgb(${map[3 * level]} ${map[3 * level + 1]} ${map[3 * level + 2]})`;
}

/** A map as a gradient from near to far. @param {string} name */
export function gradient(name) {
  const stops = [255, 219, 182, 146, 109, 73, 36, 0].map((level) => css(name, level));
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}

/** A map's colours as the words of an RGBA picture. @param {string} name */
function palette(name) {
  const map = table(name);
  const bytes = new Uint8Array(1024).fill(255);
  for (let level = 0; level < 256; level += 1) bytes.set(map.subarray(3 * level, 3 * level + 3), 4 * level);
  return new Uint32Array(bytes.buffer);
}

/** Colours of each pixel; what has no depth is transparent.
 * @param {import("./depth.js").DepthMap} map
 * @param {string} name
 * @param {Range} range
 */
export function colours({ values, width, height }, name, [near, far]) {
  const words = palette(name);
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const low = 1 / far;
  const share = 255 / Math.max(1 / near - low, 1e-9);
  for (let index = 0; index < pixels.length; index += 1) {
    const value = values[index] ?? 0;
    if (value > 0) pixels[index] = words[within(Math.floor((1 / value - low) * share), 0, 255)] ?? 0;
  }
  return picture;
}
