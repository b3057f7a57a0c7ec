/** What the unit tests share: values of the Python library (`reference/make.py`), and the same pictures as it has. */

import { readFileSync } from "node:fs";

/**
 * @param {string} name
 * @returns {any[]}
 */
export const reference = (name) => JSON.parse(readFileSync(new URL(`reference/${name}.json`, import.meta.url), "utf8"));

/** @param {string} text base64 */
export const decoded = (text) => new Uint8Array(Buffer.from(text, "base64"));

/**
 * The picture that `make.py` has, `(height, width, 4)`.
 * @param {number} height
 * @param {number} width
 */
export function picture(height, width) {
  const pixels = new Uint8ClampedArray(height * width * 4).fill(255);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) pixels[(y * width + x) * 4 + c] = (x * x * 3 + y * 17 + c * 41 + x * y) % 256;
  return pixels;
}

/** The grid that `make.py` has. */
export const grid = () =>
  Float32Array.from({ length: 22 * 22 * 8 * 12 }, (_, i) => {
    const noise = ((i * 7919 + Math.floor(i / 12) * 31) % 1009) / 1009 - 0.5;
    return ([0, 5, 10].includes(i % 12) ? 1.2 : 0) + noise * 0.4;
  });

/**
 * Without alpha.
 * @param {ArrayLike<number>} pixels `(n, 4)`
 */
export const colours = (pixels) => Array.from(pixels).filter((_, i) => i % 4 < 3);
