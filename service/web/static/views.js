// The picture's depth as it is looked at: over the photograph, beside it, or as a cloud to turn. Knows no server.

import { colours } from "./colour.js";
import { showBasis, showKnown } from "./metres.js";
import { distance } from "./numbers.js";
import { allowDownloads, showCall, showRange, showTimes } from "./panel.js";
import { drawn } from "./pictures.js";
import { read } from "./reading.js";
import { $, fov, histogram, input, key, stage, state } from "./state.js";
import { isCalm } from "./stage.js";
import { asked } from "./taking.js";

/** @param {boolean} isNew whether it is another picture than before, rather than the same or the next frame */
export function show(isNew) {
  const { map } = state;
  if (!map) return;
  const { width, height, unit, model } = map;
  $("facts").textContent = `${width} × ${height} pixels · ${distance(map.minimum, unit)} to ${distance(map.maximum, unit)} · ${model}` + (unit === "metre" ? "" : " · relative: right up to one unknown factor");
  showTimes(map);
  showBasis(map);
  allowDownloads(map);
  showCall(asked(), state.format, Boolean(key()));
  input("keep").disabled = !stage.cursor;
  repaint(isNew);
}

/** @param {boolean} [isNew] */
export function repaint(isNew = false) {
  const { map } = state;
  if (!map) return;
  stage.showDepth(colours(map, state.colours, state.range));
  showRange(state.range, map.unit);
  Object.assign(histogram, { range: state.range, colours: state.colours });
  histogram.show(map);
  if (state.view === "cloud") showCloud(isNew);
  read(false);
}

/** @param {boolean} isNew */
export async function showCloud(isNew) {
  const { map, picture } = state;
  if (!map || !picture) return;
  try {
    const { Cloud } = await import("./cloud.js");
    state.cloud ??= new Cloud($("cloud"), isCalm());
  } catch (error) {
    console.error(error);
    $("cloud").replaceChildren(Object.assign(document.createElement("p"), { className: "failed", textContent: "This browser draws no 3-D here. The point cloud can still be taken away as a PLY file." }));
    return;
  }
  const canvas = drawn(await createImageBitmap(picture.canvas, { resizeWidth: map.width, resizeHeight: map.height }), map.width, map.height, Infinity);
  const paint = $("cloud-colours").ariaPressed === "true" ? colours(map, state.colours, state.range) : /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).getImageData(0, 0, map.width, map.height);
  state.cloud.show(map, paint, { fov: state.known.lens?.degrees ?? fov(), far: state.range[1], cell: Math.max(1, Math.round(map.width / (state.model?.width ?? map.width))), isNew });
  $("cloud").dataset["points"] = String(state.cloud.count);
  $("cloud-count").textContent = `${state.cloud.count.toLocaleString("en")} points`;
}

/** @param {string} view */
export function look(view) {
  state.view = view;
  for (const tab of tabs()) {
    const isChosen = tab.dataset["view"] === view;
    tab.ariaSelected = String(isChosen);
    tab.tabIndex = isChosen ? 0 : -1;
  }
  $("stage").hidden = view === "cloud";
  $("cloud").hidden = view !== "cloud";
  $("split-label").hidden = view !== "over";
  showKnown();
  stage.look(view);
  if (view === "cloud") showCloud(true);
  if (matchMedia("(max-width: 40rem)").matches) $("viewer").scrollIntoView({ block: "nearest", behavior: isCalm() ? "auto" : "smooth" });
}

export const tabs = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[role=tab]")]);

/** @param {number} percent */
export function split(percent) {
  stage.splitAt(percent);
  input("split").value = String(percent);
}

/** @param {import("./colour.js").Range} range */
export function setRange(range) {
  state.range = range;
  repaint();
}
