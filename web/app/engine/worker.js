/** Holds photos at full size: decodes, corrects and encodes them, one after the other, while the page stays free. */

import { correct } from "./correct.js";
import { decode } from "./decode.js";
import { encode, nameOf, notesOf, targetOf } from "./encode.js";
import { PhotoError } from "./errors.js";
import { load, openModels } from "./models.js";

/**
 * @typedef {{ id: number, file: Blob, name: string, photo: import("./decode.js").Photo | null, grid: Float32Array }} Held
 * @typedef {import("./types.js").Settings & { format: import("./types.js").Format }} SaveSettings
 */

const MOST_HELD = 2 ** 28; // bytes of decoded pixels; older photos are decoded again when they are saved
const MIME = { JPEG: "image/jpeg", PNG: "image/png", WEBP: "image/webp", AVIF: "image/avif", HEIC: "image/heic" };

/** @type {Map<number, Held>} the last used one at the end */
const photos = new Map();
/** @type {Set<number>} calls that were given up */
const givenUp = new Set();
/** @type {import("./correct.js").Models} */
let models;
let base = new URL("../", import.meta.url);
/** @type {Promise<unknown>} */
let last = Promise.resolve();

const { port1, port2 } = new MessageChannel();
/** Let messages in, which a chain of promises would not. */
const tick = () => new Promise((resolve) => {
  port1.onmessage = resolve;
  port2.postMessage(null);
});

class GivenUp extends Error {}

/** @type {Promise<{ decode(bytes: Uint8Array, preserveOrientation: boolean): ImageData | null }> | undefined} */
let jpegDecoder;

/** @param {import("./bytes.js").Bytes} bytes */
async function decodeJpeg(bytes) {
  jpegDecoder ??= Promise.all([
    import(new URL("jpeg/mozjpeg_dec.js", base).href),
    load(new URL("jpeg/mozjpeg_dec.wasm", base)),
  ]).then(([{ default: start }, wasmBinary]) => start({ wasmBinary, noInitialRun: true }));
  const decoder = await jpegDecoder.catch((error) => {
    jpegDecoder = undefined; // so that it is tried again
    throw error;
  });
  return decoder.decode(bytes, false);
}

/** @param {Held} held */
function hold(held) {
  photos.delete(held.id);
  photos.set(held.id, held);
  let bytes = 0;
  for (const each of [...photos.values()].reverse()) {
    bytes += each.photo?.pixels.length ?? 0;
    if (bytes > MOST_HELD && each !== held) each.photo = null;
  }
}

/**
 * @param {number} call
 * @param {import("./types.js").Progress["stage"]} stage
 */
const stepOf = (call, stage) => async (/** @type {number} */ done) => {
  postMessage({ call, progress: { stage, done } });
  await tick();
  if (givenUp.has(call)) throw new GivenUp();
};

/**
 * @param {number} call
 * @param {Blob} file
 * @param {string} name
 */
async function decoded(call, file, name) {
  await stepOf(call, "read")(0);
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new PhotoError("file_lost");
  }
  return decode(bytes, name, { step: stepOf(call, "decode"), decodeJpeg });
}

const calls = {
  /** @param {number} call @param {{ base: string, model: "fast" | "paper" }} given */
  async start(call, given) {
    base = new URL(given.base);
    models = await openModels(base, given.model, (progress) => postMessage({ call, progress }));
    return {};
  },

  /** @param {number} call @param {{ id: number, file: Blob, name: string, p3: boolean }} given */
  async open(call, { id, file, name, p3 }) {
    const photo = await decoded(call, file, name);
    const step = stepOf(call, "correct");
    await step(0);
    const { grid, preview, previewGrid, wellExposed, stops } = await correct(photo, models, { p3, step });
    await step(1);
    hold({ id, file, name, photo, grid });
    const { width, height } = photo;
    const notes = notesOf(photo, targetOf(photo, "same"));
    return { width, height, type: MIME[photo.kind], preview, grid: previewGrid, wellExposed, stops, notes };
  },

  /** @param {number} call @param {{ id: number, settings: SaveSettings }} given */
  async save(call, { id, settings }) {
    const held = photos.get(id);
    if (!held) throw new PhotoError("file_lost");
    held.photo ??= await decoded(call, held.file, held.name);
    hold(held);
    const { photo } = held;
    const target = targetOf(photo, settings.format);
    const blob = await encode(photo, held.grid, settings, stepOf(call, "save"));
    return { blob, name: nameOf(held.name, target), notes: notesOf(photo, target) };
  },
};

/**
 * @param {unknown} error
 * @returns {{ code: string, details: Record<string, string | number> }}
 */
function told(error) {
  if (error instanceof GivenUp) return { code: "given_up", details: {} };
  if (error instanceof PhotoError) return { code: error.code, details: error.details };
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const memory = /allocation|out of memory|bad_alloc|Invalid (typed )?array (buffer )?length/i.test(reason);
  return memory ? { code: "no_memory", details: {} } : { code: "engine_failed", details: { reason } };
}

/**
 * @param {number} call
 * @param {keyof typeof calls} name
 * @param {any} given
 */
async function answer(call, name, given) {
  try {
    if (givenUp.has(call)) throw new GivenUp();
    const result = /** @type {{ preview?: { data: Uint8ClampedArray<ArrayBuffer> } }} */ (await calls[name](call, given));
    postMessage({ call, result }, { transfer: result.preview ? [result.preview.data.buffer] : [] });
  } catch (error) {
    postMessage({ call, error: told(error) });
  } finally {
    givenUp.delete(call);
  }
}

addEventListener("message", ({ data: { call, name, given } }) => {
  if (name === "giveUp") givenUp.add(call);
  else if (name === "close") photos.delete(given);
  else last = last.then(() => answer(call, name, given));
});
