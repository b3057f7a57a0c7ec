/** Slicing of the bilateral grid: each pixel gets the transform at its place and luminance (`bilateral/grid.py`). */

import { UNCLIPPED, limitStops } from "./limits.js";

/** Nodes along y, x and luminance. */
export const GRID = { height: 22, width: 22, depth: 8 };
const NODE = 12;
const COLUMN = GRID.depth * NODE;
const ROW = GRID.width * COLUMN;

/** @param {number} index of a coefficient */
const identity = (index) => (index % NODE === 0 || index % NODE === 5 || index % NODE === 10 ? 1 : 0);

/**
 * Between the identity (0) and the grid (1), or beyond.
 * @param {Float32Array} grid
 * @param {number} strength
 */
export const blended = (grid, strength) =>
  strength === 1 ? grid : grid.map((value, i) => identity(i) + strength * (value - identity(i)));

/** @returns {Float32Array} the grid that changes nothing */
export const identityGrid = () => Float32Array.from({ length: GRID.height * ROW }, (_, i) => identity(i));

/**
 * Slice rows of a photo.
 * @param {Uint8ClampedArray | Float32Array} photo `(height, width, 4)`
 * @param {{ width: number, height: number, top: number, bottom: number, peak: number }} part the photo's size, the rows
 *   to slice, and the value of white
 * @param {Float32Array} grid of the full strength that is wanted; see {@link blended}
 * @param {{ maxStops: number | null, keepHighlights: boolean }} limits
 * @param {Uint8ClampedArray | Float32Array} out `(bottom - top, width, 4)`, in the same range
 */
export function sliceRows(photo, { width, height, top, bottom, peak }, grid, { maxStops, keepHighlights }, out) {
  const row = new Float32Array(ROW);
  const step = new Float32Array(ROW - COLUMN);
  const most = maxStops === null ? 0 : 2 ** maxStops;
  const before = [0, 0, 0];
  const after = [0, 0, 0];
  const across = (GRID.width - 1) / width;
  const down = 1 / peak;
  let made = 0;
  for (let y = top; y < bottom; y++) {
    const place = ((y + 0.5) * (GRID.height - 1)) / height;
    const lower = Math.min(Math.trunc(place), GRID.height - 2);
    interpolateRow(grid, lower * ROW, place - lower, row, step);
    let pixel = y * width * 4;
    for (let x = 0; x < width; x++, pixel += 4, made += 4) {
      const r = photo[pixel] * down;
      const g = photo[pixel + 1] * down;
      const b = photo[pixel + 2] * down;
      const position = (x + 0.5) * across;
      let column = position | 0;
      if (column > GRID.width - 2) column = GRID.width - 2;
      const s = position - column;
      const level = (0.25 * r + 0.5 * g + 0.25 * b) * (GRID.depth - 1);
      let node = level | 0;
      if (node > GRID.depth - 2) node = GRID.depth - 2;
      const v = level - node;
      const u = 1 - v;
      const us = u * s;
      const vs = v * s;
      const n = column * COLUMN + node * NODE;
      const m = n + NODE;
      let red =
        (u * row[n] + us * step[n] + v * row[m] + vs * step[m]) * r +
        (u * row[n + 1] + us * step[n + 1] + v * row[m + 1] + vs * step[m + 1]) * g +
        (u * row[n + 2] + us * step[n + 2] + v * row[m + 2] + vs * step[m + 2]) * b +
        (u * row[n + 3] + us * step[n + 3] + v * row[m + 3] + vs * step[m + 3]);
      let green =
        (u * row[n + 4] + us * step[n + 4] + v * row[m + 4] + vs * step[m + 4]) * r +
        (u * row[n + 5] + us * step[n + 5] + v * row[m + 5] + vs * step[m + 5]) * g +
        (u * row[n + 6] + us * step[n + 6] + v * row[m + 6] + vs * step[m + 6]) * b +
        (u * row[n + 7] + us * step[n + 7] + v * row[m + 7] + vs * step[m + 7]);
      let blue =
        (u * row[n + 8] + us * step[n + 8] + v * row[m + 8] + vs * step[m + 8]) * r +
        (u * row[n + 9] + us * step[n + 9] + v * row[m + 9] + vs * step[m + 9]) * g +
        (u * row[n + 10] + us * step[n + 10] + v * row[m + 10] + vs * step[m + 10]) * b +
        (u * row[n + 11] + us * step[n + 11] + v * row[m + 11] + vs * step[m + 11]);
      let ceiling = 1;
      if (keepHighlights) {
        ceiling = r > g ? (r > b ? r : b) : g > b ? g : b;
        if (ceiling < UNCLIPPED) ceiling = UNCLIPPED;
      }
      red = red < 0 ? 0 : red > ceiling ? ceiling : red;
      green = green < 0 ? 0 : green > ceiling ? ceiling : green;
      blue = blue < 0 ? 0 : blue > ceiling ? ceiling : blue;
      if (most) {
        before[0] = r;
        before[1] = g;
        before[2] = b;
        after[0] = red;
        after[1] = green;
        after[2] = blue;
        limitStops(before, after, most);
        red = after[0];
        green = after[1];
        blue = after[2];
      }
      out[made] = red * peak;
      out[made + 1] = green * peak;
      out[made + 2] = blue * peak;
      out[made + 3] = photo[pixel + 3];
    }
  }
}

/**
 * The grid at one row of pixels, and its differences from column to column.
 * @param {Float32Array} grid
 * @param {number} start of the lower row of nodes
 * @param {number} share of the upper one
 * @param {Float32Array} row
 * @param {Float32Array} step
 */
function interpolateRow(grid, start, share, row, step) {
  for (let k = 0; k < ROW; k++) row[k] = grid[start + k] + share * (grid[start + ROW + k] - grid[start + k]);
  for (let k = 0; k < step.length; k++) step[k] = row[k + COLUMN] - row[k];
}
