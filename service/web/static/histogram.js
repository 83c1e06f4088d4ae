// How many pixels lie at which distance, with the range of the colours to pull at. Knows a canvas; knows no server.

import { css, leveller, ownRange } from "./colour.js";
import { distance, within } from "./numbers.js";

/** @typedef {import("./colour.js").Range} Range */

const BINS = 160;
const FOOT = 18;
const HEAD = 12;
/** Pixels beside a handle where a pointer still takes it. */
const REACH = 24;

export class Histogram {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** Told when somebody pulls at the range. @type {(range: Range) => void} */
    this.onRange = () => {};
    /** @type {import("./depth.js").DepthMap | null} */
    this.map = null;
    /** @type {Range} */
    this.range = [1, 10];
    /** @type {Range} */
    this.whole = [1, 10];
    this.colours = "turbo";
    /** @type {number | null} */
    this.marked = null;
    this.bins = new Float64Array(BINS);
    /** @type {0 | 1 | null} */
    this.held = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.take(event));
    canvas.addEventListener("pointermove", (event) => this.pull(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.held = null));
  }

  /** @param {import("./depth.js").DepthMap} map */
  show(map) {
    if (map !== this.map) {
      this.map = map;
      this.whole = ownRange(map.values, 0.001);
      this.count();
    }
    this.draw();
  }

  count() {
    if (!this.map) return;
    this.bins.fill(0);
    const start = Math.log(this.whole[0]);
    const share = BINS / Math.max(Math.log(this.whole[1]) - start, 1e-9);
    for (const value of this.map.values) {
      const bin = Math.floor((Math.log(value) - start) * share);
      if (bin >= 0 && bin < BINS) this.bins[bin] = (this.bins[bin] ?? 0) + 1;
    }
  }

  /** Where a distance lies on the axis. @param {number} value */
  place(value) {
    const [near, far] = this.whole;
    return (Math.log(value / near) / Math.log(far / near)) * this.canvas.clientWidth;
  }

  /** @param {number} x */
  valueAt(x) {
    const [near, far] = this.whole;
    return near * (far / near) ** within(x / this.canvas.clientWidth, 0, 1);
  }

  draw() {
    const { canvas, context } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !this.map) return;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    const floor = height - FOOT;
    this.drawBins(width, floor);
    context.fillStyle = context.strokeStyle = getComputedStyle(canvas).color;
    this.drawAxis(width, height);
    for (const value of this.range) this.drawHandle(within(this.place(value), 1, width - 1), floor);
    if (this.marked) this.drawMark(within(this.place(this.marked), 0, width), floor);
  }

  /** @param {number} width @param {number} floor */
  drawBins(width, floor) {
    const level = leveller(this.range);
    const most = Math.max(...this.bins, 1);
    const wide = width / BINS;
    this.bins.forEach((count, bin) => {
      const value = this.valueAt((bin + 0.5) * wide);
      this.context.globalAlpha = value < this.range[0] || value > this.range[1] ? 0.3 : 1;
      this.context.fillStyle = css(this.colours, level(value));
      // The root, because a far wall of one distance would press all others flat.
      const tall = Math.max(count ? 1.5 : 0, Math.sqrt(count / most) * (floor - HEAD));
      this.context.fillRect(bin * wide, floor - tall, wide - 0.4, tall);
    });
    this.context.globalAlpha = 1;
  }

  /** @param {number} width @param {number} height */
  drawAxis(width, height) {
    const { context } = this;
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "bottom";
    const steps = width > 560 ? 6 : width > 330 ? 4 : 2;
    for (let step = 0; step <= steps; step += 1) {
      context.textAlign = step === 0 ? "left" : step === steps ? "right" : "center";
      const x = (step * width) / steps;
      context.fillText(distance(this.valueAt(x), this.map?.unit ?? ""), x, height);
    }
  }

  /** @param {number} x @param {number} floor */
  drawHandle(x, floor) {
    this.context.fillRect(x - 1, HEAD - 4, 2, floor - HEAD + 4);
    this.context.beginPath();
    this.context.roundRect(x - 5, HEAD - 10, 10, 14, 4);
    this.context.fill();
  }

  /** @param {number} x @param {number} floor */
  drawMark(x, floor) {
    this.context.beginPath();
    this.context.moveTo(x, floor - 7);
    this.context.lineTo(x - 5, floor + 2);
    this.context.lineTo(x + 5, floor + 2);
    this.context.fill();
    this.context.setLineDash([3, 3]);
    this.context.beginPath();
    this.context.moveTo(x, HEAD);
    this.context.lineTo(x, floor);
    this.context.stroke();
    this.context.setLineDash([]);
  }

  /** @param {PointerEvent} event */
  take(event) {
    if (!this.map) return;
    const away = this.range.map((value) => Math.abs(this.place(value) - event.offsetX));
    const nearest = /** @type {number} */ (away[0]) <= /** @type {number} */ (away[1]) ? 0 : 1;
    if (/** @type {number} */ (away[nearest]) > REACH) return;
    this.held = nearest;
    this.canvas.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  pull(event) {
    if (this.held === null) return;
    const value = this.valueAt(event.offsetX);
    const [near, far] = this.range;
    this.onRange(this.held === 0 ? [Math.min(value, far / 1.05), far] : [near, Math.max(value, near * 1.05)]);
  }
}
