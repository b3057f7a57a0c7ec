/** The networks, run by ONNX Runtime: on WebAssembly, or the paper's on the graphics processor where there is one. */

import { through } from "./bytes.js";
import { PhotoError } from "./errors.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {import("./types.js").OnProgress} OnProgress */

const MODELS = { fast: "models/model_fp16.onnx", paper: "models/paper_fp16.onnx" };
const FIT = "models/fit.onnx";
const RUNTIMES = {
  wasm: { script: "ort/ort.wasm.min.mjs", module: "ort/ort-wasm-simd-threaded.mjs", binary: "ort/ort-wasm-simd-threaded.wasm.gz" },
  webgpu: {
    script: "ort/ort.webgpu.min.mjs",
    module: "ort/ort-wasm-simd-threaded.asyncify.mjs",
    binary: "ort/ort-wasm-simd-threaded.asyncify.wasm.gz",
  },
};
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

/** Whether there is a graphics processor that networks can run on. */
async function hasGpu() {
  try {
    const gpu = /** @type {{ gpu?: { requestAdapter(): Promise<unknown> } }} */ (navigator).gpu;
    return Boolean(await gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/**
 * @param {URL} base
 * @param {"fast" | "paper"} model
 * @param {OnProgress} onProgress
 * @returns {Promise<import("./correct.js").Models & { on: "wasm" | "webgpu" }>}
 */
export async function openModels(base, model, onProgress) {
  const on = model === "paper" && (await hasGpu()) ? "webgpu" : "wasm";
  try {
    return await openModelsOn(base, model, on, onProgress);
  } catch (error) {
    if (on === "wasm" || (error instanceof PhotoError && error.code === "offline")) throw error;
    return openModelsOn(base, model, "wasm", onProgress); // drivers may fail at what adapters promise
  }
}

/**
 * @param {URL} base
 * @param {"fast" | "paper"} model
 * @param {"wasm" | "webgpu"} on
 * @param {OnProgress} onProgress
 */
async function openModelsOn(base, model, on, onProgress) {
  const { script, module, binary } = RUNTIMES[on];
  const shares = [0, 0];
  const load1 = (/** @type {string} */ path, /** @type {number} */ index) =>
    load(new URL(path, base), (loaded, total) => {
      shares[index] = total ? loaded / total : 0;
      onProgress({ stage: "download", done: (shares[0] + shares[1]) / 2 });
    });
  const [wasmBinary, weights] = await Promise.all([load1(binary, 0), load1(MODELS[model], 1)]);
  onProgress({ stage: "start", done: 0 });
  /** @type {typeof import("onnxruntime-web")} */
  let ort;
  try {
    ort = await import(new URL(script, base).href);
  } catch {
    throw new PhotoError("offline", { file: script });
  }
  ort.env.wasm.wasmBinary = wasmBinary.buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL(module, base).href };
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  /** @param {Bytes} bytes @param {"wasm" | "webgpu"} provider */
  const start = (bytes, provider) => ort.InferenceSession.create(bytes, { executionProviders: [provider] });
  const network = await start(weights, on);
  onProgress({ stage: "start", done: 1 });
  /** @type {ReturnType<typeof start> | undefined} */
  let fitting;
  /** @param {Float32Array} data @param {number} width @param {number} height */
  const tensor = (data, width, height) => new ort.Tensor("float32", data, [1, 3, height, width]);
  /** @param {import("onnxruntime-web").InferenceSession.OnnxValueMapType} outputs @param {string} name */
  const values = (outputs, name) => /** @type {Float32Array} */ (outputs[name].data).slice();
  return {
    on,
    /** @type {import("./correct.js").Models["correct"]} */
    async correct(photo, width, height) {
      const outputs = await network.run({ photo: tensor(photo, width, height) });
      return {
        grid: values(outputs, "grid"),
        corrected: values(outputs, "corrected"),
        wellExposed: outputs.well_exposed ? values(outputs, "well_exposed")[0] : null,
      };
    },
    /** @type {import("./correct.js").Models["fit"]} */
    async fit(before, after, width, height) {
      fitting ??= load(new URL(FIT, base)).then((bytes) => start(bytes, "wasm"));
      const session = await fitting.catch((error) => {
        fitting = undefined; // so that it is tried again
        throw error;
      });
      const outputs = await session.run({ before: tensor(before, width, height), after: tensor(after, width, height) });
      return values(outputs, "grid");
    },
  };
}
