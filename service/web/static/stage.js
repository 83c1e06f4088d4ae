// The photograph and its depth, over or beside each other, with points to read. Knows the page's stage; knows no server.

import { within } from "./numbers.js";

/** @typedef {{x: number, y: number}} Place shares of the picture's width and height */

const REVEAL_MS = 900;
/** Pictures this much wider than tall stand above each other rather than side by side. */
const WIDE = 1.7;

/** @param {string} id */
const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
export const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export class Stage {
  constructor() {
    /** Told what somebody does. @type {(isKeyboard: boolean) => void} */
    this.onPoint = () => {};
    this.onKeep = () => {};
    this.onClear = () => {};
    /** @type {(percent: number) => void} */
    this.onSplit = () => {};
    this.place = $("stage");
    this.photo = /** @type {HTMLCanvasElement} */ ($("photo"));
    this.depth = /** @type {HTMLCanvasElement} */ ($("depth"));
    this.divider = $("divider");
    /** Where depth begins, in per cent of the picture's width. */
    this.split = 50;
    /** Where a person wants it to begin: a curtain comes to rest here, whatever interrupts it. */
    this.rest = 50;
    /** @type {Place | null} */
    this.cursor = null;
    /** @type {Array<{at: Place, words: string, kept: boolean}>} */
    this.marks = [];
    this.revealing = 0;
    for (const canvas of [this.photo, this.depth]) {
      canvas.addEventListener("pointermove", (event) => this.point(event));
      canvas.addEventListener("pointerdown", (event) => this.point(event));
      canvas.addEventListener("click", (event) => event instanceof PointerEvent && event.pointerType === "mouse" && this.onKeep());
    }
    this.depth.addEventListener("keydown", (event) => this.steer(event));
    this.divider.addEventListener("pointerdown", (event) => this.divider.setPointerCapture(event.pointerId));
    this.divider.addEventListener("pointermove", (event) => this.drag(event));
    new ResizeObserver(() => this.arrange()).observe(this.place);
  }

  /** @param {HTMLCanvasElement} canvas */
  showPhoto(canvas) {
    const { width, height } = canvas;
    Object.assign(this.photo, { width, height });
    this.context(this.photo).drawImage(canvas, 0, 0);
    this.place.style.setProperty("--aspect", String(width / height));
    this.place.dataset["shape"] = width / height > WIDE ? "wide" : "tall";
    this.arrange();
  }

  /** @param {ImageData} colours */
  showDepth(colours) {
    const { width, height } = colours;
    if (this.depth.width !== width || this.depth.height !== height) Object.assign(this.depth, { width, height });
    this.context(this.depth).putImageData(colours, 0, 0);
    this.arrange();
  }

  /** @param {HTMLCanvasElement} canvas */
  context(canvas) {
    return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  }

  /** @param {string} view */
  look(view) {
    this.place.dataset["view"] = view;
    this.arrange();
  }

  /** @param {number} percent */
  splitAt(percent) {
    cancelAnimationFrame(this.revealing);
    this.rest = percent;
    this.setSplit(percent);
  }

  /** @param {number} percent */
  setSplit(percent) {
    this.split = percent;
    this.place.style.setProperty("--split", `${percent}%`);
    this.arrange();
  }

  /** Draws depth over the photograph from the right, as a curtain. */
  reveal() {
    const goal = this.rest;
    cancelAnimationFrame(this.revealing);
    if (isCalm()) return this.setSplit(goal);
    const began = performance.now();
    const step = () => {
      const share = Math.min(1, (performance.now() - began) / REVEAL_MS);
      this.setSplit(share < 1 ? 100 - (100 - goal) * (1 - (1 - share) ** 3) : goal);
      if (share < 1) this.revealing = requestAnimationFrame(step);
    };
    step();
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
    this.cursor = { x: within((event.clientX - box.left) / box.width, 0, 0.9999), y: within((event.clientY - box.top) / box.height, 0, 0.9999) };
    this.onPoint(false);
  }

  /** @param {KeyboardEvent} event */
  steer(event) {
    if (event.key === "Enter") this.onKeep();
    if (event.key === "Escape") this.onClear();
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const pixels = event.shiftKey ? 32 : 4;
    const from = this.cursor ?? { x: 0.5, y: 0.5 };
    this.cursor = { x: within(from.x + (move[0] * pixels) / this.depth.width, 0, 0.9999), y: within(from.y + (move[1] * pixels) / this.depth.height, 0, 0.9999) };
    this.onPoint(true);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (!this.divider.hasPointerCapture(event.pointerId)) return;
    const box = this.depth.getBoundingClientRect();
    this.onSplit(within(((event.clientX - box.left) / box.width) * 100, 0, 100));
  }

  /** Shows these marks and no others.
   * @param {Array<{at: Place, words: string, kept: boolean}>} marks
   */
  mark(marks) {
    this.marks = marks;
    this.arrange();
  }

  /** Puts the divider and the marks where the pictures are now. */
  arrange() {
    const stage = this.place.getBoundingClientRect();
    const boxes = (this.place.dataset["view"] === "over" ? [this.depth] : [this.photo, this.depth]).map((canvas) => canvas.getBoundingClientRect());
    const box = boxes.at(-1);
    if (!box?.width) return;
    Object.assign(this.divider.style, { left: `${box.left - stage.left + (this.split / 100) * box.width}px`, top: `${box.top - stage.top}px`, height: `${box.height}px` });
    $("marks").replaceChildren(...boxes.flatMap((place) => this.marks.map(({ at, words, kept }) => {
      const mark = document.createElement("div");
      mark.className = `mark${kept ? " kept" : ""}${at.y * place.height < 44 ? " low" : ""}`;
      Object.assign(mark.style, { left: `${place.left - stage.left + at.x * place.width}px`, top: `${place.top - stage.top + at.y * place.height}px` });
      const label = document.createElement("b");
      label.textContent = words;
      mark.append(label);
      return mark;
    })));
  }
}
