// Numbers as they travel, and as people read them. Knows nothing else.

/** Every value that a half-precision float can have, by its bits. @type {Float32Array | null} */
let halves = null;

function allHalves() {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits += 1) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
    table[bits] = bits & 0x8000 ? -size : size;
  }
  return table;
}

/** Reads little-endian float16. @param {ArrayBuffer} buffer */
export function floatsOf(buffer) {
  const table = (halves ??= allHalves());
  const bits = new Uint16Array(buffer);
  const values = new Float32Array(bits.length);
  for (let index = 0; index < bits.length; index += 1) values[index] = table[/** @type {number} */ (bits[index])] ?? 0;
  return values;
}

/** The short sign of a unit. @param {string} unit */
export const sign = (unit) => (unit === "metre" ? "m" : "u");

/** Words for a distance: metres only where they are metres. @param {number} value @param {string} unit */
export function distance(value, unit) {
  if (!(value > 0)) return "no depth";
  return `${significant(value)} ${unit === "metre" ? "m" : "units"}`;
}

/** A number's first two digits that count: depth is not known to more. @param {number} value */
export function significant(value) {
  const rounded = Number(value.toPrecision(2));
  return rounded < 10 ? rounded.toPrecision(2) : String(rounded);
}

/** @param {number} value */
export const milliseconds = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

/** @param {number} value @param {number} low @param {number} high */
export const within = (value, low, high) => Math.min(high, Math.max(low, value));
