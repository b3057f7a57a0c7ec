/** Pixels against the library: reduction, slicing with limits, the report, colour spaces. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ColourSpace, DISPLAY_P3, isNear, spaceOf } from "../engine/icc.js";
import { ADOBE_RGB_PROFILE, DISPLAY_P3_PROFILE } from "../engine/profiles.js";
import { planes, reducedSize, resized } from "../engine/reduce.js";
import { exposureError, histograms } from "../engine/report.js";
import { blended, identityGrid, sliceRows } from "../engine/slice.js";
import { upright } from "../engine/decode.js";
import { colours, decoded, grid, picture, reference } from "./reference.js";

for (const { height, width, side, values } of reference("reductions"))
  test(`${width} x ${height} reduced to ${side}`, () => {
    const made = colours(resized(picture(height, width), width, height, reducedSize(width, height, side)));
    assert.equal(made.length, values.length);
    made.forEach((value, i) => assert.ok(Math.abs(value - values[i]) < 1e-3, `${i}: ${value} is not ${values[i]}`));
  });

test("sizes are rounded as Python rounds", () => {
  assert.deepEqual(reducedSize(1024, 5, 512), { width: 512, height: 2 });
  assert.deepEqual(reducedSize(1024, 7, 512), { width: 512, height: 4 });
  assert.deepEqual(reducedSize(10000, 1, 512), { width: 512, height: 1 });
  assert.deepEqual(reducedSize(300, 200, 512), { width: 300, height: 200 });
});

for (const { height, width, settings, result, stops } of reference("slices"))
  test(`${width} x ${height} sliced with ${JSON.stringify(settings)}`, () => {
    const pixels = picture(height, width);
    const used = blended(grid(), settings.strength);
    const whole = new Uint8ClampedArray(pixels.length);
    const part = { width, height, peak: 255 };
    const middle = height >> 1;
    sliceRows(pixels, { ...part, top: 0, bottom: middle }, used, settings, whole);
    sliceRows(pixels, { ...part, top: middle, bottom: height }, used, settings, whole.subarray(middle * width * 4));
    const wanted = decoded(result);
    // float32 in the library, float64 here: a value between two may go to the other
    const apart = colours(whole).map((value, i) => Math.abs(value - wanted[i]));
    assert.ok(Math.max(...apart) <= 1 && apart.filter(Boolean).length <= apart.length / 200);
    const [before, after] = [new Float32Array(pixels.length), new Float32Array(pixels.length)];
    pixels.forEach((value, i) => (before[i] = value / 255));
    sliceRows(before, { ...part, top: 0, bottom: height, peak: 1 }, used, settings, after);
    assert.ok(Math.abs(exposureError(before, after) - stops) < 1e-3);
  });

test("the identity changes nothing, alpha neither", () => {
  const pixels = picture(5, 9).map((value, i) => (i % 4 === 3 ? i : value));
  const out = new Uint8ClampedArray(pixels.length);
  const part = { width: 9, height: 5, top: 0, bottom: 5, peak: 255 };
  sliceRows(pixels, part, identityGrid(), { maxStops: null, keepHighlights: true }, out);
  assert.deepEqual(out, pixels);
  sliceRows(pixels, part, blended(grid(), 0), { maxStops: null, keepHighlights: true }, out);
  assert.deepEqual(out, pixels);
});

test("histograms count each pixel of a small preview", () => {
  const data = picture(6, 7);
  const { before, after } = histograms({ data, width: 7, height: 6 }, grid(), { strength: 0, maxStops: null, keepHighlights: true });
  assert.equal(before.r.reduce((a, b) => a + b), 42);
  assert.equal(before.g[data[1]] > 0, true);
  assert.deepEqual(after, before);
});

for (const { name, profile, height, width, seen, carried } of reference("spaces"))
  test(`colours of ${name}`, () => {
    const found = spaceOf(decoded(profile));
    if (!seen) {
      assert.equal(found, name === "linear" ? "unusual" : "srgb");
      return;
    }
    assert.ok(typeof found === "object");
    const space = new ColourSpace(found);
    const small = Float32Array.from(picture(height, width), (value) => value / 255);
    near(colours(space.seen(small)), decoded(seen));
    const corrected = planes(small, 1).map((value) => Math.min(1, Math.max(0, value * 0.7 + 0.2)));
    const count = height * width;
    const made = space.carryBack(small, seenPlanes(corrected));
    near(
      Array.from({ length: 3 * count }, (_, i) => made[(i % 3) * count + Math.floor(i / 3)] * 255),
      decoded(carried),
    );
  });

/** @param {Float32Array} values */
const seenPlanes = (values) => values.map((value) => Math.fround(value));

/** Both round colours to 8 bits on the way, and LittleCMS computes with 14. @param {number[]} made @param {Uint8Array} wanted */
function near(made, wanted) {
  const apart = made.map((value, i) => Math.abs(value - wanted[i]));
  assert.ok(Math.max(...apart) < 2.01, `up to ${Math.max(...apart)}`);
  const mean = apart.reduce((a, b) => a + b) / apart.length;
  assert.ok(mean < 0.25, `${mean} on average`);
}

test("the profiles to write are those of the library", () => {
  const [p3, adobe] = reference("spaces");
  assert.deepEqual(DISPLAY_P3_PROFILE, decoded(p3.profile));
  assert.deepEqual(ADOBE_RGB_PROFILE, decoded(adobe.profile));
  const found = spaceOf(DISPLAY_P3_PROFILE);
  assert.ok(typeof found === "object" && isNear(found, DISPLAY_P3));
});

test("a damaged profile is not a reason to refuse", () => {
  assert.equal(spaceOf(new Uint8Array(20)), "damaged");
  assert.equal(spaceOf(DISPLAY_P3_PROFILE.slice(0, 300)), "damaged");
});

test("each EXIF orientation turns as the library turns", () => {
  // Rows of a 3 x 2 picture: 0 1 2, 3 4 5.
  const turned = {
    1: [3, [0, 1, 2, 3, 4, 5]],
    2: [3, [2, 1, 0, 5, 4, 3]],
    3: [3, [5, 4, 3, 2, 1, 0]],
    4: [3, [3, 4, 5, 0, 1, 2]],
    5: [2, [0, 3, 1, 4, 2, 5]],
    6: [2, [3, 0, 4, 1, 5, 2]],
    7: [2, [5, 2, 4, 1, 3, 0]],
    8: [2, [2, 5, 1, 4, 0, 3]],
  };
  for (const [orientation, [width, order]] of Object.entries(turned)) {
    const pixels = new Uint8ClampedArray(24).map((_, i) => i >> 2);
    const made = upright({ pixels, width: 3, height: 2 }, Number(orientation));
    assert.equal(made.width, width, orientation);
    assert.deepEqual([...made.pixels].filter((_, i) => i % 4 === 0), order, orientation);
  }
});
