// Photographs and live video from a camera of this device.

import { ownRange } from "./colour.js";
import { Live } from "./live.js";
import { nothing, showKnown } from "./metres.js";
import { complain, hush } from "./notice.js";
import { camera, drawn, pictureOf, stop } from "./pictures.js";
import { clear } from "./reading.js";
import { markSample } from "./samples.js";
import { $, key, query, ready, say, stage, state } from "./state.js";
import { show } from "./views.js";

/** @typedef {import("./depth.js").DepthMap} DepthMap */
/** @typedef {import("./pictures.js").Picture} Picture */

/** Live colours follow slowly: such that jump with every frame cannot be read. */
const PULL = 0.1;

export async function snap() {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) {
    $("capture").click();
    return;
  }
  const dialog = /** @type {HTMLDialogElement} */ ($("shutter"));
  const video = /** @type {HTMLVideoElement} */ ($("preview"));
  hush();
  endLive();
  try {
    const stream = await camera();
    dialog.addEventListener("close", () => stop(stream), { once: true });
    video.srcObject = stream;
    dialog.showModal();
    await video.play();
  } catch (error) {
    dialog.close();
    complain(error, snap);
  }
}

/** @param {(blob: Blob, name: string) => Promise<void>} open takes the photograph */
export async function shoot(open) {
  const video = /** @type {HTMLVideoElement} */ ($("preview"));
  if (!video.videoWidth) return;
  const picture = await pictureOf(drawn(video, video.videoWidth, video.videoHeight, 1280), "photograph");
  /** @type {HTMLDialogElement} */ ($("shutter")).close();
  await open(picture.original, "photograph.jpg");
}

export async function startLive() {
  hush();
  try {
    const stream = await camera();
    const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    state.asking?.abort();
    state.asking = null;
    markSample(null);
    state.known = { ...nothing(), lens: state.known.lens?.from === "given" ? state.known.lens : null };
    showKnown();
    clear();
    const live = new Live(video, { query: { ...query(), ...lensQuery() }, key: key(), onFrame, onEnd: (error) => (endLive(), error && complain(error, startLive)) });
    state.live = { live, stream, frames: 0, began: performance.now() };
    $("webcam").ariaPressed = "true";
    /** @type {HTMLElement} */ ($("webcam").querySelector("span")).textContent = "Stop the webcam";
    say("live", "Live…");
  } catch (error) {
    complain(error, startLive);
  }
}

const lensQuery = () => (state.known.lens ? { fov_deg: String(state.known.lens.degrees) } : {});

/** @param {DepthMap} map @param {Picture} picture */
function onFrame(map, picture) {
  const { live } = state;
  if (!live) return;
  const [near, far] = ownRange(map.values);
  const pull = live.frames ? PULL : 1;
  state.range = [state.range[0] + pull * (near - state.range[0]), state.range[1] + pull * (far - state.range[1])];
  Object.assign(state, { map, picture });
  document.body.dataset["state"] = "shown";
  stage.showPhoto(picture.canvas);
  show(live.frames === 0);
  live.frames += 1;
  const rate = (1000 * live.frames) / (performance.now() - live.began);
  say("live", `Live, ${rate.toFixed(1)} frames a second`);
}

export function endLive() {
  const { live } = state;
  if (!live) return;
  state.live = null;
  live.live.end(null);
  stop(live.stream);
  $("webcam").ariaPressed = "false";
  /** @type {HTMLElement} */ ($("webcam").querySelector("span")).textContent = "Stream the webcam";
  ready();
}
