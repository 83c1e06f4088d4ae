// A depth map as a cloud of points to turn. Knows three.js; knows no server.

import { BufferAttribute, BufferGeometry, OrbitControls, PerspectiveCamera, Points, PointsMaterial, Scene, WebGLRenderer } from "./vendor/three.js";

const MOST_POINTS = 500_000;
/** The network's neighbours that differ by more than this share lie on two things, with nothing between: as `ply_edges=drop` has it. */
const EDGE = 0.15;
const FLIGHT_MS = 1600;
const SWAY_MS = 14_000;
/** Where a frame takes longer than this, a flight is no pleasure and the machine has other things to do. */
const SLOW_MS = 60;
/** Of how far a light is on the screen, to how much light that is: three.js counts in light. */
const LIGHT = Float32Array.from({ length: 256 }, (_, level) => (level <= 10 ? level / 3294.6 : ((level / 255 + 0.055) / 1.055) ** 2.4));

/** @typedef {import("./depth.js").DepthMap} DepthMap */

export class Cloud {
  /**
   * @param {HTMLElement} place
   * @param {boolean} isCalm whether nothing may move by itself
   */
  constructor(place, isCalm) {
    this.place = place;
    this.isCalm = isCalm;
    this.renderer = new WebGLRenderer({ antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    const canvas = this.renderer.domElement;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", "Cloud of points. Drag to turn it, pinch or scroll to come nearer; the arrow keys turn it, plus and minus come nearer.");
    place.prepend(canvas);
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(50, 1, 0.05, 5000);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.addEventListener("start", () => (this.flight = null));
    this.controls.addEventListener("change", () => this.draw());
    canvas.addEventListener("keydown", (event) => this.steer(event));
    /** @type {{began: number} | null} */
    this.flight = null;
    this.due = 0;
    this.count = 0;
    this.middle = 1;
    this.fov = 70;
    this.aspect = 1;
    new ResizeObserver(() => this.resize()).observe(place);
  }

  /** Shows a depth map.
   * @param {DepthMap} map
   * @param {ImageData} colours as large as the map
   * @param {{fov: number, far: number, cell: number, isNew: boolean}} how `fov`: horizontal, in degrees; `far`: the sky beyond would hide the street; `cell`: pixels of the map to one of the network's
   */
  show(map, colours, { fov, far, cell, isNew }) {
    const { places, paints, depths } = points(map, colours.data, fov, far, cell);
    this.count = depths.length;
    this.middle = depths.sort()[Math.floor(depths.length / 2)] ?? 1;
    this.fov = fov;
    this.aspect = map.width / map.height;
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(places, 3));
    geometry.setAttribute("color", new BufferAttribute(paints, 3));
    this.points?.geometry.dispose();
    this.points?.material.dispose();
    this.scene.clear();
    // A point covers what its pixel covered, and a little more.
    const step = Math.sqrt((map.width * map.height) / Math.max(this.count, 1));
    this.points = new Points(geometry, new PointsMaterial({ size: (1.5 * step * this.middle * 2 * Math.tan((fov * Math.PI) / 360)) / map.width, vertexColors: true }));
    this.scene.add(this.points);
    if (isNew) this.start();
    this.resize();
  }

  /** Looks from where the photograph was taken, then glides aside. */
  start() {
    this.controls.target.set(0, 0, -this.middle);
    this.flight = { began: performance.now() };
    if (this.isCalm) this.land();
    else requestAnimationFrame(() => this.step());
  }

  step() {
    if (!this.flight) return;
    const age = performance.now() - this.flight.began;
    this.fly(age);
    // Told by the first frames; asking every one would hold up the page.
    const isSlow = age < FLIGHT_MS / 4 && this.frameMs() > SLOW_MS;
    if (isSlow || !this.place.clientWidth || age > FLIGHT_MS + 2 * SWAY_MS) this.land();
    else requestAnimationFrame(() => this.step());
  }

  /** How long a frame takes; drawing answers at once, and reading a pixel waits until it is done. */
  frameMs() {
    const began = performance.now();
    this.renderer.render(this.scene, this.camera);
    const gl = this.renderer.getContext();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    return performance.now() - began;
  }

  land() {
    this.flight = null;
    this.fly(FLIGHT_MS);
  }

  /** @param {number} age of the flight, in milliseconds */
  fly(age) {
    const share = Math.min(1, age / FLIGHT_MS);
    const eased = share * share * (3 - 2 * share);
    const sway = age > FLIGHT_MS ? (2 * Math.PI * (age - FLIGHT_MS)) / SWAY_MS : 0;
    const size = this.middle * eased;
    this.camera.position.set(size * 0.34 * Math.cos(sway), size * 0.26, size * (0.3 + 0.04 * Math.sin(sway)));
    this.controls.update();
    this.draw();
  }

  /** @param {KeyboardEvent} event */
  steer(event) {
    /** @type {Record<string, [number, number, number]>} */
    const turns = { ArrowLeft: [-1, 0, 1], ArrowRight: [1, 0, 1], ArrowUp: [0, 1, 1], ArrowDown: [0, -1, 1], "+": [0, 0, 0.88], "=": [0, 0, 0.88], "-": [0, 0, 1.14] };
    const turn = turns[event.key];
    if (!turn) return;
    event.preventDefault();
    this.flight = null;
    const offset = this.camera.position.clone().sub(this.controls.target);
    const radius = offset.length() * turn[2];
    const around = Math.atan2(offset.x, offset.z) + 0.08 * turn[0];
    const up = Math.min(1.45, Math.max(-1.45, Math.asin(offset.y / offset.length()) + 0.08 * turn[1]));
    offset.set(radius * Math.cos(up) * Math.sin(around), radius * Math.sin(up), radius * Math.cos(up) * Math.cos(around));
    this.camera.position.copy(this.controls.target).add(offset);
    this.controls.update();
    this.draw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.place;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setSize(clientWidth, clientHeight);
    this.camera.aspect = clientWidth / clientHeight;
    // From its first place the camera sees what the photograph shows, whole.
    const across = Math.tan((this.fov * Math.PI) / 360);
    this.camera.fov = (360 / Math.PI) * Math.atan(Math.max(across / this.aspect, across / this.camera.aspect));
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  /** Draws with the next frame, once, however often it is asked for until then. */
  draw() {
    this.due ||= requestAnimationFrame(() => {
      this.due = 0;
      this.renderer.render(this.scene, this.camera);
    });
  }
}

/**
 * @param {DepthMap} map
 * @param {Uint8ClampedArray} rgba
 * @param {number} fov
 * @param {number} far
 * @param {number} cell
 */
function points({ values, width, height }, rgba, fov, far, cell) {
  const step = Math.max(1, Math.ceil(Math.sqrt((width * height) / MOST_POINTS)));
  const focal = width / 2 / Math.tan((fov * Math.PI) / 360);
  const most = Math.ceil(width / step) * Math.ceil(height / step);
  const places = new Float32Array(3 * most);
  const paints = new Float32Array(3 * most);
  const depths = new Float32Array(most);
  let count = 0;
  for (let row = 0; row < height; row += step) {
    for (let column = 0; column < width; column += step) {
      const index = row * width + column;
      const z = values[index] ?? 0;
      if (!(z > 0) || z > far) continue;
      const left = values[column < cell ? index : index - cell] ?? z;
      const right = values[column + cell < width ? index + cell : index] ?? z;
      const above = values[row < cell ? index : index - cell * width] ?? z;
      const below = values[row + cell < height ? index + cell * width : index] ?? z;
      if (Math.max(z, left, right, above, below) > (1 + EDGE) * Math.min(z, left, right, above, below)) continue;
      // The camera looks along -z and y is up, as three.js has it.
      places[3 * count] = ((column + 0.5 - width / 2) / focal) * z;
      places[3 * count + 1] = (-(row + 0.5 - height / 2) / focal) * z;
      places[3 * count + 2] = -z;
      for (let channel = 0; channel < 3; channel += 1) paints[3 * count + channel] = LIGHT[rgba[4 * index + channel] ?? 0] ?? 0;
      depths[count] = z;
      count += 1;
    }
  }
  return { places: places.slice(0, 3 * count), paints: paints.slice(0, 3 * count), depths: depths.slice(0, count) };
}
