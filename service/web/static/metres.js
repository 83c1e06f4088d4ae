// What a person knows of the picture (its lens, the camera's height, a distance), and what its metres rest on.
// Knows the page; knows no server.

import { distance, significant } from "./numbers.js";
import { $, input, stage, state } from "./state.js";

/** @typedef {import("./depth.js").DepthMap} DepthMap */
/** @typedef {import("./stage.js").Place} Place */
/** @typedef {"exif" | "sample" | "given"} From */
/**
 * @typedef {object} Known
 * @property {{degrees: number, from: From} | null} lens horizontal field of view
 * @property {number | null} height of the camera above the ground, in metres
 * @property {{at: Place, metres: number} | null} point whose distance is known
 * @property {string} notice why a lens that the photograph names is not taken
 */

/** Of a phone's main camera, about: what a cloud is drawn with where no lens is known. */
const USUAL_FOV = 70;
/** @type {Record<From, string>} */
const FROM = { exif: ", from its EXIF data", sample: ", about: the sample's", given: ", as you gave it" };

const degrees = (/** @type {number} */ radians) => (radians * 180) / Math.PI;
/** @returns {Known} */
export const nothing = () => ({ lens: null, height: null, point: null, notice: "" });

/** What is known, as options for a picture of this size.
 * @param {{width: number, height: number}} size
 * @returns {Record<string, string>}
 */
export function knownQuery({ width, height }) {
  const { lens, height: metres, point } = state.known;
  return {
    ...(lens && { fov_deg: String(lens.degrees) }),
    ...(metres && { camera_height_m: String(metres) }),
    ...(point && {
      known_x_px: (point.at.x * width).toFixed(1),
      known_y_px: (point.at.y * height).toFixed(1),
      known_distance_m: String(point.metres),
    }),
  };
}

/** Shows what is known in the fields that it is typed into. */
export function showKnown() {
  const { lens, height, point } = state.known;
  input("lens").value = lens ? significant(lens.degrees) : "";
  input("height").value = height ? String(height) : "";
  input("truth").value = point ? String(point.metres) : "";
  input("fov").value = String(Math.round(lens?.degrees ?? USUAL_FOV));
  $("fov-value").textContent = `${input("fov").value}°`;
  $("fov-label").hidden = state.view !== "cloud" || lens !== null;
  $("forget").hidden = !(height || point || lens?.from === "given");
}

/** Takes what was typed, or says that it is no such number.
 * @returns {Known | null}
 */
export function typedKnown() {
  const { lens, notice } = state.known;
  const typed = Object.fromEntries(["lens", "height", "truth"].map((id) => [id, Number(input(id).value)]));
  const bounds = { lens: [1, 179], height: [0.01, 1000], truth: [0.01, 10_000] };
  let makesSense = true;
  for (const [id, [least, most]] of Object.entries(bounds)) {
    const value = typed[id] ?? 0;
    const isFine = !input(id).value || (value >= Number(least) && value <= Number(most));
    $(id).setAttribute("aria-invalid", String(!isFine));
    makesSense &&= isFine;
  }
  if (!makesSense) return null;
  const isSame = lens && input("lens").value === significant(lens.degrees);
  const at = state.kept.at(-1) ?? state.known.point?.at ?? stage.cursor;
  return {
    lens: isSame ? lens : typed["lens"] ? { degrees: typed["lens"], from: "given" } : null,
    height: typed["height"] || null,
    point: typed["truth"] && at ? { at, metres: typed["truth"] } : null,
    notice,
  };
}

/** Says what a map's metres rest on, and for which lens they hold. @param {DepthMap} map */
export function showBasis(map) {
  const { lens, notice } = state.known;
  const across = map.lens && `${significant(degrees(2 * Math.atan(map.width / 2 / map.lens.fx)))}°`;
  const down = map.fyPerHeight && `${significant(degrees(2 * Math.atan(0.5 / map.fyPerHeight)))}°`;
  const sure = map.uncertainty ? `, to ${significant(100 * map.uncertainty)} %` : "";
  /** @type {Record<string, string>} */
  const words = {
    none: "Relative: right up to one unknown factor. A distance that you know makes metres of it.",
    checkpoint: down
      ? `As through the lens of training, ${down} from top to bottom. Give this picture's own field of view for its own metres.`
      : "As the checkpoint has them; it notes no lens.",
    "checkpoint+lens": `For a lens of ${across} across, ${down} from top to bottom${lens ? FROM[lens.from] : ""}.`,
    exif: `For a lens of ${across} across, ${down} from top to bottom${FROM.exif}.`,
    "camera-height": `By the camera's height of ${distance(state.known.height ?? 0, "metre")}${sure}.`,
    "known-distance": `By the distance that you gave${sure}.`,
  };
  $("basis").textContent = [words[map.scaleSource] ?? map.scaleSource, map.notice || notice].filter(Boolean).join(" ");
  $("basis").dataset["source"] = map.scaleSource;
}

/** Which distance is asked for: that of the point that was kept last. */
export function showTruth() {
  const at = state.kept.at(-1);
  input("truth").disabled = !at && !state.known.point;
  $("truth-label").textContent = at ? "The point kept last is really" : state.known.point ? "The known point is really" : "Click a point whose distance you know";
}
