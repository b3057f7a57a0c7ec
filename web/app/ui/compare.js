// Before and after, one over the other: a range input moves the line between them.
import { part } from "./part.js";
import { percent, say } from "./words.js";

/** @typedef {import("../engine/types.js").OpenPhoto} OpenPhoto */

export class Compare {
  #before = part("original", HTMLCanvasElement);
  #frame = part("compare", HTMLElement);
  #split = part("split", HTMLInputElement);
  /** @type {OpenPhoto | null} */
  #photo = null;

  /** Painted by the renderer, which may put another canvas in its place. */
  get after() {
    return part("after", HTMLCanvasElement);
  }

  constructor() {
    this.#split.addEventListener("input", () => this.#move());
    // The input takes the keys; the whole picture takes pointers, fingers, too, which else scroll the page up and down.
    this.#frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.#frame.setPointerCapture(event.pointerId);
      this.#follow(event);
      event.preventDefault();
      this.#split.focus({ preventScroll: true });
    });
    this.#frame.addEventListener("pointermove", (event) => {
      if (this.#frame.hasPointerCapture(event.pointerId)) this.#follow(event);
    });
    this.#move();
  }

  /**
   * Show another photo's original; its corrected picture is painted into `after`.
   * @param {OpenPhoto | null} photo
   */
  show(photo) {
    this.#frame.hidden = !photo;
    if (!photo || photo === this.#photo) return;
    this.#photo = photo;
    const { width, height, colorSpace } = photo.preview;
    Object.assign(this.#before, { width, height });
    this.#before.getContext("2d", { colorSpace })?.putImageData(photo.preview, 0, 0);
    part("stage", HTMLElement).style.setProperty("--ratio", String(width / height));
    this.#frame.style.setProperty("--width", `${width}px`);
    this.retell();
  }

  /** Say it again, in another language. */
  retell() {
    if (this.#photo) this.after.setAttribute("aria-label", say("afterPicture", { name: this.#photo.name }));
    this.#move();
  }

  /** @param {PointerEvent} event */
  #follow(event) {
    const { left, width } = this.#frame.getBoundingClientRect();
    this.#split.valueAsNumber = (100 * (event.clientX - left)) / width;
    this.#move();
  }

  #move() {
    const share = this.#split.valueAsNumber / 100;
    this.#frame.style.setProperty("--split", String(share));
    this.#split.setAttribute(
      "aria-valuetext",
      say("splitValue", { before: percent(share), after: percent(1 - share) }),
    );
  }
}
