// Depth as colours and as a histogram. Knows pixels; knows no page and no server.

import { MAPS } from "./maps.js";

/** The range that leaves out the nearest and the farthest hundredth of the pixels. */
export function ownRange(values) {
  const seen = [];
  const step = Math.max(1, Math.floor(values.length / 20000));
  for (let index = 0; index < values.length; index += step) seen.push(values[index]);
  seen.sort((one, other) => one - other);
  return [seen[Math.floor(seen.length * 0.01)], seen[Math.ceil(seen.length * 0.99) - 1]];
}

/** Paints a depth map; colours go by disparity, the near at the map's bright end. */
export function paint(canvas, { values, width, height }, name, [near, far]) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const map = MAPS[name];
  const low = 1 / far;
  const share = 255 / Math.max(1 / near - low, 1e-9);
  for (let index = 0; index < values.length; index += 1) {
    const level = Math.min(255, Math.max(0, Math.floor((1 / values[index] - low) * share)));
    picture.data[4 * index] = map[3 * level];
    picture.data[4 * index + 1] = map[3 * level + 1];
    picture.data[4 * index + 2] = map[3 * level + 2];
    picture.data[4 * index + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

/** Draws how many pixels lie at which distance, on a logarithmic axis, in the colours of the map. */
export function drawHistogram(canvas, { values, unit }, name, [near, far]) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const bins = new Float64Array(120);
  const start = Math.log(near);
  const span = Math.max(Math.log(far) - start, 1e-9);
  for (const value of values) {
    const bin = Math.floor(((Math.log(value) - start) / span) * bins.length);
    if (bin >= 0 && bin < bins.length) bins[bin] += 1;
  }
  const most = Math.max(...bins, 1);
  const map = MAPS[name];
  const floor = height - 16;
  context.clearRect(0, 0, width, height);
  bins.forEach((count, bin) => {
    const value = Math.exp(start + ((bin + 0.5) / bins.length) * span);
    const level = Math.min(255, Math.max(0, Math.floor((255 * (1 / value - 1 / far)) / Math.max(1 / near - 1 / far, 1e-9))));
    context.fillStyle = `rgb(${map[3 * level]} ${map[3 * level + 1]} ${map[3 * level + 2]})`;
    const tall = (count / most) * floor;
    context.fillRect((bin * width) / bins.length, floor - tall, width / bins.length - 0.5, tall);
  });
  context.fillStyle = getComputedStyle(canvas).color;
  context.font = "12px system-ui";
  context.textBaseline = "bottom";
  for (const place of [0, 0.25, 0.5, 0.75, 1]) {
    context.textAlign = place === 0 ? "left" : place === 1 ? "right" : "center";
    context.fillText(distance(Math.exp(start + place * span), unit), place * width, height);
  }
}

/** Words for a distance: metres only where they are metres. */
export function distance(value, unit) {
  const digits = value < 10 ? 2 : 1;
  return unit === "metre" ? `${value.toFixed(digits)} m` : `${value.toFixed(digits)} units`;
}
