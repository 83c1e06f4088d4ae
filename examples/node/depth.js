// Depth over gRPC from Node: single photographs, live streams and health.
// The contract is read from depth.proto as it is, so nothing is generated. Types stand in comments; `tsc -p .` checks them.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import health from "grpc-health-check";

/** Where depth.proto may lie: beside this file, or where the service's source tree has it. */
const CONTRACTS = ["./depth.proto", "../../proto/depth.proto"].map((place) => fileURLToPath(new URL(place, import.meta.url)));
/** Whole maps of large photographs: grpc-js takes 4 MiB unless told otherwise. */
const MOST_BYTES = 256 * 2 ** 20;
const DEADLINE_MS = 30_000;

/**
 * @typedef {object} DepthMap
 * @property {Float32Array} values depth, row by row, in `unit`
 * @property {number} width
 * @property {number} height
 * @property {"metre" | "relative"} unit relative depth is right up to one unknown factor
 * @property {number} minimum
 * @property {number} maximum
 * @property {string} model name and version of what answered
 * @property {string} requestId what the service's log knows the request by
 */

/**
 * @typedef {object} Options
 * @property {string} [model] the service's default where not given
 * @property {"input" | "model"} [size] as many pixels as the photograph has, or as the network has: quicker to send
 */

/**
 * @typedef {object} Live
 * @property {"every" | "latest"} [mode] answer each frame, or only the newest of those that wait
 * @property {number} [steadiness] from 0, which leaves each frame as it is, to 1: how firmly depth is held from frame to frame; 0.8 where not given
 */

/**
 * @typedef {object} Answer the answer to a frame: its depth, or why there is none
 * @property {number} frame counted from 0
 * @property {DepthMap | null} depth
 * @property {{code: string, message: string} | null} error
 * @property {number} skipped how many frames gave their place to this one
 */

/** A call that was not answered with depth. */
export class DepthError extends Error {
  /** @param {grpc.ServiceError} cause */
  constructor(cause) {
    super(cause.details, { cause });
    this.name = "DepthError";
    /** gRPC's word, such as `RESOURCE_EXHAUSTED`. */
    this.status = /** @type {string} */ (grpc.status[cause.code]);
    this.requestId = String(cause.metadata.get("x-request-id")[0] ?? "");
    /** When to come again, where the service said so. */
    this.retryAfterS = Number(cause.metadata.get("retry-after")[0] ?? NaN) || null;
  }
}

/** A connection to a depth service. */
export class DepthService {
  /**
   * @param {string} address such as `localhost:8001`
   * @param {object} [options]
   * @param {string} [options.key] an API key, where the service asks for one
   * @param {grpc.ChannelCredentials} [options.credentials] of TLS; none where not given
   */
  constructor(address, { key, credentials = grpc.credentials.createInsecure() } = {}) {
    const contract = CONTRACTS.find((path) => existsSync(path));
    if (!contract) throw new Error(`there is no depth.proto; expected it at ${CONTRACTS.join(" or ")}`);
    const loaded = /** @type {any} */ (grpc.loadPackageDefinition(loader.loadSync([contract, health.protoPath], { longs: Number, enums: String, defaults: true, oneofs: true })));
    const limits = { "grpc.max_receive_message_length": MOST_BYTES };
    this.depth = new loaded.depth.v1.Depth(address, credentials, limits);
    this.health = new loaded.grpc.health.v1.Health(address, credentials);
    this.key = key;
  }

  metadata() {
    const metadata = new grpc.Metadata();
    if (this.key) metadata.set("authorization", `Bearer ${this.key}`);
    return metadata;
  }

  /**
   * Ask for the depth of a photograph.
   * @param {Uint8Array} image a JPEG, PNG, WebP or AVIF file
   * @param {Options & {deadlineMs?: number, signal?: AbortSignal}} [options] a signal ends the call; the service stops computing
   * @returns {Promise<DepthMap>}
   */
  predict(image, { deadlineMs = DEADLINE_MS, signal, ...options } = {}) {
    return this.ask(this.depth, "Predict", { image, options: asked(options) }, deadlineMs, signal).then(mapOf);
  }

