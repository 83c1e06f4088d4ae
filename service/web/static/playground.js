// The page: from a picture to depth that can be looked at, read, turned and taken away.

import { distance, drawHistogram, ownRange, paint } from "./colour.js";
import { DepthError, depth, models, request } from "./depth.js";
import { MAPS } from "./maps.js";
import { drawStreet } from "./street.js";

const LONGEST_SHOWN = 1280; // pixels; the page looks at no more, downloads get the whole photograph
const DOWNLOADS = { png16: "PNG, 16 bits", npy: "NumPy", float32: "float32", float16: "float16", uint16_mm: "millimetres", png16_mm: "millimetres, PNG", jxl: "JPEG XL", json: "JSON", color: "colours", ply: "point cloud" };
const ENDINGS = { png16: "png", npy: "npy", float32: "f32", float16: "f16", uint16_mm: "u16", png16_mm: "mm.png", jxl: "jxl", json: "json", color: "color.png", ply: "ply" };
const $ = (name) => document.getElementById(name);
const state = { original: null, name: "depth", shown: null, depth: null, range: [1, 10], view: "over", cursor: null, asking: null, live: null, cloud: null };

// --- the service ---

async function listModels() {
  try {
    const found = await models($("key").value);
    $("model").replaceChildren(...found.filter((model) => model.current).map((model) => {
      const option = new Option(`${model.name} (${model.unit === "metre" ? "metres" : "relative"})`, model.name, model.default, model.default);
      option.disabled = model.state !== "ready";
      return option;
    }));
    const serving = found.find((model) => model.default);
    say(serving ? `Ready: ${serving.backend}` : "No model is loaded.");
  } catch (error) {
    complain(error);
  }
}

function query() {
  return { model: $("model").value };
}

async function ask(blob, signal) {
  const began = performance.now();
  const answer = await depth(blob, query(), { key: $("key").value, signal });
  answer.roundTrip = performance.now() - began;
  return answer;
}

// --- from picture to depth ---

async function open(blob, name) {
  complain(null);
  stopLive();
  state.asking?.abort();
  state.asking = new AbortController();
  document.body.setAttribute("aria-busy", "true");
  say("Measuring…");
  try {
    const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
    if (!bitmap) throw new DepthError("This file is no picture that the browser can show. JPEG, PNG and WebP work.", 0);
    state.original = blob;
    state.name = name.replace(/\.[^.]*$/, "") || "depth";
    const small = await shrunk(bitmap);
    state.depth = await ask(small.blob, state.asking.signal);
    state.shown = small.canvas;
    state.range = ownRange(state.depth.values);
    showResult();
    say("Done.");
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  } finally {
    document.body.removeAttribute("aria-busy");
  }
}

async function shrunk(bitmap) {
  const share = Math.min(1, LONGEST_SHOWN / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * share));
  canvas.height = Math.max(1, Math.round(bitmap.height * share));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  return { canvas, blob };
}

// --- what is seen ---

function showResult() {
  $("result").hidden = false;
  const photo = $("photo");
  photo.width = state.shown.width;
  photo.height = state.shown.height;
  photo.getContext("2d").drawImage(state.shown, 0, 0);
  [$("near").value, $("far").value] = state.range.map((value) => value.toPrecision(3));
  $("facts").textContent = `${state.depth.width} × ${state.depth.height} pixels, ${distance(state.depth.minimum, state.depth.unit)} to ${distance(state.depth.maximum, state.depth.unit)}, model ${state.depth.model}` + (state.depth.unit === "metre" ? "" : "; depth is relative: units have no length");
  $("timings").textContent = timings(state.depth);
  repaint();
}

function repaint() {
  if (!state.depth) return;
  paint($("depth"), state.depth, $("map").value, state.range);
  drawHistogram($("histogram"), state.depth, $("map").value, state.range);
  if (state.view === "cloud") showCloud();
  split();
  read();
}

