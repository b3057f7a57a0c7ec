// Full-size results go to the browser's downloads, one after the other.
import { PhotoError } from "../engine/errors.js";
import { part } from "./part.js";
import { percent, say, sayCode } from "./words.js";

/** @typedef {import("./queue.js").Item} Item */

const KEPT = 30_000; // ms until a blob is let go: browsers may begin to write it late

export class Downloads {
  #one = part("download", HTMLButtonElement);
  #all = part("downloadAll", HTMLButtonElement);
  #format = part("format", HTMLSelectElement);
  #saved = part("saved", HTMLElement);
  #busy = false;
  #count = 0;

  /** @param {{chosen(): Item | null, done(): Item[], saved(): void, complain(sentence: string): void}} page */
  constructor(page) {
    this.page = page;
    this.#one.addEventListener("click", () => {
      const item = page.chosen();
      if (item) void this.#save([item], this.#one);
    });
    this.#all.addEventListener("click", () => this.#save(page.done(), this.#all));
  }

  /** Say how many there are to download. */
  tell() {
    this.#count = this.page.done().length;
    this.#all.hidden = this.#count < 2;
    this.#one.disabled = !this.page.chosen()?.photo;
    if (!this.#busy) this.#label();
  }

  /** The words of before do not hold for another photo. */
  forget() {
    if (!this.#busy) this.#saved.textContent = "";
  }

  #label() {
    this.#one.textContent = say("download");
    this.#all.textContent = say("downloadAll", { count: this.#count });
    for (const button of [this.#one, this.#all]) button.removeAttribute("aria-disabled");
  }

  /** @param {Item[]} items @param {HTMLButtonElement} button that shows the progress */
  async #save(items, button) {
    if (this.#busy) return;
    this.#busy = true;
    this.#saved.textContent = "";
    for (const each of [this.#one, this.#all]) each.setAttribute("aria-disabled", "true"); // keeps the focus
    const format = this.#format.value === "png" ? "png" : "same";
    const names = [];
    for (const item of items) {
      const { photo, work } = item;
      if (!photo) continue; // removed meanwhile
      const { signal } = work;
      button.textContent = say("stage.save", { share: percent(0) });
      try {
        const saved = await photo.save(
          { ...item.settings, format },
          { signal, onProgress: ({ done }) => (button.textContent = say("stage.save", { share: percent(done) })) },
        );
        if (signal.aborted) continue;
        item.notes = saved.notes;
        offer(saved.blob, saved.name);
        names.push(saved.name);
      } catch (error) {
        if (signal.aborted) continue;
        const { code, details } = error instanceof PhotoError ? error : failure(error);
        this.page.complain(say("notSaved", { name: photo.name, why: sayCode("error", code, details) }));
      }
    }
    this.#busy = false;
    this.#label();
    if (names.length === 1) this.#saved.textContent = say("saved", { name: names[0] });
    if (names.length > 1) this.#saved.textContent = say("savedAll", { count: names.length });
    this.page.saved();
  }
}

/** @param {unknown} error */
const failure = (error) => new PhotoError("engine_failed", { reason: String(error) });

/** @param {Blob} blob @param {string} name */
function offer(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
}
