/** Full-size results, sliced and encoded strip by strip. */

import { PhotoError } from "./errors.js";
import { fitsSegment, metadataSegments } from "./jpeg.js";
import { JpegEncoder } from "./jpeg_encoder.js";
import { PngEncoder, metadataChunks } from "./png.js";
import { blended, sliceRows } from "./slice.js";

const STRIP = 2 ** 18; // pixels
const MOST_JPEG = 65500; // pixels per side
const SUFFIXES = { JPEG: /\.(jpe?g|jpe|jfif|jif|jfi|mpo)$/i, PNG: /\.a?png$/i };

/**
 * @param {{ kind: import("./sniff.js").Kind, hasAlpha: boolean }} photo
 * @param {import("./types.js").Format} format
 * @returns {"JPEG" | "PNG"}
 */
export function targetOf({ kind, hasAlpha }, format) {
  if (format !== "same") return format === "png" ? "PNG" : "JPEG";
  return kind === "JPEG" || ((kind === "AVIF" || kind === "HEIC") && !hasAlpha) ? "JPEG" : "PNG";
}

/**
 * What a file of a format lacks of a photo's.
 * @param {import("./decode.js").Photo} photo
 * @param {"JPEG" | "PNG"} target
 * @returns {import("./types.js").Note[]}
 */
export function notesOf({ kind, hasAlpha, metadata }, target) {
  const codes = metadata.notes.map(({ code }) => code);
  if (hasAlpha && target === "JPEG") codes.push("alpha");
  const { exif, xmp, own, photoshop } = metadata;
  const lost =
    (kind !== target && own.some(({ mark }) => !/^([A-Z]|pHYs|gAMA|cHRM|sRGB|cICP)/i.test(mark) || mark.endsWith("Xt"))) ||
    (target === "PNG" && photoshop) ||
    (target === "JPEG" && [exif, xmp].some((block) => block && !fitsSegment(block)));
  if (lost) codes.push("metadata");
  return [...new Set(codes)].map((code) => ({ code }));
}

/**
 * @param {string} name of the photo's file
 * @param {"JPEG" | "PNG"} target
 */
export function nameOf(name, target) {
  const suffix = SUFFIXES[target].exec(name)?.[0] ?? (target === "JPEG" ? ".jpg" : ".png");
  return `${name.replace(/\.[^.]*$/, "") || "photo"}_corrected${suffix}`;
}

/**
 * @param {import("./decode.js").Photo} photo
 * @param {Float32Array} grid
 * @param {import("./types.js").Settings & { format: import("./types.js").Format }} settings
 * @param {(done: number) => Promise<void>} step
 * @returns {Promise<Blob>}
 */
export async function encode(photo, grid, settings, step) {
  const { width, height, pixels, metadata, grey, hasAlpha, kind } = photo;
  const target = targetOf(photo, settings.format);
  if (target === "JPEG" && Math.max(width, height) > MOST_JPEG) throw new PhotoError("too_large", { width, height });
  const encoder =
    target === "JPEG"
      ? new JpegEncoder(width, height, { grey, density: metadata.density, metadata: metadataSegments(metadata, kind === "JPEG") })
      : new PngEncoder(width, height, { grey, hasAlpha, metadata: await metadataChunks(metadata, kind === "PNG") });
  const used = blended(grid, settings.strength);
  const rows = Math.max(1, Math.floor(STRIP / width / 8)) * 8;
  const out = new Uint8ClampedArray(Math.min(rows, Math.ceil(height / 8) * 8) * width * 4);
  for (let top = 0; top < height; top += rows) {
    await step(top / height);
    const bottom = Math.min(height, top + rows);
    if (settings.strength) sliceRows(pixels, { width, height, top, bottom, peak: 255 }, used, settings, out);
    else out.set(pixels.subarray(top * width * 4, bottom * width * 4));
    if (grey) removeColour(out);
    await encoder.add(out, bottom - top);
  }
  return encoder.finish();
}

/**
 * The correction of a grey photo is almost neutral; the mean removes any remaining colour.
 * @param {Uint8ClampedArray} pixels
 */
function removeColour(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    pixels[i] = (pixels[i] + pixels[i + 1] + pixels[i + 2]) / 3;
    pixels[i + 1] = pixels[i + 2] = pixels[i];
  }
}
