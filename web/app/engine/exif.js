/**
 * EXIF blocks, changed in place: maker notes contain offsets from the beginning of the block, so that what is not meant
 * to change stays where it is, byte for byte (`expcorr_core/photos/exif.py`).
 */

import { viewOf } from "./bytes.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {{ tag: number, kind: number, count: number, place: number, data: number, size: number }} Entry */
/** @typedef {{ place: number, entries: Map<number, Entry>, link: number, following: number }} Directory */

const SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4];
const ORIENTATION = 274;
const EXIF_DIRECTORY = 34665;
const INTEROPERABILITY = 40965;
const COLOUR_SPACE = 40961;
const UNCALIBRATED = 65535;
const ADOBE = 2;
/** Pairs of width and height that are exchanged by a quarter turn; also those in the EXIF directory. */
const SIDES = [
  [256, 257],
  [282, 283],
  [40962, 40963],
  [41486, 41487],
];
const SUBJECT = [37396, 41492]; // position of the subject, in pixels
const MOST_ENTRIES = 4096;

/** A block is damaged. */
export class ExifError extends Error {}

class Block {
  /** @param {Bytes} content changed in place by some methods */
  constructor(content) {
    this.content = content;
    this.view = viewOf(content);
    const mark = content.length < 8 ? "" : String.fromCharCode(content[0], content[1]);
    if (mark !== "II" && mark !== "MM") throw new ExifError("it does not begin like TIFF");
    this.little = mark === "II";
    if (this.short(2) !== 42) throw new ExifError("it does not begin like TIFF");
    this.first = this.long(4);
    if (!this.first) throw new ExifError("it has no directory");
  }

  /** @param {number} place */
  short(place) {
    if (place + 2 > this.content.length) throw new ExifError("it is cut off");
    return this.view.getUint16(place, this.little);
  }

  /** @param {number} place */
  long(place) {
    if (place + 4 > this.content.length) throw new ExifError("it is cut off");
    return this.view.getUint32(place, this.little);
  }

  /**
   * @param {number} place
   * @returns {Directory}
   */
  directory(place) {
    const count = this.short(place);
    const link = place + 2 + 12 * count;
    if (count > MOST_ENTRIES || link > this.content.length) throw new ExifError("a directory is cut off");
    /** @type {Map<number, Entry>} */
    const entries = new Map();
    for (let at = place + 2; at < link; at += 12) {
      const [tag, kind, values] = [this.short(at), this.short(at + 2), this.long(at + 4)];
      const size = (SIZES[kind] ?? 0) * values;
      const data = size <= 4 ? at + 8 : this.long(at + 8);
      if (size && data + size <= this.content.length && !entries.has(tag))
        entries.set(tag, { tag, kind, count: values, place: at, data, size });
    }
    return { place, entries, link, following: link + 4 <= this.content.length ? this.long(link) : 0 };
  }

  /** @returns {Directory[]} the directories of the chain, up to the first damaged one */
  pages() {
    const pages = [this.directory(this.first)];
    const seen = new Set([this.first]);
    for (let place = pages[0].following; place && !seen.has(place); place = pages[pages.length - 1].following) {
      seen.add(place);
      try {
        pages.push(this.directory(place));
      } catch {
        break;
      }
    }
    return pages;
  }

  /**
   * The first value of an entry of integers.
   * @param {Directory | null} directory
   * @param {number} tag
   */
  number(directory, tag) {
    const entry = directory?.entries.get(tag);
    if (!entry) return 0;
    if (entry.kind === 3) return this.short(entry.data);
    return entry.kind === 4 || entry.kind === 13 ? this.long(entry.data) : entry.kind === 1 ? this.content[entry.data] : 0;
  }

  /**
   * @param {Directory} directory
   * @param {number} tag
   */
  below(directory, tag) {
    const place = this.number(directory, tag);
    try {
      return place ? this.directory(place) : null;
    } catch {
      return null;
    }
  }

