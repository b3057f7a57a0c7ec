/**
 * Baseline JPEG as the command line writes it: quality 95, colours at full resolution, the standard's tables.
 *
 * The arithmetic is that of the reference decoder's authors (integers throughout), so that the same pixels give the same
 * coefficients as Pillow's. mozjpeg, which browsers' codecs are built from, always optimises coefficients for size, which
 * moves pixels by up to 17 of 255 from that.
 */

import { bytesOf, joined } from "./bytes.js";
import { segment } from "./jpeg.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */

const QUALITY = 95;
// prettier-ignore
const ZIGZAG = Uint8Array.of(
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55,
  62, 63,
);
// Tables K.1 to K.6 of ITU-T T.81.
// prettier-ignore
const LUMINANCE = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87,
  80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92,
  95, 98, 112, 100, 103, 99,
];
// prettier-ignore
const CHROMINANCE = [
  17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99,
  99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
  99, 99, 99, 99,
];
const DC_VALUES = Array.from({ length: 12 }, (_, i) => i);
const DC = [
  { counts: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], values: DC_VALUES },
  { counts: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], values: DC_VALUES },
];
// prettier-ignore
const AC = [
  {
    counts: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d],
    values: hex(
      "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a" +
      "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9" +
      "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
    ),
  },
  {
    counts: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
    values: hex(
      "0001020311040521310612415107617113223281081442" + "91a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a" +
      "434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7" +
      "a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
    ),
  },
];
const CHUNK = 2 ** 20; // bytes of output at a time
const LARGEST_BLOCK = 512; // bytes that a block can take, generously