function timings({ timings: text, roundTrip }) {
  const phases = text.split(",").map((part) => part.trim().match(/^(\w+);.*dur=([\d.]+)/)).filter(Boolean);
  return [...phases.map(([, name, ms]) => `${name} ${Number(ms).toFixed(1)} ms`), `round trip ${roundTrip.toFixed(0)} ms`].join(" · ");
}

function split() {
  const over = state.view === "over";
  const share = Number($("split").value);
  $("split-label").hidden = !over;
  $("depth").style.clipPath = over ? `inset(0 ${100 - share}% 0 0)` : "";
}

async function showCloud() {
  if (!state.cloud) {
    const { Cloud } = await import("./cloud.js");
    state.cloud ??= new Cloud($("cloud"));
  }
  const photo = document.createElement("canvas");
  photo.width = state.depth.width;
  photo.height = state.depth.height;
  photo.getContext("2d").drawImage(state.shown, 0, 0, photo.width, photo.height);
  const pixels = photo.getContext("2d").getImageData(0, 0, photo.width, photo.height);
  state.cloud.show(state.depth, pixels, Number($("fov").value) || 70, state.range[1]);
  $("cloud").dataset.points = state.cloud.count;
}

function look(view) {
  state.view = view;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.dataset.view === view;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
  }
  $("stage").hidden = view === "cloud";
  $("cloud").hidden = view !== "cloud";
  $("stage").dataset.view = view;
  repaint();
}

// --- reading distances ---

function read() {
  const at = state.cursor;
  if (!state.depth || !at) return;
  const column = Math.min(state.depth.width - 1, Math.floor(at.x * state.depth.width));
  const row = Math.min(state.depth.height - 1, Math.floor(at.y * state.depth.height));
  $("distance").textContent = distance(state.depth.values[row * state.depth.width + column], state.depth.unit);
  $("where").textContent = `at ${column}, ${row}`;
  const box = at.canvas.getBoundingClientRect();
  const stage = $("stage").getBoundingClientRect();
  $("crosshair").hidden = false;
  $("crosshair").style.left = `${box.left - stage.left + at.x * box.width}px`;
  $("crosshair").style.top = `${box.top - stage.top + at.y * box.height}px`;
}

function point(event) {
  const box = event.currentTarget.getBoundingClientRect();
  const inside = (value) => Math.min(0.9999, Math.max(0, value));
  state.cursor = { canvas: event.currentTarget, x: inside((event.clientX - box.left) / box.width), y: inside((event.clientY - box.top) / box.height) };
  read();
}

function steer(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!(event.key in moves) || !state.depth) return;
  event.preventDefault();
  const pixels = event.shiftKey ? 20 : 4;
  const from = state.cursor ?? { x: 0.5, y: 0.5 };
  const inside = (value) => Math.min(0.9999, Math.max(0, value));
  const [across, down] = moves[event.key];
  state.cursor = { canvas: $("depth"), x: inside(from.x + (across * pixels) / state.depth.width), y: inside(from.y + (down * pixels) / state.depth.height) };
  read();
}

// --- taking away ---

async function download(format) {
  complain(null);
  const extra = format === "ply" ? { fov_deg: $("fov").value } : format === "color" ? { colormap: $("map").value, near: state.range[0], far: state.range[1] } : format === "json" ? { size: "model" } : {};
  try {
    const response = await request(state.original, { ...query(), ...extra, format }, { key: $("key").value });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${state.name}.${ENDINGS[format]}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`Saved ${link.download}; stored value × ${response.headers.get("X-Depth-Scale")} = depth (${response.headers.get("X-Depth-Unit")}).`);
  } catch (error) {
    complain(error);
  }
}

// --- the webcam ---