  /**
   * Ask for the depth of frames as they come, and answer in their order; asks for no more frames than the service can take.
   * @param {AsyncIterable<Uint8Array> | Iterable<Uint8Array>} frames
   * @param {Options & Live} [options]
   * @returns {AsyncGenerator<Answer>}
   */
  async *stream(frames, { mode = "every", steadiness, ...options } = {}) {
    if ("scaleSmoothing" in options) throw new TypeError("scaleSmoothing is gone; expected steadiness in its place");
    const call = this.depth.Stream(this.metadata());
    const sending = send(call, { options: asked(options), mode: mode === "latest" ? "MODE_LATEST_FRAME" : "MODE_EVERY_FRAME", steadiness }, frames);
    sending.catch((error) => call.destroy(error));
    try {
      for await (const { frameId, depth, error, skipped } of call) yield { frame: frameId, depth: depth && mapOf(depth), error, skipped };
      await sending;
    } catch (error) {
      throw isOfGrpc(error) ? new DepthError(error) : error;
    } finally {
      call.cancel();
    }
  }

  /**
   * Answer whether requests should be sent now.
   * @returns {Promise<boolean>}
   */
  async isServing() {
    return (await this.ask(this.health, "Check", { service: "" }, DEADLINE_MS)).status === "SERVING";
  }

  /** Answer the names of the models that can be asked for. @returns {Promise<string[]>} */
  async models() {
    /** @type {{models: Array<{name: string}>}} */
    const { models } = await this.ask(this.depth, "ListModels", {}, DEADLINE_MS);
    return models.map(({ name }) => name);
  }

  close() {
    this.depth.close();
    this.health.close();
  }

  /**
   * @param {any} stub
   * @param {string} method
   * @param {object} question
   * @param {number} deadlineMs
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  ask(stub, method, question, deadlineMs, signal) {
    return new Promise((answer, refuse) => {
      signal?.throwIfAborted();
      const call = stub[method](question, this.metadata(), { deadline: Date.now() + deadlineMs }, (/** @type {grpc.ServiceError | null} */ error, /** @type {any} */ said) => {
        signal?.removeEventListener("abort", hangUp);
        if (error) refuse(signal?.aborted ? signal.reason : new DepthError(error));
        else answer(said);
      });
      const hangUp = () => call.cancel();
      signal?.addEventListener("abort", hangUp);
    });
  }
}

/** @param {unknown} error @returns {error is grpc.ServiceError} */
const isOfGrpc = (error) => error instanceof Error && "metadata" in error;

/** @param {Options} options as the contract has them; bare float32 needs no reading */
const asked = ({ model = "", size = "input" }) => ({ model, size: size === "model" ? "SIZE_MODEL" : "SIZE_INPUT", format: "FORMAT_FLOAT32" });

/**
 * @param {any} call
 * @param {object} config
 * @param {AsyncIterable<Uint8Array> | Iterable<Uint8Array>} frames
 */
async function send(call, config, frames) {
  let id = 0;
  call.write({ config });
  for await (const image of frames) {
    if (call.destroyed) return;
    // Where this is false the service, or the line, is slower than the frames come.
    if (!call.write({ frame: { id, image } })) await new Promise((done) => call.once("drain", done).once("close", done));
    id += 1;
  }
  call.end();
}

/** @param {any} answer @returns {DepthMap} */
function mapOf(answer) {
  /** @type {Buffer} */
  const data = answer.data;
  const values = new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
  return {
    values,
    width: answer.widthPx,
    height: answer.heightPx,
    unit: answer.unit === "UNIT_METRE" ? "metre" : "relative",
    minimum: answer.minimum,
    maximum: answer.maximum,
    model: `${answer.model} ${answer.modelVersion}`,
    requestId: answer.requestId,
  };
}
