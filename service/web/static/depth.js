// Asks the service for depth, and reads its answers. Knows HTTP; knows no page.

import { floatsOf } from "./numbers.js";

/**
 * @typedef {object} DepthMap
 * @property {Float32Array} values row by row, in `unit`; 0 where there is no depth
 * @property {number} width
 * @property {number} height
 * @property {string} unit `metre` or `relative`
 * @property {string} scaleSource what the unit rests on
 * @property {{fx: number} | null} lens focal length in pixels of the map, where one is known
 * @property {number | null} fyPerHeight the lens for which metres hold, as focal length over height
 * @property {number | null} uncertainty one standard error of the metres, as a share
 * @property {string} notice what is odd about the photograph
 * @property {number} minimum
 * @property {number} maximum
 * @property {string} model name and version
 * @property {Array<[string, number]>} phases what the service did, and for how many milliseconds
 * @property {number} roundTripMs until the answer was here whole
 */

/** What went wrong, in words for people. */
export class DepthError extends Error {
  /**
   * @param {string} title
   * @param {{text?: string, detail?: string, status?: number, retryAfterS?: number | null}} [more]
   */
  constructor(title, { text = "", detail = "", status = -1, retryAfterS = null } = {}) {
    super(title);
    this.text = text;
    this.detail = detail;
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** Title, and what to do, by the status of the answer; 0: there was none. @type {Record<number, [string, string]>} */
const WORDS = {
  0: ["The service does not answer", "Is it still running, and is this device still online? This page goes on as soon as it is back."],
  401: ["This service asks for an API key", "Whoever runs it can give you one. It is kept in this tab and nowhere else."],
  404: ["There is no such model any more", "Choose another one at the top of the page."],
  408: ["The picture came too slowly", "The connection may be weak; try again, or try a smaller picture."],
  413: ["This picture is too large for the service", "Choose a smaller one, or ask whoever runs the service to raise its limit."],
  415: ["The service does not read this kind of file", "JPEG, PNG, WebP and AVIF work."],
  422: ["The service cannot read this picture", "JPEG, PNG, WebP and AVIF work; the file may be damaged."],
  429: ["The service is busy", "More pictures came than it can measure at once."],
  500: ["The network gave no depth", "Another picture may work. If none does, the service's log says why."],
  503: ["The service is not ready yet", "It is loading its models."],
  504: ["The answer took too long", "The service may be very busy; try again in a moment."],
};

/**
 * Says an error of the service in words for people.
 * @param {number} status
 * @param {string} detail
 * @param {number | null} [retryAfterS]
 */
export function refusal(status, detail, retryAfterS = null) {
  const [title, text] = WORDS[status] ?? ["The service refused this", "The reason stands below."];
  return new DepthError(title, { text, detail, status, retryAfterS });
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function ask(path, options) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), options);
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") throw error;
    throw refusal(0, "");
  }
  if (response.ok) return response;
  let detail = response.statusText;
  try {
    const { message, request_id: id } = (await response.json()).error;
    detail = id ? `${message} (request ${id})` : message;
  } catch { /* a proxy's own page, perhaps: the status says enough */ }
  throw refusal(response.status, detail, Number(response.headers.get("Retry-After")) || null);
}

/** @param {string} key @returns {Record<string, string>} */
const headers = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

/** Whether requests should be sent. */
export async function isReady() {
  await ask("readyz", { cache: "no-store" });
}

/**
 * @typedef {{name: string, version: string, state: string, default: boolean, current: boolean, unit: string, width: number, height: number, backend: string, affine: boolean, licence: string, problem: string | null}} Model
 * @param {string} key
 * @returns {Promise<Model[]>} every model that can be asked for
 */
export async function models(key) {
  const response = await ask("v1/models", { headers: headers(key), cache: "no-store" });
  return (await response.json()).models;
}

/**
 * Sends a picture and returns the answer as it came.
 * @param {Blob} picture
 * @param {Record<string, string>} query
 * @param {{key: string, signal?: AbortSignal}} options
 */
export function request(picture, query, { key, signal }) {
  return ask(`v1/depth?${new URLSearchParams(query)}`, {
    method: "POST", body: picture, signal: signal ?? null, headers: { ...headers(key), "Content-Type": picture.type || "application/octet-stream" },
  });
}

/**
 * Asks for depth as numbers.
 * @param {Blob} picture
 * @param {Record<string, string>} query
 * @param {{key: string, signal?: AbortSignal}} options
 * @returns {Promise<DepthMap>}
 */
export async function depth(picture, query, options) {
  const began = performance.now();
  // Half of float32's bytes; its steps are finer than any network is right.
  const response = await request(picture, { ...query, format: "float16" }, options);
  const values = floatsOf(await response.arrayBuffer());
  /** @param {string} name */
  const header = (name) => response.headers.get(name) ?? "";
  const fx = focal(response);
  return {
    values,
    width: Number(header("X-Depth-Width")),
    height: Number(header("X-Depth-Height")),
    unit: header("X-Depth-Unit"),
    scaleSource: header("X-Depth-Scale-Source"),
    lens: fx ? { fx } : null,
    fyPerHeight: Number(header("X-Depth-Fy-Per-Height")) || null,
    uncertainty: Number(header("X-Depth-Uncertainty")) || null,
    notice: header("X-Depth-Notice"),
    minimum: Number(header("X-Depth-Min")),
    maximum: Number(header("X-Depth-Max")),
    model: `${header("X-Depth-Model")} ${header("X-Depth-Model-Version")}`,
    phases: phasesOf(header("Server-Timing")),
    roundTripMs: performance.now() - began,
  };
}

/** In pixels of the map, across; null where no lens is known. @param {Response} response */
const focal = (response) => Number(response.headers.get("X-Depth-Intrinsics")?.split(" ")[0]) || null;

/**
 * Asks which lens a photograph's file names, in degrees across: the page's own, smaller copy names none.
 * @param {Blob} original
 * @param {Record<string, string>} query
 * @param {{key: string, signal?: AbortSignal}} options
 * @returns {Promise<{degrees: number | null, notice: string}>}
 */
export async function lensOf(original, query, { key, signal }) {
  const response = await ask(`v1/distances?${new URLSearchParams({ ...query, size: "model", points: "[[0,0]]" })}`, {
    method: "POST", body: original, signal: signal ?? null, headers: { ...headers(key), "Content-Type": original.type || "application/octet-stream" },
  });
  const fx = focal(response);
  const width = Number(response.headers.get("X-Depth-Width"));
  return { degrees: fx ? (360 / Math.PI) * Math.atan(width / 2 / fx) : null, notice: response.headers.get("X-Depth-Notice") ?? "" };
}

/** @param {string} timing a Server-Timing header @returns {Array<[string, number]>} */
export function phasesOf(timing) {
  return [...timing.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, ms]) => [String(name), Number(ms)]);
}
