// The chosen photo's settings, and what was found of it.
import { sureness, verdict } from "./found.js";
import { part } from "./part.js";
import { DEFAULTS } from "./queue.js";
import { number, percent, say, sayCode } from "./words.js";

/** @typedef {import("./queue.js").Item} Item */

export class Panel {
  /** @type {Item | null} */
  #item = null;
  #strength = part("strength", HTMLInputElement);
  #limit = part("limit", HTMLInputElement); // its end is "no limit"
  #keep = part("keep", HTMLInputElement);

  /** @param {{changed(): void, forAll(): void}} acts */
  constructor({ changed, forAll }) {
    const set = (/** @type {Partial<import("./queue.js").Settings>} */ change) => {
      if (!this.#item) return;
      Object.assign(this.#item.settings, change);
      this.#values();
      changed();
    };
    this.#strength.addEventListener("input", () => set({ strength: this.#strength.valueAsNumber / 100 }));
    this.#limit.addEventListener("input", () => {
      const stops = this.#limit.valueAsNumber;
      set({ maxStops: stops > 4 ? null : stops });
    });
    this.#keep.addEventListener("change", () => set({ keepHighlights: this.#keep.checked }));
    part("reset", HTMLButtonElement).addEventListener("click", () => set(DEFAULTS));
    part("forAll", HTMLButtonElement).addEventListener("click", forAll);
  }

  /** @param {Item | null} item @param {boolean} several Whether there are other photos. */
  show(item, several) {
    this.#item = item;
    const photo = item?.photo;
    part("settings", HTMLElement).hidden = part("saving", HTMLElement).hidden = item?.state === "failed";
    part("histograms", HTMLElement).hidden = !photo;
    if (!item) return;
    part("found", HTMLElement).textContent = photo ? verdict(photo) : item.file.name;
    const size = photo && say("size", { width: number(photo.width), height: number(photo.height) });
    const known = photo ? [sureness(photo), size].filter(Boolean).join(" · ") : "";
    part("details", HTMLElement).textContent = photo ? `${photo.name}\n${known}` : "";
    part("forAll", HTMLElement).hidden = !several;
    const codes = new Map([...(photo?.notes ?? []), ...item.notes].map((note) => [note.code, note]));
    part("notes", HTMLElement).hidden = !codes.size;
    part("noteList", HTMLElement).replaceChildren(
      ...[...codes.values()].map((note) => {
        const line = document.createElement("li");
        line.textContent = sayCode("note", note.code, note);
        return line;
      }),
    );
    this.#values();
  }

  #values() {
    if (!this.#item) return;
    const { strength, maxStops, keepHighlights } = this.#item.settings;
    this.#strength.valueAsNumber = Math.round(100 * strength);
    this.#limit.valueAsNumber = maxStops ?? 4.5;
    this.#keep.checked = keepHighlights;
    const limit = maxStops === null ? say("limitOff") : say("stops", { stops: number(maxStops, 1) });
    part("strengthValue", HTMLElement).textContent = percent(strength);
    part("limitValue", HTMLElement).textContent = limit;
    this.#strength.setAttribute("aria-valuetext", percent(strength));
    this.#limit.setAttribute("aria-valuetext", limit);
    for (const slider of [this.#strength, this.#limit]) {
      const { min, max, valueAsNumber } = slider;
      slider.style.setProperty("--filled", String((valueAsNumber - Number(min)) / (Number(max) - Number(min))));
    }
  }
}
