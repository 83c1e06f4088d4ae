// The page: wires its parts together, and takes pictures to the service.

import { ownRange } from "./colour.js";
import { DepthError, depth, isReady, lensOf, models } from "./depth.js";
import { knownQuery, nothing, showKnown, typedKnown } from "./metres.js";
import { complain, complaint, hush } from "./notice.js";
import { offerDownloads, offerMaps, typedRange } from "./panel.js";
import { opened } from "./pictures.js";
import { clear, keep, read } from "./reading.js";
import { SAMPLES, markSample, offerSamples, sampleBlob } from "./samples.js";
import { $, fov, histogram, input, key, query, ready, say, stage, state } from "./state.js";
import { copyCall, take } from "./taking.js";
import { look, repaint, setRange, show, showCloud, split, tabs } from "./views.js";
import { endLive, shoot, snap, startLive } from "./webcam.js";

/** @typedef {import("./pictures.js").Picture} Picture */

const HEARTBEAT_MS = 5000;
/** In most photographs of places there is ground here. */
const FIRST_LOOK = { x: 0.68, y: 0.78 };

// The service

async function listModels() {
  try {
    const found = (await models(key())).filter((model) => model.current);
    const chosen = input("model").value;
    $("model").replaceChildren(...found.map((model) => {
      const isChosen = chosen ? model.name === chosen : model.default;
      const [licence = ""] = model.licence.split(/[(:;]/);
      const words = [model.name, model.unit === "metre" ? "metres" : "relative", licence.trim()];
      const option = new Option(words.filter(Boolean).join(", "), model.name, model.default, isChosen);
      option.disabled = model.state !== "ready";
      const licensed = model.licence && `; licence of the weights: ${model.licence}`;
      option.title = model.problem ?? `version ${model.version}, sees ${model.width} × ${model.height} pixels${licensed}`;
      return option;
    }));
    state.model = found.find((model) => model.default) ?? found[0] ?? null;
    state.isGone = false;
    if (complaint() === 401 || complaint() === 0) hush();
    ready();
    return state.model?.state === "ready";
  } catch (error) {
    lost(error);
    return false;
  }
}

/** @param {unknown} error */
function lost(error) {
  const status = error instanceof DepthError ? error.status : -1;
  if (status === 0) state.isGone = true;
  say(status === 503 ? "busy" : "gone", status === 401 ? "Locked" : status === 503 ? "Loading its models…" : "Out of reach");
  if (status !== 503) complain(error, status === 0 ? () => listModels() : null);
}

/** @param {unknown} error @param {() => void} retry */
function fail(error, retry) {
  if (error instanceof DepthError && error.status === 0) {
    state.isGone = true;
    say("gone", "Out of reach");
  }
  complain(error, retry);
}

/** Looks now and then whether the service is there, so that nobody has to reload the page. */
async function listen() {
  if (document.visibilityState === "hidden" || state.live) return;
  try {
    await isReady();
    if (state.isGone || (!state.model && complaint() === null)) await begin();
  } catch (error) {
    if (!(error instanceof DepthError)) throw error;
    if (error.status === 0 && !state.isGone) lost(error);
    if (error.status === 503) say("busy", "Not ready at the moment");
  }
}

/** Shows a picture at once, to those who have not chosen one yet. */
async function begin() {
  const wasReady = await listModels();
  const [sample] = SAMPLES;
  if (wasReady && sample && !state.picture) await openSample(sample);
  else if (wasReady && state.picture && !state.map && !state.asking) await measure(state.picture);
}

// From picture to depth

/** @param {Blob} blob @param {string} name @param {number | null} [lens] that a sample is known to have, in degrees */
async function open(blob, name, lens = null) {
  hush();
  endLive();
  try {
    state.picture = await opened(blob, name);
    markSample(null);
    state.known = { ...nothing(), lens: lens === null ? null : { degrees: lens, from: "sample" } };
    await measure(state.picture);
  } catch (error) {
    complain(error);
  }
}

/** @param {typeof SAMPLES[number]} sample */
async function openSample(sample) {
  try {
    await open(await sampleBlob(sample.file), sample.file, sample.fov);
    markSample(sample.file);
  } catch (error) {
    fail(error, () => openSample(sample));
  }
}

/** @param {Picture} picture @param {boolean} [isNew] whether it is another one, rather than the same with more known of it */
async function measure(picture, isNew = true) {
  hush();
  state.asking?.abort();
  const asking = (state.asking = new AbortController());
  if (isNew) {
    state.map = null;
    clear();
    stage.showPhoto(picture.canvas);
  }
  showKnown();
  document.body.dataset["state"] = "measuring";
  document.body.setAttribute("aria-busy", "true");
  say("busy", "Measuring…");
  try {
    const options = { key: key(), signal: asking.signal };
    if (isNew && picture.hasExif && !state.known.lens) await readLens(picture, options);
    const map = await depth(picture.small, { ...query(), ...knownQuery(picture.canvas) }, options);
    if (state.asking !== asking) return;
    state.map = map;
    state.range = ownRange(map.values);
    document.body.dataset["state"] = "shown";
    // A first distance to be seen, so that everybody knows that there are more.
    if (isNew) stage.cursor = FIRST_LOOK;
    showKnown();
    show(isNew);
    if (isNew) stage.reveal();
    ready();
  } catch (error) {
    if (state.asking !== asking) return;
    document.body.dataset["state"] = state.map ? "shown" : "failed";
    ready();
    fail(error, () => measure(picture, isNew));
  } finally {
    if (state.asking === asking) {
      state.asking = null;
      document.body.removeAttribute("aria-busy");
    }
  }
}

/** @param {Picture} picture @param {{key: string, signal: AbortSignal}} options */
async function readLens(picture, options) {
  const { degrees, notice } = await lensOf(picture.original, query(), options);
  state.known = { ...state.known, lens: degrees === null ? null : { degrees, from: "exif" }, notice };
}

/** Measures again with what was typed; where the service refuses that, what was known before stays. */
async function know(/** @type {import("./metres.js").Known | null} */ known) {
  if (!known) {
    complain(new DepthError("This is no such number", { text: "A field of view goes from 1 to 179 degrees; heights and distances are above zero." }));
    return;
  }
  const before = state.known;
  state.known = known;
  if (state.live) {
    endLive();
    startLive();
  } else if (state.picture) {
    await measure(state.picture, false);
    if (complaint() !== null) state.known = before;
  }
}

// The page itself

const THEMES = { auto: "light dark", light: "light", dark: "dark" };

/** @param {keyof typeof THEMES} theme */
function dress(theme) {
  document.documentElement.style.colorScheme = THEMES[theme];
  $("theme").textContent = `Theme: ${theme}`;
  $("theme").dataset["theme"] = theme;
  histogram.draw();
}

function wireSources() {
  /** @param {FileList | undefined | null} files */
  const accept = (files) => files?.[0] && open(files[0], files[0].name);
  $("choose").addEventListener("click", () => $("file").click());
  $("photograph").addEventListener("click", snap);
  $("snap").addEventListener("click", () => shoot(open));
  $("unsnap").addEventListener("click", () => /** @type {HTMLDialogElement} */ ($("shutter")).close());
  $("webcam").addEventListener("click", () => (state.live ? endLive() : startLive()));
  for (const id of ["file", "capture"]) {
    $(id).addEventListener("change", () => {
      accept(input(id).files);
      input(id).value = "";
    });
  }
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("veil").hidden = false;
  });
  addEventListener("dragleave", (event) => ($("veil").hidden = !event.relatedTarget));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("veil").hidden = true;
    accept(event.dataTransfer?.files);
  });
  addEventListener("paste", (event) => accept(event.clipboardData?.files));
  offerSamples($("samples"), openSample);
}

