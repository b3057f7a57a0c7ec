/**
 * PNG files. Canvases multiply colours by alpha and change them by colour profiles, so that they can neither read nor
 * write the colours of a photo with transparent parts as they are.
 */

import { bytesOf, joined, startsWith, textOf, through, viewOf } from "./bytes.js";
import { PhotoError } from "./errors.js";
import { nothing } from "./metadata.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {import("./metadata.js").Metadata} Metadata */
/**
 * @typedef {{
 *   width: number, height: number, depth: number, colours: number, interlaced: boolean, palette: Bytes,
 *   transparent: Bytes | null,
 * }} Header `depth`: bits per sample; `colours`: PNG's colour type
 */

const SIGNATURE = "\x89PNG\r\n\x1a\n";
const XMP = "XML:com.adobe.xmp\0";
const CHANNELS = /** @type {Record<number, number>} */ ({ 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 });
/** Kept as they are: colours and resolution. */
const KEPT = ["gAMA", "cHRM", "sRGB", "cICP", "mDCV", "cLLI", "pHYs"];
/** Offsets and steps of Adam7's passes, across and down. */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];
const LEAST_GAMMA = 0.43; // gammas between are close to sRGB's
const MOST_GAMMA = 0.48;

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** @param {Bytes} bytes */
function checksum(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/**
 * The metadata of a file, and what is needed to decode it.
 * @param {Bytes} bytes
 * @returns {Promise<{ metadata: Metadata, header: Header, compressed: Blob, unusual: boolean }>} `unusual`: its colours
 *   are told by chunks that only the browser can interpret
 */
export async function readPng(bytes) {
  const view = viewOf(bytes);
  if (bytes.length < 33) throw new PhotoError("unreadable");
  const [depth, colours] = [bytes[24], bytes[25]];
  const header = {
    width: view.getUint32(16),
    height: view.getUint32(20),
    depth,
    colours,
    interlaced: bytes[28] === 1,
    palette: new Uint8Array(),
    /** @type {Bytes | null} */
    transparent: null,
  };
  if (startsWith(bytes, "CgBI", 12)) throw new PhotoError("format_unsupported", { format: "CgBI" });
  const valid = startsWith(bytes, "IHDR", 12) && header.width && header.height && CHANNELS[colours];
  if (!valid || ![1, 2, 4, 8, 16].includes(depth)) throw new PhotoError("unreadable");
  const metadata = nothing();
  /** @type {Set<string>} */
  const notes = new Set();
  /** @type {Bytes[]} */
  const compressed = [];
  /** @type {Map<string, Bytes>} */
  const colourChunks = new Map();
  let ended = false;
  for (let place = 8; !ended; ) {
    if (place + 12 > bytes.length) throw new PhotoError("unreadable"); // cut off
    const size = view.getUint32(place);
    const kind = textOf(bytes, place + 4, place + 8);
    const end = place + 12 + size;
    if (end > bytes.length) throw new PhotoError("unreadable");
    const data = bytes.subarray(place + 8, end - 4);
    if (kind === "IDAT") compressed.push(data);
    else if (kind === "PLTE") header.palette = data;
    else if (kind === "tRNS") header.transparent = data;
    else if (kind === "IEND") ended = true;
    else if (kind === "iCCP") metadata.profile ??= await inflated(data.subarray(data.indexOf(0) + 2));
    else if (kind === "eXIf") metadata.exif ??= startsWith(data, "Exif\0\0") ? data.slice(6) : data.slice();
    else if (kind === "iTXt" && startsWith(data, XMP)) metadata.xmp ??= await xmpOf(data);
    else if (kind === "caBX") notes.add("content_credentials");
    else if (kind === "fcTL" || kind === "fdAT") notes.add("animation");
    else if (KEPT.includes(kind)) {
      colourChunks.set(kind, data);
      metadata.own.push({ mark: kind, data });
    } else if (/^[tzi]/.test(kind) && kind.endsWith("Xt") && !startsWith(data, "Raw profile"))
      metadata.own.push({ mark: kind, data });
    place = end;
  }
  if (!compressed.length) throw new PhotoError("unreadable");
  const transfer = colourChunks.get("cICP")?.[1];
  if (transfer === 16 || transfer === 18) throw new PhotoError("hdr_unsupported");
  if (depth === 16) notes.add("sixteen_bits");
  metadata.notes = [...notes].map((code) => ({ code }));
  return { metadata, header, compressed: new Blob(compressed), unusual: isUnusual(metadata, colourChunks) };
}

/**
 * @param {Metadata} metadata
 * @param {Map<string, Bytes>} chunks
 */
function isUnusual(metadata, chunks) {
  const named = chunks.get("cICP");
  if (named) return !(named[0] === 1 && [1, 6, 13, 14, 15].includes(named[1]));
  if (metadata.profile || chunks.has("sRGB")) return false;
  const gamma = chunks.get("gAMA");
  if (!gamma || gamma.length < 4) return false;
  const value = viewOf(gamma).getUint32(0) / 100000;
  return value > 0 && (value < LEAST_GAMMA || value > MOST_GAMMA);
}

/** @param {Bytes} data */
async function inflated(data) {
  try {
    return await through(data, new DecompressionStream("deflate"));
  } catch {
    return null; // unusable metadata are not a reason to refuse the photo
  }
}

/** @param {Bytes} data */
async function xmpOf(data) {
  const compressed = data[XMP.length];
  const language = data.indexOf(0, XMP.length + 2);
  const text = data.slice(data.indexOf(0, language + 1) + 1);
  return compressed ? inflated(text) : text;
}

/**
 * @param {{ header: Header, compressed: Blob }} file
 * @param {(done: number) => void} onProgress
 * @returns {Promise<{ pixels: Uint8ClampedArray<ArrayBuffer>, hasAlpha: boolean, grey: boolean }>} `(height, width, 4)`
 */
export async function decodePng({ header, compressed }, onProgress) {
  const { width, height, depth, colours, interlaced } = header;
  const pixels = new Uint8ClampedArray(width * height * 4);
  const bits = depth * CHANNELS[colours];
  const back = Math.max(1, bits >> 3);
  const passes = (interlaced ? PASSES : [[0, 0, 1, 1]])
    .map(([left, top, across, down]) => ({
      left,
      top,
      across,
      down,
      columns: Math.ceil((width - left) / across),
      rows: Math.ceil((height - top) / down),
    }))
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
  const expand = expanderOf(header);
  let pass = 0;
  let y = 0;
  let current = new Uint8Array();
  let previous = new Uint8Array();
  let filled = 0;
  const begin = () => {
    const size = 1 + Math.ceil((passes[pass].columns * bits) / 8);
    current = new Uint8Array(size);
    previous = new Uint8Array(size);
  };
  begin();
  const reader = compressed.stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  try {
    while (pass < passes.length) {
      const { value, done } = await reader.read();
      if (done) break;
      for (let from = 0; from < value.length && pass < passes.length; ) {
        const part = value.subarray(from, from + current.length - filled);
        current.set(part, filled);
        from += part.length;
        filled += part.length;
        if (filled < current.length) break;
        filled = 0;
        unfilter(current, previous, back);
        const { left, top, across, down, columns, rows } = passes[pass];
        expand(current, columns, pixels, (top + y * down) * width + left, across);
        [current, previous] = [previous, current];
        if (++y === rows) {
          y = 0;
          if (++pass < passes.length) begin();
        }
      }
      onProgress(pass ? 1 : y / height);
    }
  } catch {
    throw new PhotoError("unreadable");
  }
  void reader.cancel().catch(() => {}); // damage after the pixels does not matter
  if (pass < passes.length) throw new PhotoError("unreadable");
  let hasAlpha = false;
  for (let i = 3; i < pixels.length && !hasAlpha; i += 4) hasAlpha = pixels[i] < 255;
  return { pixels, hasAlpha: hasAlpha || colours > 3 || header.transparent !== null, grey: colours === 0 || colours === 4 };
}

/**
 * @param {Bytes} row its filter, then its bytes, changed in place
 * @param {Bytes} above
 * @param {number} back bytes from pixel to pixel
 */
function unfilter(row, above, back) {
  const filter = row[0];
  if (filter > 4) throw new PhotoError("unreadable");
  if (filter === 1) for (let i = back + 1; i < row.length; i++) row[i] += row[i - back];
  if (filter === 2) for (let i = 1; i < row.length; i++) row[i] += above[i];
  if (filter === 3) {
    for (let i = 1; i <= back; i++) row[i] += above[i] >> 1;
    for (let i = back + 1; i < row.length; i++) row[i] += (row[i - back] + above[i]) >> 1;
  }
  if (filter === 4) {
    for (let i = 1; i <= back; i++) row[i] += above[i];
    for (let i = back + 1; i < row.length; i++) row[i] += paeth(row[i - back], above[i], above[i - back]);
  }
}

/**
 * @param {number} left
 * @param {number} above
 * @param {number} corner
 */
function paeth(left, above, corner) {
  const a = Math.abs(above - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + above - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/**
 * What writes a row's pixels as 8-bit RGBA.
 * @param {Header} header
 * @returns {(row: Bytes, columns: number, pixels: Uint8ClampedArray, start: number, step: number) => void}
 */
function expanderOf({ depth, colours, palette, transparent }) {
  const channels = CHANNELS[colours];
  const most = 2 ** depth - 1;
  const key = transparent && colours !== 3 ? viewOf(transparent) : null;
  if (key && key.byteLength < (colours === 2 ? 6 : 2)) throw new PhotoError("unreadable");
  const [keyR, keyG, keyB] = key ? [0, 2, 4].map((place) => (colours === 2 || !place ? key.getUint16(place) : 0)) : [-1, -1, -1];
  /** @param {Bytes} row @param {number} index */
  const sample = (row, index) => {
    if (depth === 8) return row[1 + index];
    if (depth === 16) return (row[1 + 2 * index] << 8) | row[2 + 2 * index];
    const bit = index * depth;
    return (row[1 + (bit >> 3)] >> (8 - depth - (bit & 7))) & most;
  };
  if (depth === 8 && colours > 1 && colours !== 3 && !key && colours !== 4)
    return (row, columns, pixels, start, step) => {
      for (let x = 0, from = 1, to = start * 4; x < columns; x++, from += channels, to += 4 * step) {
        pixels[to] = row[from];
        pixels[to + 1] = row[from + 1];
        pixels[to + 2] = row[from + 2];
        pixels[to + 3] = channels === 4 ? row[from + 3] : 255;
      }
    };
  const scale = 255 / most;
  return (row, columns, pixels, start, step) => {
    for (let x = 0, to = start * 4; x < columns; x++, to += 4 * step) {
      const first = sample(row, x * channels);
      if (colours === 3) {
        if (3 * first + 2 >= palette.length) throw new PhotoError("unreadable");
        for (let c = 0; c < 3; c++) pixels[to + c] = palette[3 * first + c];
        pixels[to + 3] = transparent?.[first] ?? 255;
        continue;
      }
      const coloured = channels > 2;
      const green = coloured ? sample(row, x * channels + 1) : first;
      const blue = coloured ? sample(row, x * channels + 2) : first;
      pixels[to] = first * scale;
      pixels[to + 1] = green * scale;
      pixels[to + 2] = blue * scale;
      const clear = key && first === keyR && (!coloured || (green === keyG && blue === keyB));
      pixels[to + 3] = channels % 2 ? (clear ? 0 : 255) : sample(row, x * channels + channels - 1) * scale;
    }
  };
}

/**
 * The chunks of metadata, for between a new file's header and its pixels.
 * @param {Metadata} metadata
 * @param {boolean} fromPng whether its own parts are chunks
 * @returns {Promise<Bytes>}
 */
export async function metadataChunks(metadata, fromPng) {
  const parts = [];
  const { exif, xmp, profile, own } = metadata;
  if (profile) {
    const compressed = await through(profile, new CompressionStream("deflate"));
    parts.push(chunk("iCCP", joined([bytesOf("ICC profile\0\0"), compressed])));
  }
  if (fromPng) for (const { mark, data } of own) parts.push(chunk(mark, data));
  if (exif) parts.push(chunk("eXIf", exif));
  if (xmp) parts.push(chunk("iTXt", joined([bytesOf(`${XMP}\0\0\0\0`), xmp])));
  return joined(parts);
}

/**
 * @param {string} kind
 * @param {Bytes} data
 * @returns {Bytes}
 */
function chunk(kind, data) {
  const whole = new Uint8Array(12 + data.length);
  const view = viewOf(whole);
  view.setUint32(0, data.length);
  whole.set(bytesOf(kind), 4);
  whole.set(data, 8);
  view.setUint32(8 + data.length, checksum(whole.subarray(4, 8 + data.length)));
  return whole;
}

export class PngEncoder {
  /**
   * @param {number} width
   * @param {number} height
   * @param {{ grey: boolean, hasAlpha: boolean, metadata: Bytes }} options `metadata`: whole chunks
   */
  constructor(width, height, { grey, hasAlpha, metadata }) {
    this.width = width;
    this.kept = (grey ? [0] : [0, 1, 2]).concat(hasAlpha ? [3] : []);
    const size = 1 + width * this.kept.length;
    this.row = new Uint8Array(size);
    this.above = new Uint8Array(size);
    const head = new Uint8Array(13);
    viewOf(head).setUint32(0, width);
    viewOf(head).setUint32(4, height);
    head.set([8, (grey ? 0 : 2) + (hasAlpha ? 4 : 0)], 8);
    /** @type {Bytes[]} */
    this.parts = [bytesOf(SIGNATURE), chunk("IHDR", head), metadata];
    const stream = new CompressionStream("deflate");
    this.writer = stream.writable.getWriter();
    this.done = this.#collect(stream.readable);
  }

  /** @param {ReadableStream<Bytes>} readable */
  async #collect(readable) {
    const reader = readable.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.parts.push(chunk("IDAT", value));
    }
  }

  /**
   * @param {Uint8ClampedArray} pixels `(rows, width, 4)`
   * @param {number} rows
   */
  async add(pixels, rows) {
    const { kept } = this;
    const back = kept.length;
    const filtered = new Uint8Array(rows * this.row.length);
    for (let y = 0; y < rows; y++) {
      const { row, above } = this;
      for (let c = 0; c < back; c++)
        for (let from = y * this.width * 4 + kept[c], to = 1 + c; to < row.length; from += 4, to += back) row[to] = pixels[from];
      filter(row, above, back, filtered.subarray(y * row.length, (y + 1) * row.length));
      [this.row, this.above] = [above, row];
    }
    await this.writer.write(filtered);
  }

  /** @returns {Promise<Blob>} the file */
  async finish() {
    await this.writer.close();
    await this.done;
    return new Blob([...this.parts, chunk("IEND", new Uint8Array())], { type: "image/png" });
  }
}

/**
 * A row's differences from what is left of it, above it, or both, whichever are smallest.
 * @param {Bytes} row
 * @param {Bytes} above
 * @param {number} back
 * @param {Bytes} to
 */
function filter(row, above, back, to) {
  let sub = 0;
  let up = 0;
  let both = 0;
  for (let i = back + 1; i < row.length; i += 3) {
    const value = row[i];
    sub += Math.abs(((value - row[i - back]) << 24) >> 24);
    up += Math.abs(((value - above[i]) << 24) >> 24);
    both += Math.abs(((value - paeth(row[i - back], above[i], above[i - back])) << 24) >> 24);
  }
  const kind = both <= sub && both <= up ? 4 : up <= sub ? 2 : 1;
  to[0] = kind;
  for (let i = 1; i < row.length; i++) {
    const left = i > back ? row[i - back] : 0;
    const corner = i > back ? above[i - back] : 0;
    to[i] = row[i] - (kind === 4 ? paeth(left, above[i], corner) : kind === 2 ? above[i] : left);
  }
}
