// What can be taken away: files in every format, and the call that makes them.

import { request } from "./depth.js";
import { complain, hush } from "./notice.js";
import { FORMATS } from "./formats.js";
import { knownQuery } from "./metres.js";
import { optionsOf, showCall } from "./panel.js";
import { $, fov, key, query, say, state } from "./state.js";

/** More than this no viewer opens, nor does the service write it. */
const MOST_CLOUD_PIXELS = 8_388_608;

/** The query of the last format that was asked for.
 * @param {{width: number, height: number}} [size] of the picture that is sent
 */
export const asked = (size = state.picture?.size ?? { width: 1, height: 1 }) => ({
  ...query(), ...optionsOf(state.format, { colours: state.colours, range: state.range, fov: fov() }), ...knownQuery(size),
});

/** @param {import("./panel.js").Format} format */
export async function take(format) {
  const { picture } = state;
  if (!picture) return;
  hush();
  state.format = format;
  showCall(asked(), format, Boolean(key()));
  const button = $("downloads").querySelector(`[data-format=${format}]`);
  button?.setAttribute("aria-busy", "true");
  try {
    const isWhole = format !== "ply" || picture.size.width * picture.size.height <= MOST_CLOUD_PIXELS;
    const response = await request(isWhole ? picture.original : picture.small, asked(isWhole ? picture.size : picture.canvas), { key: key() });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${picture.name}${FORMATS[format]?.[2]}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    const scale = Number(response.headers.get("X-Depth-Scale"));
    const size = `${response.headers.get("X-Depth-Width")} × ${response.headers.get("X-Depth-Height")}`;
    say("ready", `Saved ${link.download}, ${size}${scale && scale !== 1 ? `: value × ${scale} = ${response.headers.get("X-Depth-Unit") === "metre" ? "metres" : "relative depth"}` : ""}`);
  } catch (error) {
    complain(error, () => take(format));
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

export async function copyCall() {
  try {
    await navigator.clipboard.writeText($("call").textContent ?? "");
    $("copy").textContent = "Copied";
    setTimeout(() => ($("copy").textContent = "Copy"), 1500);
  } catch {
    getSelection()?.selectAllChildren($("call"));
  }
}