function wireView() {
  for (const tab of tabs()) {
    tab.addEventListener("click", () => look(tab.dataset["view"] ?? "over"));
    tab.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move) return;
      const next = /** @type {HTMLElement} */ (tabs().at((tabs().indexOf(tab) + move) % tabs().length));
      next.focus();
      next.click();
    });
  }
  $("split").addEventListener("input", () => split(Number(input("split").value)));
  $("fov").addEventListener("input", () => ($("fov-value").textContent = `${fov()}°`));
  $("fov").addEventListener("change", () => state.view === "cloud" && showCloud(true));
  $("cloud-reset").addEventListener("click", () => state.cloud?.start());
  $("cloud-colours").addEventListener("click", () => {
    $("cloud-colours").ariaPressed = String($("cloud-colours").ariaPressed !== "true");
    showCloud(false);
  });
  $("keep").addEventListener("click", keep);
  $("clear").addEventListener("click", () => (clear(), read(false)));
}

function wirePanel() {
  offerMaps((name) => {
    state.colours = name;
    repaint();
  });
  offerDownloads(take);
  for (const id of ["near", "far"]) {
    $(id).addEventListener("change", () => {
      const range = typedRange();
      if (range) setRange(range);
      else complain(new DepthError("Near must be above zero, and below far"));
    });
  }
  $("range").addEventListener("click", () => state.map && setRange(ownRange(state.map.values)));
  for (const id of ["lens", "height", "truth"]) $(id).addEventListener("change", () => know(typedKnown()));
  $("forget").addEventListener("click", () => {
    const { lens } = state.known;
    know({ ...nothing(), lens: lens?.from === "given" ? null : lens });
  });
  $("copy").addEventListener("click", copyCall);
  $("model").addEventListener("change", () => (state.live ? (endLive(), startLive()) : state.picture && measure(state.picture)));
  $("dismiss").addEventListener("click", hush);
  $("unlock").addEventListener("submit", (event) => {
    event.preventDefault();
    state.key = input("key").value.trim();
    sessionStorage.setItem("key", state.key);
    begin();
  });
  $("theme").addEventListener("click", () => {
    const themes = /** @type {Array<keyof typeof THEMES>} */ (Object.keys(THEMES));
    const theme = themes[(themes.indexOf(/** @type {keyof typeof THEMES} */ ($("theme").dataset["theme"])) + 1) % themes.length] ?? "auto";
    localStorage.setItem("theme", theme);
    dress(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => histogram.draw());
}

Object.assign(stage, { onPoint: read, onKeep: keep, onClear: clear, onSplit: split });
histogram.onRange = setRange;
wireSources();
wireView();
wirePanel();
const theme = localStorage.getItem("theme");
dress(theme === "light" || theme === "dark" ? theme : "auto");
state.key = sessionStorage.getItem("key") ?? "";
begin();
setInterval(listen, HEARTBEAT_MS);
