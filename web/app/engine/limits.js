/** Light, and what a correction may not do to any pixel (`expcorr_core/image/limits.py`, `colour.py`). */

export const UNCLIPPED = 253 / 255; // the brightest value that does not count as clipped
const STEPS = 4096; // of tabled curves

/** @param {number} value sRGB, 0..1 */
export const toLight = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);

/** @param {number} light linear, 0..1 */
export const toSrgb = (light) => (light <= 0.0031308 ? light * 12.92 : 1.055 * Math.max(0, light) ** (1 / 2.4) - 0.055);

const lights = Float64Array.from({ length: STEPS + 2 }, (_, i) => toLight(i / STEPS));
const values = Float64Array.from({ length: STEPS + 2 }, (_, i) => toSrgb((i / STEPS) ** 2)); // finer where it is dark

/**
 * A curve between its steps, to 1e-6: powers would take most of the time.
 * @param {Float64Array} steps
 * @param {number} value 0..1
 */
function between(steps, value) {
  const place = value * STEPS;
  const below = place | 0;
  return steps[below] + (place - below) * (steps[below + 1] - steps[below]);
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
  const light = [between(lights, before[0]), between(lights, before[1]), between(lights, before[2])];
  const made = [between(lights, after[0]), between(lights, after[1]), between(lights, after[2])];
  const was = luma(light[0], light[1], light[2]);
  const now = luma(made[0], made[1], made[2]);
  const beyond = now - Math.min(Math.max(now, was / most), was * most);
  if (beyond === 0) return;
  const share = beyond / (now - was);
  for (let c = 0; c < 3; c++) after[c] = between(values, Math.sqrt(Math.max(0, made[c] + share * (light[c] - made[c]))));
}
