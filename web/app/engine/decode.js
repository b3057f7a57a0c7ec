/** From a file to upright pixels, in the photo's own colours where the profile can be interpreted here. */

import { startsWith, viewOf } from "./bytes.js";
import { PhotoError } from "./errors.js";
import { isAdobeRgb } from "./exif.js";
import { ColourSpace, DISPLAY_P3, isWide, spaceOf } from "./icc.js";
import { readJpeg } from "./jpeg.js";
import { nothing, ofUpright, orientationOf } from "./metadata.js";
import { decodePng, readPng } from "./png.js";
import { ADOBE_RGB_PROFILE, DISPLAY_P3_PROFILE } from "./profiles.js";
import { kindOf } from "./sniff.js";
import { readWebp } from "./webp.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {import("./metadata.js").Metadata} Metadata */
/**
 * @typedef {{
 *   kind: import("./sniff.js").Kind, width: number, height: number, pixels: Uint8ClampedArray<ArrayBuffer>,
 *   hasAlpha: boolean, grey: boolean, metadata: Metadata, space: ColourSpace | null,
 * }} Photo upright; `pixels` are `(height, width, 4)`; `space` is null for sRGB
 * @typedef {{
 *   step(done: number): Promise<void>, decodeJpeg(bytes: Bytes): Promise<ImageData | null>,
 * }} Host `step` reports progress, lets other work in, and ends what is given up; `decodeJpeg` decodes without a canvas
 * @typedef {{ pixels: Uint8ClampedArray<ArrayBuffer>, width: number, height: number }} Raw
 */

const MIME = /** @type {const} */ ({ JPEG: "image/jpeg", PNG: "image/png", WEBP: "image/webp", AVIF: "image/avif", HEIC: "image/heic" });
const MOST_SIDE = 32767; // of canvases
const MOST_PIXELS = 2 ** 28;
const NOISE = 8; // of 255, on average: more means that pictures are hidden, not disturbed
const STRIP = 2 ** 20; // pixels taken out of a picture at a time

/**
 * @param {Bytes} bytes
 * @param {string} name
 * @param {Host} host
 * @returns {Promise<Photo>}
 */
export async function decode(bytes, name, host) {
  const kind = kindOf(bytes, name);
  if (kind === "PNG") return decodePngFile(bytes, host);
  if (kind === "AVIF" || kind === "HEIC") return decodeBoxes(bytes, kind, host);
  const file = kind === "JPEG" ? readJpeg(bytes) : { ...readWebp(bytes), width: 1, height: 1, components: 3 };
  checkSize(file.width, file.height);
  const grey = file.components === 1;
  const { metadata } = file;
  if (!metadata.profile && !grey && metadata.exif && isAdobeRgb(metadata.exif)) metadata.profile = ADOBE_RGB_PROFILE;
  const { profile } = metadata;
  const space = profile ? spaceOf(profile, grey ? "GRAY" : "RGB") : "srgb";
  if (file.components === 4 || (profile && space === "unusual")) {
    const { bare } = kind === "JPEG" ? readJpeg(bytes, true) : readWebp(bytes, true);
    return converted(bare, kind, metadata, Boolean(profile) && isWide(/** @type {Bytes} */ (profile)), { grey, host });
  }
  if (kind !== "JPEG") tellDisturbance(metadata);
  const raw =
    kind === "JPEG" && disturbanceOf()
      ? await decodeByHost(file.bare, host)
      : await decodeByBrowser(new Blob([file.bare], { type: MIME[kind] }), "srgb", host, { divided: kind === "WEBP" });
  return photoOf(kind, raw, metadata, spaceFrom(space, metadata), { grey, hasAlpha: kind !== "JPEG" && isTransparent(raw.pixels) });
}

/**
 * @param {Bytes} bytes
 * @param {Host} host
 */
async function decodePngFile(bytes, host) {
  const file = await readPng(bytes);
  const { metadata, header } = file;
  checkSize(header.width, header.height);
  const { profile } = metadata;
  const grey = header.colours === 0 || header.colours === 4;
  const space = profile ? spaceOf(profile, grey ? "GRAY" : "RGB") : "srgb";
  if (file.unusual || space === "unusual") {
    metadata.own = metadata.own.filter(({ mark }) => mark === "pHYs" || mark.endsWith("Xt"));
    return converted(bytes, "PNG", metadata, profile ? isWide(profile) : true, { grey, host });
  }
  /** @type {Promise<void>} */
  let stepped = Promise.resolve();
  const decoded = await decodePng(file, (done) => void (stepped = host.step(done)));
  await stepped;
  const { pixels, hasAlpha } = decoded;
  return photoOf("PNG", { pixels, width: header.width, height: header.height }, metadata, spaceFrom(space, metadata), { grey, hasAlpha });
}

