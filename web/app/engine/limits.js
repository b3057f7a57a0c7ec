/** Light, and what a correction may not do to any pixel (`expcorr_core/image/limits.py`, `colour.py`). */

export const UNCLIPPED = 253 / 255; // the brightest value that does not count as clipped
const STEPS = 4096;

/** @param {number} value sRGB, 0..1 */
export const toLight = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);

/** @param {number} light linear, 0..1 */
export const toSrgb = (light) => (light <= 0.0031308 ? light * 12.92 : 1.055 * Math.max(0, light) ** (1 / 2.4) - 0.055);

const table = Float64Array.from({ length: STEPS + 2 }, (_, i) => toLight(i / STEPS));

/** @param {number} value 0..1 */
function lightOf(value) {
  const place = value * STEPS;
  const below = place | 0;
  return table[below] + (place - below) * (table[below + 1] - table[below]);
}

/**
 * @param {number} r
 * @param {number} g
 * @param {number} b
 */
export const luma = (r, g, b) => 0.2126 * r + 0.7152 * g + 0.0722 * b;

/**
 * A pixel that changes by at most `most` times in linear light: mixed with what it was until it does.
 * @param {number[]} before 0..1
 * @param {number[]} after 0..1, changed in place
 * @param {number} most 2 to the power of the stops
 */
export function limitStops(before, after, most) {
  const roughly = luma(lightOf(before[0]), lightOf(before[1]), lightOf(before[2]));
  const made = luma(lightOf(after[0]), lightOf(after[1]), lightOf(after[2]));
  if (made < roughly * most * 0.99 && made > (roughly / most) * 1.01) return;
  const was = luma(toLight(before[0]), toLight(before[1]), toLight(before[2]));
  const now = luma(toLight(after[0]), toLight(after[1]), toLight(after[2]));
  const beyond = now - Math.min(Math.max(now, was / most), was * most);
  if (beyond === 0) return;
  const share = beyond / (now - was);
  for (let c = 0; c < 3; c++) {
    const light = toLight(after[c]);
    after[c] = toSrgb(Math.min(1, Math.max(1e-9, light + share * (toLight(before[c]) - light))));
  }
}
