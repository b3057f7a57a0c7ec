// The list of photos: one after the other is opened and corrected; settings belong to each.
import { PhotoError } from "../engine/errors.js";

/** @typedef {import("../engine/types.js").Engine} Engine */
/** @typedef {import("../engine/types.js").OpenPhoto} OpenPhoto */
/** @typedef {import("../engine/types.js").Settings} Settings */
/** @typedef {import("../engine/types.js").Progress} Progress */
/** @typedef {"waiting" | "working" | "done" | "failed"} State */

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({ strength: 1, maxStops: null, keepHighlights: true });

/** @type {Progress} */
const START = { stage: "start", done: 0 };

/** A photo of the list. */
export class Item {
  /** @type {State} */
  state = "waiting";
  /** @type {Progress} While working. */
  progress = START;
  /** @type {OpenPhoto | null} Once done. */
  photo = null;
  /** @type {PhotoError | null} Once failed. */
  error = null;
  /** @type {import("../engine/types.js").Note[]} What its last download lacks. */
  notes = [];
  /** @type {AbortController} Ends the work on it. */
  work = new AbortController();

  /** @param {File} file @param {Settings} settings */
  constructor(file, settings) {
    this.file = file;
    this.settings = { ...settings };
  }
}

/** Sends "list" when photos come or go, and "change" with the photo when its state or progress changes. */
export class Queue extends EventTarget {
  /** @type {Item[]} */
  items = [];
  /** @type {Item | null} Opened before the others. */
  first = null;
  #running = false;
  /** @type {Promise<Engine> | null} */
  #engine = null;
  #open;

  /** @param {(onProgress: import("../engine/types.js").OnProgress) => Promise<Engine>} open Opens the engine of the chosen model. */
  constructor(open) {
    super();
    this.#open = open;
  }

  /** Load the engine, before there is a photo or for the next one. */
  engine() {
    if (!this.#engine) {
      const opening = this.#open((progress) => {
        const working = this.items.find((item) => item.state === "working");
        if (working) this.#change(working, { progress });
      });
      this.#engine = opening;
      opening.catch(() => {
        if (this.#engine === opening) this.#engine = null; // the next photo tries again
      });
    }
    return this.#engine;
  }

  /** @param {File[]} files @returns {Item[]} */
  add(files) {
    const items = files.map((file) => new Item(file, DEFAULTS));
    this.items.push(...items);
    this.dispatchEvent(new Event("list"));
    void this.#run();
    return items;
  }

  /** @param {Item} item */
  remove(item) {
    this.items = this.items.filter((other) => other !== item);
    if (this.first === item) this.first = null;
    this.#drop(item);
    this.dispatchEvent(new Event("list"));
  }

  /** @param {Item} item */
  retry(item) {
    if (item.error?.code === "engine_failed" || item.error?.code === "no_memory") this.#replaceEngine();
    this.#drop(item);
    this.#change(item);
    void this.#run();
  }

  /** Open all again, with another model. */
  redo() {
    for (const item of this.items) this.#drop(item);
    this.#replaceEngine();
    for (const item of this.items) this.#change(item);
    void this.#run();
  }

  /** The next photo opens an engine anew; the old one goes, unless photos are still open in it. */
  #replaceEngine() {
    const old = this.#engine;
    this.#engine = null;
    if (this.items.some((item) => item.photo || item.state === "working")) return;
    void old?.then((engine) => engine.close(), () => {});
  }

  /** As if it had just come, but for its settings. @param {Item} item */
  #drop(item) {
    item.work.abort();
    item.photo?.close();
    Object.assign(item, { state: "waiting", work: new AbortController(), photo: null, error: null, notes: [] });
  }

  /** @param {Item} item @param {Partial<Item>} [changes] */
  #change(item, changes) {
    Object.assign(item, changes);
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }

  #next() {
    const waits = (/** @type {Item} */ item) => item.state === "waiting";
    return this.first && waits(this.first) ? this.first : this.items.find(waits);
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    for (let item = this.#next(); item; item = this.#next()) await this.#correct(item);
    this.#running = false;
  }

  /** @param {Item} item */
  async #correct(item) {
    const { signal } = item.work;
    try {
      this.#change(item, { state: "working", progress: START });
      const engine = await this.engine();
      if (signal.aborted) return;
      const onProgress = (/** @type {Progress} */ progress) => {
        if (!signal.aborted) this.#change(item, { progress });
      };
      const photo = await engine.open(item.file, { signal, onProgress });
      if (signal.aborted) photo.close();
      else this.#change(item, { state: "done", photo });
    } catch (error) {
      if (signal.aborted) return;
      const known = error instanceof PhotoError ? error : new PhotoError("engine_failed", { reason: String(error) });
      this.#change(item, { state: "failed", error: known });
    }
  }
}
