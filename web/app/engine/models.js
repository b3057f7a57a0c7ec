/**
 * The networks, run by ONNX Runtime on WebAssembly. Its build for graphics processors lacks what the models' fit of the
 * grid needs: numbers of 64 bits, and antialiased reduction.
 */

import { through } from "./bytes.js";
import { PhotoError } from "./errors.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {import("./types.js").OnProgress} OnProgress */

const MODELS = { fast: "models/model_fp16.onnx", paper: "models/paper_fp16.onnx" };
const FIT = "models/fit.onnx";
const SCRIPT = "ort/ort.wasm.min.mjs";
const MODULE = "ort/ort-wasm-simd-threaded.mjs";
const BINARY = "ort/ort-wasm-simd-threaded.wasm.gz";
const MOST_THREADS = 4;

/**
 * A part of the page; compressed ones are inflated, unless the host has told the browser to.
 * @param {URL} url
 * @param {(loaded: number, total: number) => void} [onLoaded] bytes; a total of 0 is not known
 * @returns {Promise<Bytes>}
 */
export async function load(url, onLoaded = () => {}) {
  /** @type {Bytes[]} */
  const parts = [];
  try {
    const response = await fetch(url);
    if (!response.ok || !response.body) throw new TypeError(String(response.status));
    const total = response.headers.has("content-encoding") ? 0 : Number(response.headers.get("content-length"));
    let loaded = 0;
    for (const reader = response.body.getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      parts.push(value);
      onLoaded((loaded += value.length), total);
    }
  } catch {
    throw new PhotoError("offline", { file: url.pathname });
  }
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? through(bytes, new DecompressionStream("gzip")) : bytes;
}

/**
 * @param {URL} base
 * @param {"fast" | "paper"} model
 * @param {OnProgress} onProgress
 * @returns {Promise<import("./correct.js").Models>}
 */
export async function openModels(base, model, onProgress) {
  const shares = [0, 0];
  const loadPart = (/** @type {string} */ path, /** @type {number} */ index) =>
    load(new URL(path, base), (loaded, total) => {
      shares[index] = total ? loaded / total : 0;
      onProgress({ stage: "download", done: (shares[0] + shares[1]) / 2 });
    });
  const [wasmBinary, weights] = await Promise.all([loadPart(BINARY, 0), loadPart(MODELS[model], 1)]);
  onProgress({ stage: "start", done: 0 });
  /** @type {typeof import("onnxruntime-web")} */
  let ort;
  try {
    ort = await import(new URL(SCRIPT, base).href);
  } catch {
    throw new PhotoError("offline", { file: SCRIPT });
  }
  ort.env.wasm.wasmBinary = wasmBinary.buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL(MODULE, base).href };
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  /** @param {Bytes} bytes */
  const start = (bytes) => ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  const network = await start(weights);
  onProgress({ stage: "start", done: 1 });
  /** @type {ReturnType<typeof start> | undefined} */
  let fitting;
  /** @param {Float32Array} data @param {number} width @param {number} height */
  const tensor = (data, width, height) => new ort.Tensor("float32", data, [1, 3, height, width]);
  /** @param {import("onnxruntime-web").InferenceSession.OnnxValueMapType} outputs @param {string} name */
  const values = (outputs, name) => /** @type {Float32Array} */ (outputs[name].data).slice();
  return {
    async correct(photo, width, height) {
      const outputs = await network.run({ photo: tensor(photo, width, height) });
      return {
        grid: values(outputs, "grid"),
        corrected: values(outputs, "corrected"),
        wellExposed: outputs.well_exposed ? values(outputs, "well_exposed")[0] : null,
      };
    },
    async fit(before, after, width, height) {
      fitting ??= load(new URL(FIT, base)).then((bytes) => start(bytes));
      const session = await fitting.catch((error) => {
        fitting = undefined; // so that it is tried again
        throw error;
      });
      const outputs = await session.run({ before: tensor(before, width, height), after: tensor(after, width, height) });
      return values(outputs, "grid");
    },
  };
}
