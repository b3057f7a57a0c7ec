/** The same as engine.js, where a program serves the page and corrects the photos: `expcorr app`. */

import { hasP3 } from "./engine.js";
import { PhotoError } from "./errors.js";

/**
 * @typedef {import("./types.js").Engine} Engine
 * @typedef {import("./types.js").OpenPhoto} OpenPhoto
 * @typedef {import("./types.js").Options} Options
 * @typedef {{
 *   photo: string, width: number, height: number, stops: number | null, wellExposed: number | null,
 *   preview: { width: number, height: number, wide: boolean },
 * }} Opened
 */

const TOKEN = "expcorr-token";

/** The program's token: it stands in the address that the program opened, and is taken out of it at once. */
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN) ?? "";
}

/**
 * @param {{ base: string, model: "fast" | "paper", onProgress?: import("./types.js").OnProgress }} options
 * @returns {Promise<Engine>}
 * @throws {PhotoError} `program_ended`; `refused` {reason}: it wants another token
 */
export async function openServerEngine({ base, model, onProgress }) {
  const program = new Program(new URL("app/", base), token());
  onProgress?.({ stage: "start", done: 0 });
  /** @type {{ models: ("fast" | "paper")[] }} */
  const { models } = await (await program.ask("GET", "models")).json();
  onProgress?.({ stage: "start", done: 1 });
  return new ServerEngine(program, models.includes(model) ? model : models[0]);
}

/** @implements {Engine} */
class ServerEngine {
  kind = /** @type {const} */ ("server");
  #program;

  /**
   * @param {Program} program
   * @param {"fast" | "paper"} model
   */
  constructor(program, model) {
    this.#program = program;
    this.model = model;
  }

  /**
   * @param {Blob & { name?: string }} file
   * @param {Options} [options]
   * @returns {Promise<OpenPhoto>}
   */
  async open(file, { signal, onProgress } = {}) {
    const name = file.name || "photo";
    onProgress?.({ stage: "read", done: 0 });
    const query = new URLSearchParams({ name, model: this.model, p3: String(hasP3()) });
    /** @type {Opened} */
    const found = await (await this.#program.ask("POST", `photos?${query}`, { body: file, signal })).json();
    const place = `photos/${found.photo}`;
    const close = () => {
      removeEventListener("pagehide", left);
      // Also while the page goes away.
      this.#program.ask("DELETE", place, { keepalive: true }).catch(() => {});
    };
    const left = (/** @type {PageTransitionEvent} */ event) => event.persisted || close();
    addEventListener("pagehide", left);
    try {
      onProgress?.({ stage: "correct", done: 0.5 });
      const parts = ["preview", "grid"].map((part) => this.#program.ask("GET", `${place}/${part}`, { signal }));
      const [pixels, grid] = await Promise.all(parts.map(async (answer) => (await answer).arrayBuffer()));
      onProgress?.({ stage: "correct", done: 1 });
      const { width, height, wide } = found.preview;
      return {
        name,
        width: found.width,
        height: found.height,
        type: file.type,
        preview: new ImageData(new Uint8ClampedArray(pixels), width, height, { colorSpace: wide ? "display-p3" : "srgb" }),
        grid: new Float32Array(grid),
        wellExposed: found.wellExposed,
        stops: found.stops,
        notes: [],
        save: (settings, saving) => this.#save(place, settings, saving),
        close,
      };
    } catch (error) {
      close();
      throw error;
    }
  }

  /**
   * @param {string} place
   * @param {import("./types.js").Settings & { format: import("./types.js").Format }} settings
   * @param {Options} [options]
   */
  async #save(place, { strength, maxStops, keepHighlights, format }, { signal, onProgress } = {}) {
    const query = new URLSearchParams({ strength: String(strength), keep_highlights: String(keepHighlights) });
    if (maxStops !== null) query.set("max_stops", String(maxStops));
    if (format !== "same") query.set("format", format);
    onProgress?.({ stage: "save", done: 0 });
    const answer = await this.#program.ask("POST", `${place}?${query}`, { signal });
    /** @type {{ name: string, leftOut: string[] }} */
    const { name, leftOut } = JSON.parse(answer.headers.get("Expcorr-Result") ?? "");
    const blob = await answer.blob();
    onProgress?.({ stage: "save", done: 1 });
    return { blob, name, notes: leftOut.length ? [{ code: "left_out", what: leftOut.join(", ") }] : [] };
  }

  close() {}
}

class Program {
  #base;
  #token;

  /**
   * @param {URL} base
   * @param {string} token
   */
  constructor(base, token) {
    this.#base = base;
    this.#token = token;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {RequestInit} [more]
   * @returns {Promise<Response>}
   */
  async ask(method, path, more) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    /** @type {Response} */
    let answer;
    try {
      answer = await fetch(new URL(path, this.#base), { method, headers, ...more });
    } catch (error) {
      if (more?.signal?.aborted) throw error;
      throw new PhotoError("program_ended");
    }
    if (answer.ok) return answer;
    /** @type {{ error?: string }} */
    const { error } = await answer.json().catch(() => ({}));
    throw new PhotoError("refused", { reason: error ?? answer.statusText });
  }
}
