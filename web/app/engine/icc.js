/**
 * Colour spaces of ICC profiles: to sRGB for the network, and back (`expcorr_core/photos/icc.py`).
 *
 * A photo keeps its own space: only the small pair of pictures that the correction is fitted to is converted, so that no
 * colour of the full-size photo is clipped or rounded.
 */

import { textOf, viewOf } from "./bytes.js";
import { toLight, toSrgb } from "./limits.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {(value: number) => number} Curve */
/** @typedef {{ matrix: number[], curves: Curve[], inverse: Curve[] }} Space `matrix` of light to XYZ under D50, by rows */

const STEPS = 9; // per axis of the colours that are tested to see whether a space is sRGB
const NEAR = 2; // of 255: profiles of sRGB itself differ by rounding
const TONE_NEAR = 0.05; // of 1: tone curves that differ less from sRGB's count as sRGB's
const SAMPLES = 4096;
const D50 = [0.9642, 1, 0.8249];
const BRADFORD = [0.8951, 0.2664, -0.1614, -0.7502, 1.7135, 0.0367, 0.0389, -0.0685, 1.0296];

/** @param {number[]} m @param {number[]} v */
const times = (m, v) => [0, 3, 6].map((row) => m[row] * v[0] + m[row + 1] * v[1] + m[row + 2] * v[2]);

/** @param {number[]} a @param {number[]} b */
function product(a, b) {
  const columns = [0, 1, 2].map((c) => times(a, [b[c], b[c + 3], b[c + 6]]));
  return [0, 1, 2].flatMap((row) => columns.map((column) => column[row]));
}

/** @param {number[]} m */
function inverted(m) {
  const [a, b, c, d, e, f, g, h, i] = m;
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const adjugate = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f];
  return [...adjugate, d * h - e * g, b * g - a * h, a * e - b * d].map((value) => value / determinant);
}

/**
 * A space with sRGB's curve.
 * @param {number[]} primaries x and y of white, red, green and blue
 * @returns {Space}
 */
function spaceOfPrimaries(primaries) {
  const xyz = [0, 2, 4, 6].map((k) => [primaries[k] / primaries[k + 1], 1, (1 - primaries[k] - primaries[k + 1]) / primaries[k + 1]]);
  const [white, ...colours] = xyz;
  const columns = [0, 1, 2].flatMap((row) => colours.map((colour) => colour[row]));
  const amounts = times(inverted(columns), white);
  const cones = times(BRADFORD, white);
  const wanted = times(BRADFORD, D50);
  const scale = [wanted[0] / cones[0], 0, 0, 0, wanted[1] / cones[1], 0, 0, 0, wanted[2] / cones[2]];
  const adapted = product(inverted(BRADFORD), product(scale, BRADFORD));
  const matrix = product(adapted, columns.map((value, i) => value * amounts[i % 3]));
  return { matrix, curves: [toLight, toLight, toLight], inverse: [toSrgb, toSrgb, toSrgb] };
}

export const SRGB = spaceOfPrimaries([0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06]);
export const DISPLAY_P3 = spaceOfPrimaries([0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06]);

/**
 * What a profile says of a photo of red, green and blue.
 *
 * @param {Bytes} profile
 * @param {"RGB" | "GRAY"} colours of the photo
 * @returns {"srgb" | "unusual" | "damaged" | Space} "unusual": only the browser can interpret it
 */
export function spaceOf(profile, colours = "RGB") {
  try {
    const tags = tagsOf(profile);
    if (textOf(profile, 36, 40) !== "acsp") return "damaged";
    const kind = textOf(profile, 16, 20).trim();
    if (kind === "GRAY" && colours === "GRAY") {
      const tone = curveOf(profile, tags.get("kTRC"));
      return isFar(tone) ? "unusual" : "srgb";
    }
    if (kind !== "RGB" || tags.has("A2B0") || textOf(profile, 20, 24) !== "XYZ ") return "unusual";
    const curves = ["rTRC", "gTRC", "bTRC"].map((name) => curveOf(profile, tags.get(name)));
    if (curves.some(isFar)) return "unusual";
    const view = viewOf(profile);
    const columns = ["rXYZ", "gXYZ", "bXYZ"].map((name) => {
      const { start } = tags.get(name) ?? { start: profile.length };
      return [8, 12, 16].map((place) => view.getInt32(start + place) / 65536);
    });
    const matrix = [0, 1, 2].flatMap((row) => columns.map((column) => column[row]));
    if (!inverted(matrix).every(Number.isFinite)) return "damaged";
    const space = { matrix, curves, inverse: curves.map(inverseOf) };
    return isNear(space, SRGB) ? "srgb" : space;
  } catch {
    return "damaged";
  }
}

/**
 * Whether a tone curve is so different from sRGB's that values cannot stand for what is seen.
 * @param {Curve} curve
 */
function isFar(curve) {
  for (let i = 0; i <= 255; i++) if (Math.abs(toSrgb(Math.min(1, Math.max(0, curve(i / 255)))) - i / 255) >= TONE_NEAR) return true;
  return false;
}

/** @param {Bytes} profile */
function tagsOf(profile) {
  const view = viewOf(profile);
  const tags = new Map();
  const count = Math.min(100, view.getUint32(128));
  for (let i = 0, place = 132; i < count; i++, place += 12) {
    const name = textOf(profile, place, place + 4);
    tags.set(name, { start: view.getUint32(place + 4), size: view.getUint32(place + 8) });
  }
  return /** @type {Map<string, { start: number, size: number }>} */ (tags);
}

/**
 * @param {Bytes} profile
 * @param {{ start: number } | undefined} tag
 * @returns {Curve}
 */
