// Depth of a photograph, from a page of any origin that the service allows (DEPTH_CORS_ORIGINS).
// Plain JavaScript with types in comments: no build, no packages. `tsc -p .` checks it.

/**
 * @typedef {object} DepthMap
 * @property {Float32Array} values depth, row by row, in `unit`; 0 where there is none
 * @property {number} width
 * @property {number} height
 * @property {"metre" | "relative"} unit relative depth is right up to one unknown factor
 * @property {number} minimum
 * @property {number} maximum
 * @property {string} model name and version of what answered
 * @property {string} requestId what the service's log knows the request by
 */

/**
 * @typedef {object} Options
 * @property {string} [key] an API key, where the service asks for one
 * @property {string} [model] the service's default where not given
 * @property {"float16" | "png16"} [format] bare half floats, or a PNG that is smaller on the way and slower to read
 * @property {AbortSignal} [signal] ends the request; the service stops computing
 */

/** An answer that is no depth map. */
export class DepthError extends Error {
  /**
   * @param {string} code a stable word, such as `overloaded` or `invalid_image`
   * @param {string} message
   * @param {number} status
   * @param {number | null} retryAfterS when to come again, where the service said so
   */
  constructor(code, message, status, retryAfterS) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * Ask for the depth of a photograph.
 * @param {string} service where it is, such as `https://depth.example`
 * @param {Blob} photograph JPEG, PNG, WebP or AVIF
 * @param {Options} [options]
 * @returns {Promise<DepthMap>}
 */
export async function depthOf(service, photograph, { key, model, format = "float16", signal } = {}) {
  const address = new URL("v1/depth", service.endsWith("/") ? service : `${service}/`);
  address.searchParams.set("format", format);
  if (model) address.searchParams.set("model", model);
  /** @type {Response} */
  let response;
  try {
    response = await fetch(address, {
      method: "POST",
      body: photograph,
      headers: { "Content-Type": photograph.type || "application/octet-stream", ...(key && { Authorization: `Bearer ${key}` }) },
      signal: signal ?? null,
    });
  } catch (error) {
    // Browsers tell pages no more than this; their console says which it was.
    if (!(error instanceof TypeError)) throw error;
    const reasons = `nothing answers there, or DEPTH_CORS_ORIGINS does not name this page's origin, ${globalThis.location?.origin}`;
    throw new DepthError("unreachable", `${address.origin} gave no answer that this page may read: ${reasons}`, 0, null);
  }
  if (!response.ok) throw await refusal(response);
  const width = numberOf(response, "X-Depth-Width");
  const height = numberOf(response, "X-Depth-Height");
  const scale = numberOf(response, "X-Depth-Scale");
  const values = format === "float16" ? halves(await response.arrayBuffer(), scale) : await steps(await response.arrayBuffer(), scale);
  if (values.length !== width * height) throw new Error(`the answer has ${values.length} values; expected ${width} x ${height}`);
  return {
    values,
    width,
    height,
    unit: text(response, "X-Depth-Unit") === "metre" ? "metre" : "relative",
    minimum: numberOf(response, "X-Depth-Min"),
    maximum: numberOf(response, "X-Depth-Max"),
    model: `${text(response, "X-Depth-Model")} ${text(response, "X-Depth-Model-Version")}`,
    requestId: text(response, "X-Request-Id"),
  };
}

/**
 * Depth at a pixel of the photograph.
 * @param {DepthMap} map
 * @param {number} x from the left, in pixels
 * @param {number} y from the top, in pixels
 */
export function depthAt({ values, width, height }, x, y) {
  if (x < 0 || y < 0 || x >= width || y >= height) throw new RangeError(`${x}, ${y} lies outside ${width} x ${height} pixels`);
  return /** @type {number} */ (values[Math.floor(y) * width + Math.floor(x)]);
}

/** @param {Response} response @returns {Promise<DepthError>} */
async function refusal(response) {
  const retryAfterS = Number(response.headers.get("Retry-After")) || null;
  /** @type {{error?: {code: string, message: string}}} */
  const body = await response.json().catch(() => ({}));
  return new DepthError(body.error?.code ?? "unknown", body.error?.message ?? response.statusText, response.status, retryAfterS);
}

/** @param {Response} response @param {string} name */
function text(response, name) {
  const value = response.headers.get(name);
  if (value === null) throw new Error(`the answer has no ${name}; does DEPTH_CORS_ORIGINS name this page's origin?`);
  return value;
}

/** @param {Response} response @param {string} name */
function numberOf(response, name) {
  const value = Number(text(response, name));
  if (!Number.isFinite(value)) throw new Error(`${name} is ${text(response, name)}; expected a number`);
  return value;
}

/** Little-endian float16, as numbers. @param {ArrayBuffer} buffer @param {number} scale */
function halves(buffer, scale) {
  const view = new DataView(buffer);
  return Float32Array.from({ length: buffer.byteLength / 2 }, (_, index) => scale * half(view.getUint16(2 * index, true)));
}

/** @param {number} bits of one float16; depth is never negative */
function half(bits) {
  const exponent = bits >> 10;
  return exponent === 0 ? (bits & 1023) * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
}

/**
 * The steps of a 16-bit grey PNG, as numbers. A canvas would keep 8 bits of the 16, so the file is read here:
 * its pixels are deflated, and each row is either plain or the difference to the one above it.
 * @param {ArrayBuffer} buffer
 * @param {number} scale
 */
async function steps(buffer, scale) {
  const view = new DataView(buffer);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (view.getUint16(24) !== 0x1000) throw new Error("the PNG is not grey with 16 bits");
  const parts = [];
  for (let at = 8; at < buffer.byteLength; at += view.getUint32(at) + 12) {
    if (view.getUint32(at + 4) === 0x49444154) parts.push(new Uint8Array(buffer, at + 8, view.getUint32(at)));
  }
  const inflated = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(inflated).arrayBuffer());
  const stride = 2 * width + 1;
  const values = new Float32Array(width * height);
  for (let row = 0; row < height; row += 1) {
    const filter = rows[row * stride];
    if (filter !== 0 && filter !== 2) throw new Error(`row ${row} of the PNG has filter ${filter}; the service writes 0 and 2`);
    for (let byte = 1; byte < stride && filter === 2 && row; byte += 1) {
      const index = row * stride + byte;
      rows[index] = /** @type {number} */ (rows[index]) + /** @type {number} */ (rows[index - stride]);
    }
    for (let column = 0; column < width; column += 1) {
      const index = row * stride + 1 + 2 * column;
      values[row * width + column] = scale * (256 * /** @type {number} */ (rows[index]) + /** @type {number} */ (rows[index + 1]));
    }
  }
  return values;
}
