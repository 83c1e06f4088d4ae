// The webcam's frames to the service's stream, and their depth back. Knows WebSockets; knows no page.

import { DepthError, models, refusal } from "./depth.js";
import { floatsOf } from "./numbers.js";
import { drawn, pictureOf } from "./pictures.js";

const LONGEST_SENT = 512;
/** One frame in the network and one on its way keep both busy; more would only grow old. */
const MOST_IN_FLIGHT = 2;

/** @typedef {import("./depth.js").DepthMap} DepthMap */
/** @typedef {{frame: number, error?: {code: string, message: string, retry_after_ms?: number}} & Record<string, any>} Reading */

export class Live {
  /**
   * @param {HTMLVideoElement} video a camera that plays
   * @param {{query: Record<string, string>, key: string, onFrame: (map: DepthMap, picture: import("./pictures.js").Picture) => void, onEnd: (error: DepthError | null) => void}} options
   */
  constructor(video, { query, key, onFrame, onEnd }) {
    this.video = video;
    this.key = key;
    this.onFrame = onFrame;
    this.onEnd = onEnd;
    this.sent = 0;
    this.answered = 0;
    this.isOpen = false;
    this.isOver = false;
    /** @type {Map<number, {picture: import("./pictures.js").Picture, at: number}>} */
    this.frames = new Map();
    /** @type {Reading | null} */
    this.reading = null;
    const address = new URL("v1/stream", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    address.search = String(new URLSearchParams({ ...query, format: "float16", mode: "latest", max_in_flight: String(MOST_IN_FLIGHT) }));
    this.socket = new WebSocket(address, key ? ["depth.v1", `key.${key}`] : ["depth.v1"]);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("open", () => {
      this.isOpen = true;
      this.send();
    });
    this.socket.addEventListener("message", ({ data }) => this.hear(data));
    this.socket.addEventListener("close", () => this.closed());
  }

  /** Sends frames until enough are on their way. */
  async send() {
    while (!this.isOver && this.sent - this.answered < MOST_IN_FLIGHT) {
      const number = this.sent;
      this.sent += 1;
      const picture = await pictureOf(drawn(this.video, this.video.videoWidth, this.video.videoHeight, LONGEST_SENT), "webcam");
      if (this.socket.readyState !== WebSocket.OPEN) return;
      this.frames.set(number, { picture, at: performance.now() });
      this.socket.send(picture.small);
    }
  }

  /** @param {string | ArrayBuffer} data */
  hear(data) {
    if (typeof data !== "string") {
      this.show(data);
      return;
    }
    const reading = /** @type {Reading} */ (JSON.parse(data));
    if (!reading.error) {
      this.reading = reading;
    } else if (reading.error.retry_after_ms) {
      this.answered = reading.frame + 1;
      setTimeout(() => this.send(), reading.error.retry_after_ms);
    } else {
      this.end(new DepthError("The service ended the stream", { text: "Start it again, or try a photograph.", detail: reading.error.message }));
    }
  }

  /** @param {ArrayBuffer} body */
  show(body) {
    const reading = this.reading;
    const frame = reading && this.frames.get(reading.frame);
    if (!reading || !frame || this.isOver) return;
    for (const number of this.frames.keys()) if (number <= reading.frame) this.frames.delete(number);
    this.answered = reading.frame + 1;
    this.onFrame(
      {
        values: floatsOf(body),
        width: reading["width"],
        height: reading["height"],
        unit: reading["unit"],
        scaleSource: reading["scale_source"],
        lens: reading["intrinsics"] ? { fx: reading["intrinsics"].fx_px } : null,
        fyPerHeight: reading["fy_per_height"] ?? null,
        uncertainty: reading["uncertainty"] ?? null,
        notice: reading["notice"] ?? "",
        minimum: reading["minimum"],
        maximum: reading["maximum"],
        model: `${reading["model"]} ${reading["model_version"]}`,
        phases: Object.entries(reading["timings_ms"]),
        roundTripMs: performance.now() - frame.at,
      },
      frame.picture,
    );
    this.send();
  }

  async closed() {
    if (this.isOver) return;
    if (this.isOpen) {
      this.end(refusal(0, "the stream was cut"));
      return;
    }
    // A browser does not say why a WebSocket was refused; a plain request is told.
    try {
      await models(this.key);
      this.end(new DepthError("The service opened no stream", { text: "As many as it allows may be open already. Try again in a moment." }));
    } catch (error) {
      this.end(error instanceof DepthError ? error : refusal(0, ""));
    }
  }

  /** @param {DepthError | null} error */
  end(error) {
    if (this.isOver) return;
    this.isOver = true;
    this.socket.close();
    this.onEnd(error);
  }
}
