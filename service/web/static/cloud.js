// A depth map as a cloud of points to turn. Knows three.js; knows no server.

import { BufferAttribute, BufferGeometry, Color, OrbitControls, PerspectiveCamera, Points, PointsMaterial, Scene, WebGLRenderer } from "./vendor/three.js";

const MOST_POINTS = 400_000;

export class Cloud {
  constructor(place) {
    this.place = place;
    this.renderer = new WebGLRenderer({ antialias: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    place.append(this.renderer.domElement);
    this.renderer.domElement.setAttribute("aria-label", "Point cloud; drag to turn, pinch or scroll to come nearer, arrow keys to move");
    this.renderer.domElement.tabIndex = 0;
    this.scene = new Scene();
    this.scene.background = new Color(0x101418);
    this.camera = new PerspectiveCamera(60, 1, 0.01, 5000);
    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    this.controls.listenToKeyEvents(this.renderer.domElement);
    this.controls.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.resize()).observe(place);
  }

  /** Shows a depth map with its photograph's colours.
   * @param {{values: Float32Array, width: number, height: number}} depth
   * @param {ImageData} photo as large as the depth map
   * @param {number} fov horizontal, in degrees
   * @param {number} far what lies farther is left out: the sky would hide the street
   */
  show({ values, width, height }, photo, fov, far) {
    const step = Math.max(1, Math.ceil(Math.sqrt((width * height) / MOST_POINTS)));
    const focal = width / 2 / Math.tan((fov * Math.PI) / 360);
    const places = [];
    const colours = [];
    const depths = [];
    for (let row = 0; row < height; row += step) {
      for (let column = 0; column < width; column += step) {
        const index = row * width + column;
        const z = values[index];
        if (z > far) continue;
        // The camera looks along -z and y is up, as three.js has it.
        places.push(((column + 0.5 - width / 2) / focal) * z, (-(row + 0.5 - height / 2) / focal) * z, -z);
        colours.push(photo.data[4 * index] / 255, photo.data[4 * index + 1] / 255, photo.data[4 * index + 2] / 255);
        depths.push(z);
      }
    }
    depths.sort((one, other) => one - other);
    const middle = depths[Math.floor(depths.length / 2)] ?? 1;
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(new Float32Array(places), 3));
    geometry.setAttribute("color", new BufferAttribute(new Float32Array(colours), 3));
    this.scene.clear();
    this.points?.geometry.dispose();
    this.points = new Points(geometry, new PointsMaterial({ size: (1.6 * step * middle) / focal, vertexColors: true }));
    this.scene.add(this.points);
    this.camera.position.set(-0.25 * middle, 0.25 * middle, 0.45 * middle);
    this.controls.target.set(0, 0, -middle);
    this.count = depths.length;
    this.controls.update();
    this.resize();
  }

  resize() {
    const { clientWidth, clientHeight } = this.place;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setSize(clientWidth, clientHeight);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  draw() {
    this.renderer.render(this.scene, this.camera);
  }
}
