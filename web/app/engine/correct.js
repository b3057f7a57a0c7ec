/** From a decoded photo to its correction: the network at 512 pixels, a bilateral grid for all sizes. */

import { DISPLAY_P3, isNear } from "./icc.js";
import { planes, reducedSize, resized } from "./reduce.js";
import { exposureErrorOf } from "./report.js";

const WORKING_SIDE = 512; // of the network's copy
const PREVIEW_SIDE = 2048;
const MEASURED_SIDE = 256; // at which the error in stops is measured

/**
 * @typedef {{ grid: Float32Array, corrected: Float32Array, wellExposed: number | null }} Result
 * @typedef {{
 *   correct(photo: Float32Array, width: number, height: number): Promise<Result>,
 *   fit(before: Float32Array, after: Float32Array, width: number, height: number): Promise<Float32Array>,
 * }} Models colours by planes, 0..1
 * @typedef {{ data: Uint8ClampedArray<ArrayBuffer>, width: number, height: number, colorSpace: PredefinedColorSpace }} Picture
 */

/**
 * @param {import("./decode.js").Photo} photo
 * @param {Models} models
 * @param {{ p3: boolean, step(done: number): Promise<void> }} host `p3`: whether pictures in Display P3 can be shown
 * @returns {Promise<{
 *   grid: Float32Array, preview: Picture, previewGrid: Float32Array, wellExposed: number | null, stops: number,
 * }>} `grid` is for the photo's own colours, `previewGrid` for those of the preview
 */
export async function correct({ pixels, width, height, space }, models, { p3, step }) {
  const shownSize = reducedSize(width, height, PREVIEW_SIDE);
  const shown = Uint8ClampedArray.from(resized(pixels, width, height, shownSize));
  await step(0.4);
  const size = reducedSize(width, height, WORKING_SIDE);
  const small = resized(pixels, width, height, size).map((value) => value / 255);
  await step(0.8);
  const seen = space ? planes(space.seen(small), 255) : planes(small, 1);
  const found = await models.correct(seen, size.width, size.height);
  let { grid } = found;
  if (space) {
    const after = space.carryBack(small, found.corrected);
    grid = await models.fit(planes(small, 1), after, size.width, size.height);
  }
  const measured = reducedSize(size.width, size.height, MEASURED_SIDE);
  const stops = exposureErrorOf(resized(small, size.width, size.height, measured), measured.width, measured.height, grid);
  const asP3 = p3 && space !== null && isNear(space.space, DISPLAY_P3);
  if (space && !asP3) space.toSrgb(shown, shown);
  return {
    grid,
    preview: { data: shown, ...shownSize, colorSpace: asP3 ? "display-p3" : "srgb" },
    previewGrid: asP3 ? grid : found.grid,
    wellExposed: found.wellExposed,
    stops,
  };
}
