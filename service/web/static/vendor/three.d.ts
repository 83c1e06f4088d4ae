// What the page uses of three.js, for those who check types.

export class Vector3 { x: number; y: number; z: number; set(x: number, y: number, z: number): this; copy(other: Vector3): this; add(other: Vector3): this; sub(other: Vector3): this; clone(): Vector3; length(): number; }
export class BufferAttribute { constructor(array: Float32Array, itemSize: number); }
export class BufferGeometry { setAttribute(name: string, attribute: BufferAttribute): this; dispose(): void; }
export class PointsMaterial { constructor(options: { size: number; vertexColors: boolean }); dispose(): void; }
export class Points { constructor(geometry: BufferGeometry, material: PointsMaterial); geometry: BufferGeometry; material: PointsMaterial; }
export class Scene { add(points: Points): this; clear(): this; }
export class PerspectiveCamera { constructor(fov: number, aspect: number, near: number, far: number); position: Vector3; aspect: number; fov: number; updateProjectionMatrix(): void; }
export class WebGLRenderer { constructor(options: { antialias: boolean; alpha: boolean }); domElement: HTMLCanvasElement; getContext(): WebGL2RenderingContext; setPixelRatio(ratio: number): void; setSize(width: number, height: number): void; render(scene: Scene, camera: PerspectiveCamera): void; }
export class OrbitControls { constructor(camera: PerspectiveCamera, element: HTMLElement); target: Vector3; addEventListener(name: string, listener: () => void): void; update(): boolean; }
