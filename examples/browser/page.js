// The smallest page there is: choose a photograph, click on it, read how far that is.

import { DepthError, depthAt, depthOf } from "./depth.js";

const service = /** @type {HTMLInputElement} */ (document.getElementById("service"));
const photograph = /** @type {HTMLInputElement} */ (document.getElementById("photograph"));
const picture = /** @type {HTMLImageElement} */ (document.getElementById("picture"));
const answer = /** @type {HTMLOutputElement} */ (document.getElementById("answer"));

/** @type {import("./depth.js").DepthMap | null} */
let map = null;

photograph.addEventListener("change", async () => {
  const file = photograph.files?.[0];
  if (!file) return;
  picture.src = URL.createObjectURL(file);
  picture.hidden = false;
  answer.value = "Measuring…";
  try {
    map = await depthOf(service.value, file);
    answer.value = `${map.width} × ${map.height} pixels, ${map.minimum.toFixed(1)} to ${map.maximum.toFixed(1)} ${map.unit}. Click on one.`;
  } catch (error) {
    map = null;
    const said = error instanceof Error ? error.message : String(error);
    answer.value = error instanceof DepthError && error.retryAfterS ? `${said}; come again in ${error.retryAfterS} s` : said;
  }
});

picture.addEventListener("click", ({ offsetX, offsetY }) => {
  if (!map) return;
  const distance = depthAt(map, (offsetX / picture.clientWidth) * map.width, (offsetY / picture.clientHeight) * map.height);
  answer.value = `${distance.toFixed(2)} ${map.unit}`;
});