async function startLive() {
  complain(null);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: 640 } });
  } catch {
    complain(new DepthError("The browser gave no camera: is there one, and may this page use it?", 0));
    return;
  }
  const video = document.createElement("video");
  video.srcObject = stream;
  video.muted = true;
  video.playsInline = true;
  await video.play();
  state.live = { stream, frames: 0 };
  $("webcam").textContent = "Stop the webcam";
  state.name = "webcam";
  while (state.live) {
    const bitmap = await createImageBitmap(video);
    const small = await shrunk(bitmap);
    try {
      const answer = await ask(small.blob);
      if (!state.live) break;
      state.original = small.blob;
      state.shown = small.canvas;
      state.depth = answer;
      // A range that follows slowly: colours that jump with every frame cannot be read.
      const [near, far] = ownRange(answer.values);
      const pull = state.live.frames ? 0.1 : 1;
      state.range = [state.range[0] + pull * (near - state.range[0]), state.range[1] + pull * (far - state.range[1])];
      state.live.frames += 1;
      showResult();
      say(`Live, ${(1000 / answer.roundTrip).toFixed(1)} frames a second.`);
    } catch (error) {
      if (error.status !== 429) {
        stopLive();
        complain(error);
      } else await new Promise((done) => setTimeout(done, 1000 * (error.retryAfter ?? 1)));
    }
  }
}

function stopLive() {
  if (!state.live) return;
  for (const track of state.live.stream.getTracks()) track.stop();
  state.live = null;
  $("webcam").textContent = "Stream the webcam";
}

// --- saying things ---

function say(text) {
  $("status").textContent = text;
}

function complain(error) {
  $("error").hidden = !error;
  if (!error) return;
  $("error").textContent = error instanceof DepthError ? error.message : "Something went wrong on this page; reloading it may help.";
  if (!(error instanceof DepthError)) console.error(error);
  if (error.status === 401) $("key").hidden = false;
  say("");
}

// --- wiring ---

function setRange() {
  const near = Number($("near").value);
  const far = Number($("far").value);
  if (near > 0 && far > near) {
    complain(null);
    state.range = [near, far];
    repaint();
  } else complain(new DepthError("Near must be above zero and below far.", 0));
}

function wire() {
  $("map").replaceChildren(...Object.keys(MAPS).map((name) => new Option(name, name, name === "turbo", name === "turbo")));
  $("downloads").replaceChildren(...Object.entries(DOWNLOADS).map(([format, words]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `Save ${words}` });
    button.dataset.format = format;
    button.addEventListener("click", () => download(format));
    return button;
  }));
  const take = (files) => files?.[0] && open(files[0], files[0].name);
  $("choose").addEventListener("click", () => $("file").click());
  $("camera").addEventListener("click", () => $("capture").click());
  $("sample").addEventListener("click", async () => open(await drawStreet(), "street.png"));
  $("webcam").addEventListener("click", () => (state.live ? stopLive() : startLive()));
  for (const name of ["file", "capture"]) $(name).addEventListener("change", (event) => { take(event.target.files); event.target.value = ""; });
  const drop = $("drop");
  drop.addEventListener("keydown", (event) => { if (event.target === drop && ["Enter", " "].includes(event.key)) { event.preventDefault(); $("file").click(); } });
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files); });
  addEventListener("paste", (event) => take(event.clipboardData.files));
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.addEventListener("click", () => look(tab.dataset.view));
    tab.addEventListener("keydown", (event) => {
      const tabs = [...document.querySelectorAll("[role=tab]")];
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move) return;
      const next = tabs[(tabs.indexOf(tab) + move + tabs.length) % tabs.length];
      next.focus();
      look(next.dataset.view);
    });
  }
  for (const name of ["photo", "depth"]) $(name).addEventListener("pointermove", point);
  $("depth").addEventListener("keydown", steer);
  $("split").addEventListener("input", split);
  $("map").addEventListener("change", repaint);
  for (const name of ["near", "far"]) $(name).addEventListener("change", setRange);
  $("fov").addEventListener("change", repaint);
  $("range").addEventListener("click", () => { if (state.depth) { state.range = ownRange(state.depth.values); showResult(); } });
  $("model").addEventListener("change", () => state.original && open(state.original, state.name));
  $("key").addEventListener("change", listModels);
}

wire();
listModels();
