// What can be taken away: files in every format, and the call that makes them.

import { request } from "./depth.js";
import { complain, hush } from "./notice.js";
import { FORMATS, optionsOf, showCall } from "./panel.js";
import { $, fov, key, query, say, state } from "./state.js";

/** The query of the last format that was asked for. */
export const asked = () => ({ ...query(), ...optionsOf(state.format, { colours: state.colours, range: state.range, fov: fov() }) });

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
    // A cloud of all of a camera's pixels is more than any viewer opens.
    const response = await request(format === "ply" ? picture.small : picture.original, asked(), { key: key() });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${picture.name}.${FORMATS[format][2]}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    const scale = Number(response.headers.get("X-Depth-Scale"));
    say("ready", `Saved ${link.download}${scale && scale !== 1 ? `: value × ${scale} = ${response.headers.get("X-Depth-Unit") === "metre" ? "metres" : "relative depth"}` : ""}`);
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