/**
 * A photo in boxes, of which the browser decodes what it can; their metadata are not read.
 * @param {Bytes} bytes
 * @param {"AVIF" | "HEIC"} kind
 * @param {Host} host
 */
async function decodeBoxes(bytes, kind, host) {
  const head = bytes.subarray(0, 2 ** 16);
  let wide = false;
  for (let place = 0; (place = head.indexOf(0x63, place)) >= 0; place++) {
    if (startsWith(head, "colrnclx", place)) {
      const [primaries, transfer] = [head[place + 9], head[place + 11]];
      if (transfer === 16 || transfer === 18) throw new PhotoError("hdr_unsupported");
      wide = primaries === 9 || primaries === 11 || primaries === 12;
    } else if (place >= 4 && (startsWith(head, "colrprof", place) || startsWith(head, "colrrICC", place))) {
      const size = viewOf(head).getUint32(place - 4);
      wide = isWide(head.slice(place + 8, place - 4 + size));
    }
  }
  const metadata = nothing();
  metadata.notes.push({ code: "metadata" });
  return converted(bytes, kind, metadata, wide, { grey: false, host });
}

/**
 * A photo whose colours the browser converts: to Display P3 where they may be outside sRGB.
 * @param {Bytes} bytes
 * @param {import("./sniff.js").Kind} kind
 * @param {Metadata} metadata
 * @param {boolean} wide
 * @param {{ grey: boolean, host: Host }} how
 */
async function converted(bytes, kind, metadata, wide, { grey, host }) {
  tellDisturbance(metadata);
  const p3 = wide && hasP3();
  const raw = await decodeByBrowser(new Blob([bytes], { type: MIME[kind] }), p3 ? "display-p3" : "srgb", host, { heic: kind === "HEIC" });
  const had = metadata.profile !== null || kind === "PNG";
  metadata.profile = p3 ? DISPLAY_P3_PROFILE : null;
  if (had || wide !== p3) metadata.notes.push({ code: p3 ? "profile_to_p3" : "profile_to_srgb" });
  const hasAlpha = kind !== "JPEG" && isTransparent(raw.pixels);
  return photoOf(kind, raw, metadata, p3 ? new ColourSpace(DISPLAY_P3) : null, { grey, hasAlpha });
}

/**
 * @param {ReturnType<typeof spaceOf>} space
 * @param {Metadata} metadata
 */
function spaceFrom(space, metadata) {
  if (space === "damaged") metadata.notes.push({ code: "profile_damaged" });
  return typeof space === "object" ? new ColourSpace(space) : null;
}

/**
 * The upright photo.
 * @param {import("./sniff.js").Kind} kind
 * @param {Raw} raw
 * @param {Metadata} metadata
 * @param {ColourSpace | null} space
 * @param {{ grey: boolean, hasAlpha: boolean }} channels
 * @returns {Photo}
 */
function photoOf(kind, raw, metadata, space, { grey, hasAlpha }) {
  const turned = upright(raw, orientationOf(metadata));
  return { kind, ...turned, hasAlpha, grey, metadata: ofUpright(metadata), space };
}

/**
 * @param {number} width
 * @param {number} height
 */
function checkSize(width, height) {
  if (Math.max(width, height) > MOST_SIDE || width * height > MOST_PIXELS) throw new PhotoError("too_large", { width, height });
}

/**
 * @param {Blob} blob
 * @param {PredefinedColorSpace} colorSpace
 * @param {Host} host
 * @param {{ heic?: boolean, divided?: boolean }} [how] `heic`: most browsers cannot decode it; `divided`: keep colours as
 *   they are where they are transparent
 * @returns {Promise<Raw>}
 */
async function decodeByBrowser(blob, colorSpace, host, { heic = false, divided = false } = {}) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, divided ? { premultiplyAlpha: "none" } : {});
  } catch {
    throw new PhotoError(heic ? "heic_unsupported" : "unreadable");
  }
  try {
    const { width, height } = bitmap;
    checkSize(width, height);
    const pixels = new Uint8ClampedArray(width * height * 4);
    const rows = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
    const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true, colorSpace });
    if (!context) throw new PhotoError("no_memory");
    context.globalCompositeOperation = "copy";
    for (let top = 0; top < height; top += rows) {
      await host.step(top / height);
      const count = Math.min(rows, height - top);
      context.drawImage(bitmap, 0, -top);
      pixels.set(context.getImageData(0, 0, width, count).data, top * width * 4);
    }
    if (divided && isTransparent(pixels)) await readDivided(bitmap, pixels);
    return { pixels, width, height };
  } finally {
    bitmap.close();
  }
}

