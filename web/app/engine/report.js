/** What is told of a photo: by how many stops it is off, and its histograms (`expcorr_core/image/report.py`). */

import { luma, toLight } from "./limits.js";
import { blended, sliceRows } from "./slice.js";

const BLACK = 1.5 / 255;
const WHITE = 253.5 / 255;
const ABOVE = 255.5 / 255;
const COUNTED = 100_000; // pixels that a histogram counts at most

/**
 * By how many stops a photo is too bright: the median change of luminance, without pixels that are lost.
 * @param {Float32Array} before `(n, 4)`, 0..1
 * @param {Float32Array} after same shape
 */
export function exposureError(before, after) {
  const stops = [];
  for (let i = 0; i < before.length; i += 4) {
    const [light, wanted] = [before, after].map((pixels) => {
      const [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]];
      const brightest = Math.max(r, g, b);
      const lost = brightest < BLACK || (brightest > WHITE && brightest <= ABOVE);
      return lost ? 0 : luma(toLight(r), toLight(g), toLight(b));
    });
    if (light && wanted) stops.push(Math.log2(light / wanted));
  }
  stops.sort((a, b) => a - b);
  return stops.length ? stops[(stops.length - 1) >> 1] : 0;
}

/**
 * The same of a small photo and its correction by a grid.
 * @param {Float32Array} small `(height, width, 4)`, 0..1
 * @param {number} width
 * @param {number} height
 * @param {Float32Array} grid
 */
export function exposureErrorOf(small, width, height, grid) {
  const after = new Float32Array(small.length);
  sliceRows(small, { width, height, top: 0, bottom: height, peak: 1 }, grid, { maxStops: null, keepHighlights: false }, after);
  return exposureError(small, after);
}

/** @typedef {{ r: Uint32Array, g: Uint32Array, b: Uint32Array }} Histogram how often each 8-bit value occurs */

/**
 * @param {Uint8ClampedArray} pixels `(n, 4)`
 * @returns {Histogram}
 */
export function histogramOf(pixels) {
  const [r, g, b] = [new Uint32Array(256), new Uint32Array(256), new Uint32Array(256)];
  for (let i = 0; i < pixels.length; i += 4) {
    r[pixels[i]]++;
    g[pixels[i + 1]]++;
    b[pixels[i + 2]]++;
  }
  return { r, g, b };
}

/**
 * Histograms of a preview before and after its correction, of evenly spaced rows and columns of it.
 * @param {{ data: Uint8ClampedArray, width: number, height: number }} preview
 * @param {Float32Array} grid
 * @param {import("./types.js").Settings} settings
 * @returns {{ before: Histogram, after: Histogram }}
 */
export function histograms(preview, grid, settings) {
  const step = Math.ceil(Math.sqrt((preview.width * preview.height) / COUNTED));
  const width = Math.ceil(preview.width / step);
  const height = Math.ceil(preview.height / step);
  const before = new Uint8ClampedArray(width * height * 4);
  const from = new Uint32Array(preview.data.buffer, preview.data.byteOffset, preview.data.length / 4);
  const to = new Uint32Array(before.buffer);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) to[y * width + x] = from[y * step * preview.width + x * step];
  const after = new Uint8ClampedArray(before.length);
  sliceRows(before, { width, height, top: 0, bottom: height, peak: 255 }, blended(grid, settings.strength), settings, after);
  return { before: histogramOf(before), after: histogramOf(after) };
}
