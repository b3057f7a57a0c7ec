/** What the page calls: photos are corrected by a worker of the browser, or by the program that serves the page. */

import { PhotoError } from "./errors.js";

/**
 * @typedef {import("./types.js").Engine} Engine
 * @typedef {import("./types.js").OpenPhoto} OpenPhoto
 * @typedef {import("./types.js").Options} Options
 * @typedef {{
 *   resolve(result: any): void, reject(error: unknown): void, onProgress?: import("./types.js").OnProgress,
 *   signal?: AbortSignal,
 * }} Waiting
 */

export { PhotoError };

/**
 * Open what corrects photos.
 *
 * @param {{ base: string, model?: "fast" | "paper", onProgress?: import("./types.js").OnProgress }} options `base` is the
 *   address of the folder that holds `models/` and `ort/`
 * @returns {Promise<Engine>}
 * @throws {PhotoError} `offline`: a part could not be loaded
 */
export async function openEngine({ base, model = "fast", onProgress }) {
  if (document.querySelector('meta[name="expcorr-server"]')) {
    const { openServerEngine } = await import("./server_engine.js");
    return openServerEngine({ base, model, onProgress });
  }
  const worker = new Caller(new URL("./worker.js", import.meta.url));
  try {
    await worker.call("start", { base: new URL(base, location.href).href, model }, { onProgress });
  } catch (error) {
    worker.end();
    throw error;
  }
  return new BrowserEngine(worker, model);
}

/** Whether this browser shows pictures in Display P3 as they are. */
export function hasP3() {
  try {
    return new ImageData(1, 1, { colorSpace: "display-p3" }).colorSpace === "display-p3";
  } catch {
    return false;
  }
}

/** @implements {Engine} */
class BrowserEngine {
  kind = /** @type {const} */ ("browser");
  #worker;
  #opened = 0;

  /**
   * @param {Caller} worker
   * @param {"fast" | "paper"} model
   */
  constructor(worker, model) {
    this.#worker = worker;
    this.model = model;
  }

  /**
   * @param {Blob & { name?: string }} file
   * @param {Options} [options]
   * @returns {Promise<OpenPhoto>}
   */
  async open(file, options = {}) {
    const worker = this.#worker;
    const id = ++this.#opened;
    const name = file.name || "photo";
    const found = await worker.call("open", { id, file, name, p3: hasP3() }, options);
    const { data, width, height, colorSpace } = found.preview;
    return {
      ...found,
      name,
      preview: colorSpace === "srgb" ? new ImageData(data, width, height) : new ImageData(data, width, height, { colorSpace }),
      save: (settings, saving = {}) => worker.call("save", { id, settings: { ...settings } }, saving),
      close: () => worker.post({ name: "close", given: id }),
    };
  }

  close() {
    this.#worker.end();
  }
}

/** Calls a worker, and waits for its answers. */
class Caller {
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #calls = 0;
  #ended = false;
  #worker;

  /** @param {URL} url */
  constructor(url) {
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      // Without a message, a part of it could not be loaded.
      this.#fail(event.message ? new PhotoError("engine_failed", { reason: event.message }) : new PhotoError("offline", { file: "worker.js" }));
    };
  }

  /** @param {object} message */
  post(message) {
    this.#worker.postMessage(message);
  }

  /**
   * @param {string} name
   * @param {object} given
   * @param {Options} options
   * @returns {Promise<any>}
   */
  call(name, given, { signal, onProgress }) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#ended) return Promise.reject(closed());
    const call = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject, onProgress, signal });
      signal?.addEventListener("abort", () => this.post({ name: "giveUp", call }), { once: true });
      this.post({ call, name, given });
    });
  }

  /** @param {{ call: number, result?: object, error?: { code: string, details: {} }, progress?: any }} message */
  #take({ call, result, error, progress }) {
    const waiting = this.#waiting.get(call);
    if (progress) {
      if (!waiting?.signal?.aborted) waiting?.onProgress?.(progress);
      return;
    }
    this.#waiting.delete(call);
    if (waiting?.signal?.aborted) waiting.reject(waiting.signal.reason);
    else if (error) waiting?.reject(new PhotoError(error.code, error.details));
    else waiting?.resolve(result);
  }

  /** @param {unknown} error */
  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  end() {
    this.#ended = true;
    this.#worker.terminate();
    this.#fail(closed());
  }
}

const closed = () => new PhotoError("engine_failed", { reason: "closed" });
