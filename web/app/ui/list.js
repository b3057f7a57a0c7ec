// The list of photos: a thumbnail, the name and the state of each; one is chosen.
import { verdict } from "./found.js";
import { part } from "./part.js";
import { percent, say, sayCode } from "./words.js";

/** @typedef {import("./queue.js").Item} Item */

const THUMB = 144; // pixels

/**
 * What a photo's state is, in words.
 * @param {Item} item
 */
export function stateInWords(item) {
  switch (item.state) {
    case "waiting":
      return say("waiting");
    case "working":
      return say(`stage.${item.progress.stage}`, { share: percent(item.progress.done) });
    case "done":
      return item.photo ? verdict(item.photo) : "";
    case "failed":
      return item.error ? sayCode("error", item.error.code, item.error.details) : "";
  }
}

class Entry {
  element = document.createElement("li");
  pick = document.createElement("button");
  #thumb = document.createElement("canvas");
  #name = document.createElement("span");
  #state = document.createElement("span");
  #progress = document.createElement("progress");
  #retry = document.createElement("button");
  #remove = document.createElement("button");

  /** @param {Item} item @param {{choose(item: Item): void, retry(item: Item): void, remove(item: Item): void}} acts */
  constructor(item, acts) {
    this.item = item;
    this.#thumb.width = this.#thumb.height = THUMB;
    this.#name.className = "name";
    this.#name.textContent = item.file.name;
    this.#state.className = "state";
    this.#progress.setAttribute("aria-hidden", "true"); // the state says it
    const text = document.createElement("span");
    text.className = "text";
    text.append(this.#name, this.#state);
    this.pick.className = "pick";
    this.pick.append(this.#thumb, text);
    this.#retry.className = "quiet retry";
    this.#remove.className = "quiet remove";
    for (const button of [this.pick, this.#retry, this.#remove]) button.type = "button";
    this.pick.addEventListener("click", () => acts.choose(item));
    this.#retry.addEventListener("click", () => {
      this.pick.focus(); // this button goes
      acts.retry(item);
    });
    this.#remove.addEventListener("click", () => acts.remove(item));
    this.element.append(this.pick, this.#progress, this.#retry, this.#remove);
    this.tell();
  }

  tell() {
    const { item } = this;
    this.element.dataset.state = item.state;
    this.#state.textContent = stateInWords(item);
    this.#progress.hidden = item.state !== "working";
    this.#progress.value = item.progress.done;
    this.#retry.hidden = item.state !== "failed";
    this.#retry.textContent = say("retry");
    this.#retry.setAttribute("aria-label", say("retryName", { name: item.file.name }));
    this.#remove.setAttribute("aria-label", say("remove", { name: item.file.name }));
    if (item.state === "waiting" || item.state === "failed") this.draw(null);
  }

  /** @param {HTMLCanvasElement | null} picture The middle of it is shown. */
  draw(picture) {
    const context = this.#thumb.getContext("2d");
    context?.clearRect(0, 0, THUMB, THUMB);
    if (!context || !picture) return;
    const side = Math.min(picture.width, picture.height);
    context.imageSmoothingQuality = "high";
    const [left, top] = [(picture.width - side) / 2, (picture.height - side) / 2];
    context.drawImage(picture, left, top, side, side, 0, 0, THUMB, THUMB);
  }
}

export class List {
  #list = part("list", HTMLUListElement);
  #acts;
  /** @type {Map<Item, Entry>} */
  #entries = new Map();

  /** @param {{choose(item: Item): void, retry(item: Item): void, remove(item: Item): void}} acts */
  constructor(acts) {
    this.#acts = acts;
  }

  /** @param {Item[]} items @param {Item | null} chosen */
  show(items, chosen) {
    for (const [item, entry] of this.#entries)
      if (!items.includes(item)) {
        entry.element.remove();
        this.#entries.delete(item);
      }
    for (const item of items) {
      let entry = this.#entries.get(item);
      if (!entry) {
        entry = new Entry(item, this.#acts);
        this.#entries.set(item, entry);
        this.#list.append(entry.element);
      }
      if (item === chosen) entry.pick.setAttribute("aria-current", "true");
      else entry.pick.removeAttribute("aria-current");
    }
  }

  /** Say a photo's state, or all, again. @param {Item} [item] */
  tell(item) {
    if (item) this.#entries.get(item)?.tell();
    else for (const entry of this.#entries.values()) entry.tell();
  }

  /** @param {Item} item @param {HTMLCanvasElement} picture */
  draw(item, picture) {
    this.#entries.get(item)?.draw(picture);
  }

  /** @param {Item} item */
  focus(item) {
    this.#entries.get(item)?.pick.focus();
  }

  /** @param {Item} item */
  reveal(item) {
    this.#entries.get(item)?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
