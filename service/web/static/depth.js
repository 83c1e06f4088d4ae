// Asks the service for depth, and reads its answers. Knows HTTP; knows no page.

export class DepthError extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const WORDS = {
  0: "The service cannot be reached. Is it still running?",
  401: "This service needs an API key.",
  413: "This picture is too large for the service.",
  429: "The service is busy.",
  503: "The service is not ready yet.",
  504: "The service took too long to answer.",
};

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new DepthError(WORDS[0], 0);
  }
  if (response.ok) return response;
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  let text = "";
  try {
    text = (await response.json()).error.message;
  } catch {
    text = response.statusText;
  }
  const opening = WORDS[response.status] ?? "The service said no.";
  const wait = retryAfter ? ` Try again in ${retryAfter} s.` : "";
  throw new DepthError(`${opening}${wait} (${text})`, response.status, retryAfter);
}

function headers(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** @returns {Promise<Array<object>>} every model that can be asked for. */
export async function models(key) {
  const response = await ask("/v1/models", { headers: headers(key) });
  return (await response.json()).models;
}

/** Sends an image and returns `{blob, headers}` in the format asked for. */
export async function request(image, query, { key, signal } = {}) {
  const parameters = new URLSearchParams(query);
  const response = await ask(`/v1/depth?${parameters}`, {
    method: "POST", body: image, signal, headers: { ...headers(key), "Content-Type": image.type || "application/octet-stream" },
  });
  return response;
}

/** Depth of an image as numbers.
 * @returns {Promise<{values: Float32Array, width: number, height: number, unit: string, minimum: number, maximum: number, model: string, timings: string}>}
 */
export async function depth(image, query, options) {
  const response = await request(image, { ...query, format: "float32" }, options);
  const values = new Float32Array(await response.arrayBuffer());
  const header = (name) => response.headers.get(name);
  return {
    values,
    width: Number(header("X-Depth-Width")),
    height: Number(header("X-Depth-Height")),
    unit: header("X-Depth-Unit"),
    scaleSource: header("X-Depth-Scale-Source"),
    minimum: Number(header("X-Depth-Min")),
    maximum: Number(header("X-Depth-Max")),
    model: `${header("X-Depth-Model")} ${header("X-Depth-Model-Version")}`,
    timings: header("Server-Timing") ?? "",
  };
}