function curveOf(profile, tag) {
  if (!tag) throw new RangeError("no curve");
  const view = viewOf(profile);
  const { start } = tag;
  const kind = textOf(profile, start, start + 4);
  if (kind === "curv") {
    const count = view.getUint32(start + 8);
    if (count === 0) return (value) => value;
    if (count === 1) {
      const gamma = view.getUint16(start + 12) / 256;
      return (value) => value ** gamma;
    }
    const values = Float64Array.from({ length: count }, (_, i) => view.getUint16(start + 12 + 2 * i) / 65535);
    return (value) => {
      const place = Math.min(1, Math.max(0, value)) * (count - 1);
      const below = Math.min(Math.floor(place), count - 2);
      return values[below] + (place - below) * (values[below + 1] - values[below]);
    };
  }
  if (kind !== "para") throw new RangeError("no curve");
  const form = view.getUint16(start + 8);
  const given = Array.from({ length: [1, 3, 4, 5, 7][form] }, (_, i) => view.getInt32(start + 12 + 4 * i) / 65536);
  let [g, a = 1, b = 0, c = 0, d = 0, e = 0, f = 0] = given;
  if (form === 1) d = a ? -b / a : Infinity;
  if (form === 2) [c, d, e, f] = [0, a ? -b / a : Infinity, c, c];
  return (x) => (x >= d ? Math.max(0, a * x + b) ** g + e : c * x + f);
}

/**
 * @param {Curve} curve that ascends
 * @returns {Curve}
 */
function inverseOf(curve) {
  const light = Float64Array.from({ length: SAMPLES + 1 }, (_, i) => curve(i / SAMPLES));
  return (value) => {
    let [low, high] = [0, SAMPLES];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (light[middle] <= value) low = middle;
      else high = middle;
    }
    const rise = light[high] - light[low];
    const share = rise > 0 ? Math.min(1, Math.max(0, (value - light[low]) / rise)) : 0;
    return (low + share) / SAMPLES;
  };
}

/**
 * What converts 8-bit colours, clipped to the other space.
 * @param {Space} from
 * @param {Space} to
 * @returns {(pixels: Uint8ClampedArray, out: Uint8ClampedArray) => void} both `(n, 4)`; alpha is copied
 */
export function converter(from, to) {
  const m = product(inverted(to.matrix), from.matrix);
  const light = from.curves.map((curve) => Float64Array.from({ length: 256 }, (_, i) => curve(i / 255)));
  const values = to.inverse.map((inverse) => Float64Array.from({ length: SAMPLES + 2 }, (_, i) => 255 * inverse((i / SAMPLES) ** 2)));
  return (pixels, out) => {
    for (let i = 0; i < pixels.length; i += 4) {
      const r = light[0][pixels[i]];
      const g = light[1][pixels[i + 1]];
      const b = light[2][pixels[i + 2]];
      for (let c = 0; c < 3; c++) {
        const made = m[3 * c] * r + m[3 * c + 1] * g + m[3 * c + 2] * b;
        const place = Math.sqrt(made <= 0 ? 0 : made >= 1 ? 1 : made) * SAMPLES; // finer where values are dark
        const below = place | 0;
        const table = values[c];
        out[i + c] = table[below] + (place - below) * (table[below + 1] - table[below]);
      }
      out[i + 3] = pixels[i + 3];
    }
  };
}

/**
 * @param {Space} a
 * @param {Space} b
 */
export function isNear(a, b) {
  const colours = new Uint8ClampedArray(STEPS ** 3 * 4);
  for (let i = 0; i < STEPS ** 3; i++)
    [i, i / STEPS, i / STEPS ** 2].forEach((value, c) => (colours[4 * i + c] = ((Math.floor(value) % STEPS) * 255) / (STEPS - 1)));
  const converted = new Uint8ClampedArray(colours.length);
  converter(a, b)(colours, converted);
  return colours.every((value, i) => Math.abs(value - converted[i]) <= NEAR);
}

/**
 * Whether a profile has colours outside sRGB; true where that cannot be told.
 * @param {Bytes} profile
 */
export function isWide(profile) {
  return textOf(profile, 16, 20).trim() === "RGB" && spaceOf(profile) !== "srgb";
}

/** A photo's space, with what the correction needs. */
export class ColourSpace {
  /** @param {Space} space */
  constructor(space) {
    this.space = space;
    this.toSrgb = converter(space, SRGB);
    this.fromSrgb = converter(SRGB, space);
  }

  /**
   * @param {Float32Array} small `(n, 4)`, 0..1, in this space
   * @returns {Uint8ClampedArray} in sRGB
   */
  seen(small) {
    const result = eightBit(small);
    this.toSrgb(result, result);
    return result;
  }

  /**
   * A correction that was made in sRGB, in this space; colours outside sRGB keep their distance from it.
   * @param {Float32Array} small `(n, 4)`, 0..1, in this space
   * @param {Float32Array} corrected `(3, n)`, 0..1, what was made of {@link seen}
   * @returns {Float32Array} `(3, n)`, 0..1
   */
  carryBack(small, corrected) {
    const count = small.length / 4;
    const inside = this.seen(small);
    this.fromSrgb(inside, inside);
    const made = new Uint8ClampedArray(small.length);
    for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) made[4 * i + c] = corrected[c * count + i] * 255;
    this.fromSrgb(made, made);
    const result = new Float32Array(3 * count);
    for (let i = 0; i < count; i++)
      for (let c = 0; c < 3; c++) {
        const value = made[4 * i + c] / 255 + small[4 * i + c] - inside[4 * i + c] / 255;
        result[c * count + i] = Math.min(1, Math.max(0, value));
      }
    return result;
  }
}

/** @param {Float32Array} values 0..1 */
const eightBit = (values) => Uint8ClampedArray.from(values, (value) => value * 255);