/**
 * Read colours that are not multiplied by alpha, which only WebGL can; without it, they stay as precise as they are.
 * @param {ImageBitmap} bitmap
 * @param {Uint8ClampedArray<ArrayBuffer>} pixels
 */
async function readDivided(bitmap, pixels) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl || width > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const most = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), Math.max(1, Math.floor(STRIP / width)));
  const bytes = new Uint8Array(pixels.buffer);
  for (let top = 0; top < height; top += most) {
    const rows = Math.min(most, height - top);
    const part = await createImageBitmap(bitmap, 0, top, width, rows, { premultiplyAlpha: "none" });
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, part);
    part.close();
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    gl.readPixels(0, 0, width, rows, gl.RGBA, gl.UNSIGNED_BYTE, bytes, top * width * 4);
  }
}

/**
 * @param {Bytes} bytes
 * @param {Host} host
 * @returns {Promise<Raw>}
 */
async function decodeByHost(bytes, host) {
  const found = await host.decodeJpeg(bytes);
  if (!found) throw new PhotoError("unreadable");
  return { pixels: new Uint8ClampedArray(found.data), width: found.width, height: found.height };
}

/** @type {"" | "noise" | "blocked" | undefined} */
let disturbance;

/** Whether this browser adds noise to what pages read from canvases, or hides it, against being recognised by it. */
function disturbanceOf() {
  if (disturbance === undefined) {
    const side = 64;
    const shown = new ImageData(side, side);
    for (let i = 0; i < shown.data.length; i++) shown.data[i] = i % 4 === 3 ? 255 : (i * 37 + (i >> 6)) & 255;
    const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
    context?.putImageData(shown, 0, 0);
    const read = context?.getImageData(0, 0, side, side).data;
    const apart = shown.data.reduce((sum, value, i) => sum + Math.abs(value - (read?.[i] ?? 0)), 0) / shown.data.length;
    disturbance = apart > NOISE ? "blocked" : apart ? "noise" : "";
  }
  return disturbance;
}

/**
 * Of a photo that only a canvas can read.
 * @param {Metadata} metadata
 */
function tellDisturbance(metadata) {
  const found = disturbanceOf();
  if (found === "blocked") throw new PhotoError("pixels_blocked");
  if (found) metadata.notes.push({ code: "pixels_disturbed" });
}

/** Whether canvases can hold Display P3 here. */
function hasP3() {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { colorSpace: "display-p3" });
  return context?.getImageData(0, 0, 1, 1).colorSpace === "display-p3";
}

/** @param {Uint8ClampedArray} pixels */
function isTransparent(pixels) {
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i] < 255) return true;
  return false;
}

/**
 * Turn pixels by an EXIF orientation.
 * @param {Raw} raw
 * @param {number} orientation 1 to 8
 * @returns {Raw}
 */
export function upright({ pixels, width, height }, orientation) {
  if (orientation === 1) return { pixels, width, height };
  const sideways = orientation > 4;
  const [w, h] = sideways ? [height, width] : [width, height];
  // Of the eight, those where the first pixel comes to lie right, and below.
  const right = (sideways ? [6, 7] : [2, 3]).includes(orientation);
  const below = (sideways ? [7, 8] : [3, 4]).includes(orientation);
  const acrossStep = (sideways ? w : 1) * ((sideways ? below : right) ? -1 : 1);
  const downStep = (sideways ? 1 : w) * ((sideways ? right : below) ? -1 : 1);
  const first = (right ? w - 1 : 0) + (below ? (h - 1) * w : 0);
  const from = new Uint32Array(pixels.buffer, pixels.byteOffset, width * height);
  const to = new Uint32Array(from.length);
  for (let top = 0; top < height; top += 16) // so that a turned strip stays in the cache
    for (let x = 0; x < width; x++)
      for (let y = top; y < Math.min(height, top + 16); y++) to[first + x * acrossStep + y * downStep] = from[y * width + x];
  return { pixels: new Uint8ClampedArray(to.buffer), width: w, height: h };
}
