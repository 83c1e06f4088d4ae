// Pictures for those who have none at hand: photographs of free licence first, then drawn streets.

import { refusal } from "./depth.js";

/** Whose the photographs are: ATTRIBUTION beside them. Drawn ones are of docs/pictures/draw_samples.py. `fov`: the lens's, in degrees. */
export const SAMPLES = [
  { file: "junction.jpg", title: "Junction", text: "A photograph of a junction before houses", fov: 96 },
  { file: "mountains.jpg", title: "Mountains", text: "A photograph of a path in the mountains, which is no street", fov: null },
  { file: "crossing.jpg", title: "Crossing, drawn", text: "A drawn road with cars turning off", fov: 85 },
  { file: "city.jpg", title: "City, drawn", text: "A drawn row of parked cars under tall houses", fov: 76 },
];

/**
 * @param {HTMLElement} list
 * @param {(sample: typeof SAMPLES[number], button: HTMLButtonElement) => void} onChoice
 */
export function offerSamples(list, onChoice) {
  list.replaceChildren(...SAMPLES.map((sample) => {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const image = Object.assign(new Image(), { src: `static/samples/${sample.file}`, alt: sample.text, loading: "lazy" });
    const title = Object.assign(document.createElement("span"), { textContent: sample.title });
    title.ariaHidden = "true";
    button.append(image, title);
    button.addEventListener("click", () => onChoice(sample, button));
    item.append(button);
    return item;
  }));
}

/** @param {string} file */
export async function sampleBlob(file) {
  const response = await fetch(`static/samples/${file}`).catch(() => null);
  if (!response?.ok) throw refusal(response?.status ?? 0, "");
  return response.blob();
}

/** Shows which sample is looked at. @param {string | null} file */
export function markSample(file) {
  for (const button of /** @type {HTMLElement} */ (document.getElementById("samples")).querySelectorAll("button")) {
    button.setAttribute("aria-current", String(Boolean(file && button.querySelector("img")?.src.endsWith(file))));
  }
}
