// Pictures from files, cameras and canvases. Knows the browser; knows no server.

import { DepthError } from "./depth.js";

/** The page looks at no more pixels than this along the longer side; downloads get the whole photograph. */
const LONGEST_SHOWN = 1280;
/** In which a file says what its camera was. */
const HEAD_BYTES = 262_144;
const SERVICE_READS = ["image/jpeg", "image/png", "image/webp", "image/avif"];

/**
 * @typedef {object} Picture
 * @property {Blob} original what downloads are made of, in a form that the service reads
 * @property {Blob} small what the page asks depth for
 * @property {HTMLCanvasElement} canvas the small one's pixels
 * @property {{width: number, height: number}} size of the original, upright
 * @property {boolean} hasExif whether its file may name its lens
 * @property {string} name without its ending
 */

/** @param {HTMLCanvasElement} canvas @param {string} type @returns {Promise<Blob>} */
function blobOf(canvas, type) {
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("the canvas gave no picture"))), type, 0.92));
}

/**
 * Draws a picture onto a canvas, no larger than asked.
 * @param {ImageBitmap | HTMLVideoElement} source
 * @param {number} width
 * @param {number} height
 * @param {number} longest
 */
export function drawn(source, width, height, longest) {
  const share = Math.min(1, longest / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * share));
  canvas.height = Math.max(1, Math.round(height * share));
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * Opens whatever a person gave.
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<Picture>}
 */
export async function opened(blob, name) {
  if (!blob.size) throw new DepthError("This file is empty", { text: "Choose another one." });
  const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
  if (!bitmap) {
    const isPhone = /hei[cf]$/i.test(name) || /hei[cf]/.test(blob.type);
    throw new DepthError(isPhone ? "This browser cannot open HEIC photographs" : "This file is not a picture", {
      text: isPhone ? "Save it as JPEG first; an iPhone does so under Settings, Camera, Formats, Most Compatible." : "JPEG, PNG, WebP and AVIF work.",
      detail: name,
    });
  }
  const canvas = drawn(bitmap, bitmap.width, bitmap.height, LONGEST_SHOWN);
  const small = await blobOf(canvas, "image/jpeg");
  const size = { width: bitmap.width, height: bitmap.height };
  const hasExif = SERVICE_READS.includes(blob.type) && /exif/i.test(new TextDecoder("latin1").decode(await blob.slice(0, HEAD_BYTES).arrayBuffer()));
  const original = SERVICE_READS.includes(blob.type) ? blob : await blobOf(drawn(bitmap, bitmap.width, bitmap.height, Infinity), "image/jpeg");
  bitmap.close();
  return { original, small, canvas, size, hasExif, name: name.replace(/\.[^.]*$/, "") || "photograph" };
}

/** A canvas as the picture that it shows. @param {HTMLCanvasElement} canvas @param {string} name @returns {Promise<Picture>} */
export async function pictureOf(canvas, name) {
  const small = await blobOf(canvas, "image/jpeg");
  return { original: small, small, canvas, size: { width: canvas.width, height: canvas.height }, hasExif: false, name };
}

/** Opens the camera, or says why it cannot. */
export async function camera() {
  if (!navigator.mediaDevices) {
    throw new DepthError("The browser gives this page no camera", { text: "Browsers do so only over https, or from localhost. Choose a photograph instead." });
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    const isRefused = name === "NotAllowedError";
    throw new DepthError(isRefused ? "The camera was not allowed" : "No camera was found", {
      text: isRefused ? "Allow it in the browser's address bar, then try again." : "Is one plugged in, and does no other program use it?",
      detail: name,
    });
  }
}

/** @param {MediaStream} stream */
export function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