  /**
   * Remove entries of a directory, and overwrite their values.
   * @param {Directory} directory
   * @param {number[]} tags
   */
  remove(directory, tags) {
    const going = tags.flatMap((tag) => directory.entries.get(tag) ?? []).sort((a, b) => b.place - a.place);
    const whole = new Uint8Array(this.content);
    for (const entry of going) whole.fill(0, entry.data, entry.data + entry.size);
    let end = Math.min(directory.link + 4, whole.length);
    let count = this.short(directory.place);
    for (const entry of going) {
      whole.copyWithin(entry.place, entry.place + 12, end);
      whole.fill(0, end - 12, end);
      end -= 12;
      count--;
    }
    if (count < 0) throw new ExifError("a value lies where its directory does");
    this.content.set(whole);
    this.view.setUint16(directory.place, count || 1, this.little); // readers take an empty directory for damage
  }
}

/**
 * 1 to 8; 0 if the block does not specify it or is damaged.
 * @param {Bytes} block
 */
export function orientationOf(block) {
  try {
    const found = new Block(block);
    const value = found.number(found.directory(found.first), ORIENTATION);
    return value <= 8 ? value : 0;
  } catch {
    return 0;
  }
}

/**
 * Whether a block tells that colours are those of Adobe RGB: by DCF's uncalibrated space and index R03, or by number.
 * @param {Bytes} block
 */
export function isAdobeRgb(block) {
  try {
    const found = new Block(block);
    const inner = found.below(found.directory(found.first), EXIF_DIRECTORY);
    const space = found.number(inner, COLOUR_SPACE);
    if (!inner || space !== UNCALIBRATED) return space === ADOBE;
    const index = found.below(inner, INTEROPERABILITY)?.entries.get(1);
    return Boolean(index) && String.fromCharCode(...found.content.subarray(index?.data, (index?.data ?? 0) + 3)) === "R03";
  } catch {
    return false;
  }
}

/**
 * The block for a photo that was turned upright and changed: orientation 1, sides exchanged after a quarter turn,
 * without the subject's position where it moved, and without the thumbnail, which shows what the photo was.
 *
 * @param {Bytes} block
 * @param {number} orientation that the photo had
 * @returns {Bytes}
 * @throws {ExifError} it is damaged
 */
export function ofUpright(block, orientation) {
  const changed = new Block(new Uint8Array(block));
  const pages = changed.pages();
  for (const page of pages.slice(0, 2)) {
    const entry = page.entries.get(ORIENTATION);
    if (entry?.kind === 3) changed.view.setUint16(entry.data, 1, changed.little);
    if (entry?.kind === 4) changed.view.setUint32(entry.data, 1, changed.little);
  }
  const inner = changed.below(pages[0], EXIF_DIRECTORY);
  if (orientation > 4)
    for (const part of [pages[0], inner])
      for (const [a, b] of SIDES) swap(changed.content, part?.entries.get(a), part?.entries.get(b));
  if (orientation > 1 && inner) changed.remove(changed.directory(inner.place), SUBJECT);
  return withoutThumbnail(changed, pages);
}

/**
 * Exchange type, count and value (or its offset) of two entries.
 * @param {Bytes} content
 * @param {Entry | undefined} a
 * @param {Entry | undefined} b
 */
function swap(content, a, b) {
  if (!a || !b) return;
  const first = content.slice(a.place + 2, a.place + 12);
  content.copyWithin(a.place + 2, b.place + 2, b.place + 12);
  content.set(first, b.place + 2);
}

/**
 * @param {Block} block
 * @param {Directory[]} pages
 * @returns {Bytes}
 */
function withoutThumbnail(block, pages) {
  if (pages.length < 2) return block.content;
  const [place, size] = [513, 514].map((tag) => block.number(pages[1], tag));
  let end = block.content.length;
  if (place && size && place + size <= end) {
    block.content.fill(0, place, place + size);
    if (place + size === end) end = place;
  }
  for (const page of pages.slice(1)) block.remove(page, [...page.entries.keys()]);
  block.view.setUint32(pages[0].link, 0, block.little);
  return block.content.slice(0, end);
}