/** @param {string} digits */
function hex(digits) {
  return (digits.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
}

/**
 * Code and length of each symbol, as `code * 32 + length`.
 * @param {{ counts: number[], values: number[] }} table
 */
function codesOf({ counts, values }) {
  const codes = new Int32Array(256);
  let code = 0;
  let next = 0;
  counts.forEach((count, i) => {
    for (let k = 0; k < count; k++) codes[values[next++]] = code++ * 32 + i + 1;
    code *= 2;
  });
  return codes;
}

/** @param {number[]} base */
const quantisers = (base) =>
  base.map((value) => Math.min(255, Math.max(1, Math.floor((value * (200 - 2 * QUALITY) + 50) / 100))));

export class JpegEncoder {
  /**
   * @param {number} width at most 65500 pixels, as the height
   * @param {number} height
   * @param {{ grey: boolean, density: Bytes | null, metadata: Bytes }} options JFIF's unit and resolution; whole segments
   */
  constructor(width, height, { grey, density, metadata }) {
    this.width = width;
    this.components = grey ? 1 : 3;
    const tables = [LUMINANCE, CHROMINANCE].slice(0, grey ? 1 : 2).map(quantisers);
    this.divisors = tables.map((table) => Float64Array.from(table, (value) => value * 8));
    this.dc = DC.map(codesOf);
    this.ac = AC.map(codesOf);
    this.previous = [0, 0, 0];
    this.planes = Array.from({ length: this.components }, () => new Int32Array(8 * Math.ceil(width / 8) * 8));
    this.block = new Int32Array(64);
    this.bits = 0;
    this.held = 0; // bits that are not written yet
    /** @type {Bytes[]} */
    this.parts = [];
    this.chunk = new Uint8Array(CHUNK);
    this.place = 0;
    this.parts.push(joined([this.#beginning(density), metadata, this.#tables(tables, width, height)]));
  }

  /** @param {Bytes | null} density */
  #beginning(density) {
    const head = Uint8Array.of(...bytesOf("JFIF\0"), 1, 1, ...(density ?? [0, 0, 1, 0, 1]), 0, 0);
    return joined([bytesOf("\xff\xd8"), segment(0xe0, head.length), head]);
  }

  /**
   * @param {number[][]} tables
   * @param {number} width
   * @param {number} height
   */
  #tables(tables, width, height) {
    /** @type {Bytes[]} */
    const parts = [];
    /** @param {number} marker @param {number[]} data */
    const add = (marker, data) => parts.push(segment(marker, data.length), Uint8Array.from(data));
    tables.forEach((table, i) => add(0xdb, [i, ...Array.from(ZIGZAG, (place) => table[place])]));
    const places = Array.from({ length: this.components }, (_, c) => c);
    const size = [height >> 8, height & 255, width >> 8, width & 255];
    add(0xc0, [8, ...size, this.components, ...places.flatMap((c) => [c + 1, 0x11, Math.min(c, 1)])]);
    tables.forEach((_, i) => {
      for (const [kind, { counts, values }] of [DC[i], AC[i]].entries()) add(0xc4, [kind * 16 + i, ...counts, ...values]);
    });
    add(0xda, [this.components, ...places.flatMap((c) => [c + 1, Math.min(c, 1) * 17]), 0, 63, 0]);
    return joined(parts);
  }

  /**
   * Encode the next rows.
   * @param {Uint8ClampedArray} pixels `(rows, width, 4)`; alpha is left out, and of grey photos all but the first channel
   * @param {number} rows a multiple of 8, but for the last ones
   */
  add(pixels, rows) {
    const stride = Math.ceil(this.width / 8) * 8;
    for (let top = 0; top < rows; top += 8) {
      this.#load(pixels, top, Math.min(8, rows - top), stride);
      for (let x = 0; x < stride; x += 8) for (let c = 0; c < this.components; c++) this.#encode(c, x, stride);
    }
  }

  /**
   * Colours of eight rows, as luma and chroma around 0; the last row and column are repeated.
   * @param {Uint8ClampedArray} pixels
   * @param {number} top
   * @param {number} rows
   * @param {number} stride
   */
  #load(pixels, top, rows, stride) {
    const [luma, blue, red] = this.planes;
    const grey = this.components === 1;
    for (let y = 0; y < rows; y++) {
      let from = (top + y) * this.width * 4;
      let to = y * stride;
      for (let x = 0; x < this.width; x++, from += 4, to++) {
        const r = pixels[from];
        if (grey) {
          luma[to] = r - 128;
          continue;
        }
        const g = pixels[from + 1];
        const b = pixels[from + 2];
        luma[to] = ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) - 128;
        blue[to] = (-11059 * r - 21709 * g + 32768 * b + 32767) >> 16;
        red[to] = (32768 * r - 27439 * g - 5329 * b + 32767) >> 16;
      }
      for (const plane of this.planes) plane.fill(plane[to - 1], to, (y + 1) * stride);
    }
    for (const plane of this.planes)
      for (let y = rows; y < 8; y++) plane.copyWithin(y * stride, (rows - 1) * stride, rows * stride);
  }

  /**
   * @param {number} component
   * @param {number} x of the block
   * @param {number} stride
   */
  #encode(component, x, stride) {
    const which = component ? 1 : 0;
    const block = this.block;
    const plane = this.planes[component];
    for (let y = 0, from = x; y < 8; y++, from += stride) transform(plane, from, 1, block, y * 8, 1, 2);
    for (let k = 0; k < 8; k++) transform(block, k, 8, block, k, 8, -2);
    const divisors = this.divisors[which];
    for (let k = 0; k < 64; k++) {
      const value = block[k];
      const divisor = divisors[k];
      const half = divisor / 2 + 0.5; // the half of 1 keeps exact multiples from rounding down
      block[k] = value < 0 ? -((half - value) / divisor | 0) : (half + value) / divisor | 0;
    }
    if (this.place + LARGEST_BLOCK > CHUNK) this.#flush();
    const dc = this.dc[which];
    const ac = this.ac[which];
    const difference = block[0] - this.previous[component];
    this.previous[component] = block[0];
    const size = 32 - Math.clz32(Math.abs(difference));
    this.#put(dc[size] >> 5, dc[size] & 31);
    if (size) this.#put(difference < 0 ? difference + (1 << size) - 1 : difference, size);
    let zeros = 0;
    for (let k = 1; k < 64; k++) {
      const value = block[ZIGZAG[k]];
      if (!value) {
        zeros++;
        continue;
      }
      for (; zeros > 15; zeros -= 16) this.#put(ac[0xf0] >> 5, ac[0xf0] & 31);
      const bits = 32 - Math.clz32(value < 0 ? -value : value);
      const code = ac[zeros * 16 + bits];
      this.#put(code >> 5, code & 31);
      this.#put(value < 0 ? value + (1 << bits) - 1 : value, bits);
      zeros = 0;
    }
    if (zeros) this.#put(ac[0] >> 5, ac[0] & 31);
  }

  /**
   * @param {number} value
   * @param {number} count of its bits, at most 16
   */
  #put(value, count) {
    let bits = (this.bits << count) | value;
    let held = this.held + count;
    while (held >= 8) {
      held -= 8;
      const byte = (bits >> held) & 255;
      this.chunk[this.place++] = byte;
      if (byte === 255) this.chunk[this.place++] = 0;
    }
    this.bits = bits & ((1 << held) - 1);
    this.held = held;
  }

  #flush() {
    this.parts.push(this.chunk.slice(0, this.place));
    this.place = 0;
  }

  /** @returns {Blob} the file */
  finish() {
    if (this.held) this.#put((1 << (8 - this.held)) - 1, 8 - this.held);
    this.#flush();
    return new Blob([...this.parts, bytesOf("\xff\xd9")], { type: "image/jpeg" });
  }
}

