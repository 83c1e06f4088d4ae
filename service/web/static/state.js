// What the page remembers, and how its parts find each other's elements. Knows the page; knows no server.

import { Histogram } from "./histogram.js";
import { Stage } from "./stage.js";

/** @typedef {import("./depth.js").DepthMap} DepthMap */
/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {import("./stage.js").Place} Place */

/** @param {string} id */
export const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} id */
export const input = (id) => /** @type {HTMLInputElement} */ ($(id));

export const state = {
  /** @type {Picture | null} */ picture: null,
  /** @type {DepthMap | null} */ map: null,
  /** @type {import("./colour.js").Range} */ range: [1, 10],
  /** @type {import("./panel.js").Format} */ format: "png16",
  /** @type {Place[]} */ kept: [],
  /** @type {AbortController | null} */ asking: null,
  /** @type {{live: Live, stream: MediaStream, frames: number, began: number} | null} */ live: null,
  /** @type {import("./cloud.js").Cloud | null} */ cloud: null,
  /** @type {import("./depth.js").Model | null} */ model: null,
  /** Of the picture. @type {import("./metres.js").Known} */ known: { lens: null, height: null, point: null, notice: "" },
  /** As far as one was given; what is being typed is none yet. */ key: "",
  colours: "turbo",
  view: "over",
  isGone: false,
};

export const stage = new Stage();
export const histogram = new Histogram(/** @type {HTMLCanvasElement} */ ($("histogram")));

export const key = () => state.key;
/** @returns {Record<string, string>} */
export const query = () => (input("model").value ? { model: input("model").value } : {});
export const fov = () => Number(input("fov").value);

/** Says that the service is there, and what runs it. */
export function ready() {
  const { model } = state;
  if (!model) say("gone", "No model is loaded");
  else if (model.state !== "ready") say("busy", `${model.name} is ${model.state}`);
  else say("ready", `Ready, on ${model.backend}`);
}

/** Says in the page's head how things stand. @param {string} mood @param {string} text */
export function say(mood, text) {
  $("service").dataset["state"] = mood;
  if ($("status").textContent !== text) $("status").textContent = text;
}