/**
 * Discrete cosine transform of eight values (Loeffler, Ligtenberg, Moschytz 1989) in integers of 13 fractional bits,
 * scaled by the square root of 8.
 *
 * @param {Int32Array} from
 * @param {number} i place of the first value
 * @param {number} step to the next one
 * @param {Int32Array} to
 * @param {number} o
 * @param {number} apart
 * @param {number} shift fractional bits of the result beyond those of the values
 */
function transform(from, i, step, to, o, apart, shift) {
  const a0 = from[i];
  const a1 = from[i + step];
  const a2 = from[i + 2 * step];
  const a3 = from[i + 3 * step];
  const a4 = from[i + 4 * step];
  const a5 = from[i + 5 * step];
  const a6 = from[i + 6 * step];
  const a7 = from[i + 7 * step];
  const sum0 = a0 + a7;
  const sum1 = a1 + a6;
  const sum2 = a2 + a5;
  const sum3 = a3 + a4;
  const even = sum0 + sum3;
  const odd = sum1 + sum2;
  const left = sum0 - sum3;
  const right = sum1 - sum2;
  const down = 13 - shift;
  const half = 1 << (down - 1);
  if (shift > 0) {
    to[o] = (even + odd) << shift;
    to[o + 4 * apart] = (even - odd) << shift;
  } else {
    const round = 1 << (-shift - 1);
    to[o] = (even + odd + round) >> -shift;
    to[o + 4 * apart] = (even - odd + round) >> -shift;
  }
  const turn = (left + right) * 4433;
  to[o + 2 * apart] = (turn + left * 6270 + half) >> down;
  to[o + 6 * apart] = (turn - right * 15137 + half) >> down;
  const d0 = a3 - a4;
  const d1 = a2 - a5;
  const d2 = a1 - a6;
  const d3 = a0 - a7;
  const both = (d0 + d2 + d1 + d3) * 9633;
  const z1 = (d0 + d3) * -7373;
  const z2 = (d1 + d2) * -20995;
  const z3 = (d0 + d2) * -16069 + both;
  const z4 = (d1 + d3) * -3196 + both;
  to[o + 7 * apart] = (d0 * 2446 + z1 + z3 + half) >> down;
  to[o + 5 * apart] = (d1 * 16819 + z2 + z4 + half) >> down;
  to[o + 3 * apart] = (d2 * 25172 + z2 + z3 + half) >> down;
  to[o + apart] = (d3 * 12299 + z1 + z4 + half) >> down;
}
