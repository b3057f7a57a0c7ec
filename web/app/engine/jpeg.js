/** JPEG files as segments: their metadata, what decoders need, and new files (`expcorr_core/photos/jpeg.py`). */

import { bytesOf, joined, startsWith, textOf, viewOf } from "./bytes.js";
import { PhotoError } from "./errors.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {import("./metadata.js").Metadata} Metadata */
/** @typedef {{ marker: number, start: number, end: number }} Segment `start` is the marker's place */

const JFIF = "JFIF\0";
const EXIF = "Exif\0\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const EXTENDED = "http://ns.adobe.com/xmp/extension/\0";
const PROFILE = "ICC_PROFILE\0";
const PHOTOSHOP = "Photoshop 3.0\0";
const ADOBE = "Adobe";
/** Segments that describe the old pixels or what follows them, and the notes on their loss. */
const OF_THE_PIXELS = /** @type {const} */ ([
  ["JFXX\0", ""],
  ["MPF\0", "further_pictures"],
  ["urn:iso:std:iso:ts:21496:-1", "gain_map"],
  ["JP", "content_credentials"],
  ["HDR_RI", "gain_map"],
]);
const MOST = 65533; // bytes in a segment
const [APP0, APP1, APP2, APP11, APP13, APP14, APP15, COMMENT] = [0xe0, 0xe1, 0xe2, 0xeb, 0xed, 0xee, 0xef, 0xfe];
const [EOI, SOS] = [0xd9, 0xda];

/**
 * @param {Bytes} bytes
 * @returns {{ segments: Segment[], pixels: number, end: number }} where the pixels begin, and where the picture ends
 *   (0: its end is missing)
 */
function segmentsOf(bytes) {
  /** @type {Segment[]} */
  const segments = [];
  let place = 2;
  for (;;) {
    place = nextMarker(bytes, place);
    if (place < 0 || place + 4 > bytes.length) throw new PhotoError("unreadable");
    const marker = bytes[place + 1];
    if (marker === SOS) break;
    const end = place + 2 + ((bytes[place + 2] << 8) | bytes[place + 3]);
    segments.push({ marker, start: place, end });
    place = end;
  }
  return { segments, pixels: place, end: endOf(bytes, place) };
}

/**
 * @param {Bytes} bytes
 * @param {number} place
 */
function nextMarker(bytes, place) {
  for (; (place = bytes.indexOf(0xff, place)) >= 0; place++) {
    const marker = bytes[place + 1];
    if ((marker >= 0xc0 && marker <= 0xcf) || (marker >= SOS && marker <= 0xfe)) return place;
  }
  return -1;
}

/**
 * @param {Bytes} bytes
 * @param {number} place of the first segment of pixels
 */
function endOf(bytes, place) {
  while (place >= 0 && place + 4 <= bytes.length) {
    if (bytes[place + 1] === EOI) return place + 2;
    place += 2 + ((bytes[place + 2] << 8) | bytes[place + 3]);
    for (; (place = bytes.indexOf(0xff, place)) >= 0; place++) {
      const marker = bytes[place + 1];
      if (marker && marker !== 0xff && (marker < 0xd0 || marker > 0xd7)) break;
    }
  }
  return place >= 0 && bytes[place] === 0xff && bytes[place + 1] === EOI ? place + 2 : 0;
}

/** @param {number} marker */
const isMetadata = (marker) => (marker >= APP0 && marker <= APP15) || marker === COMMENT;

/** @param {number} marker */
const isFrame = (marker) => marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;

/**
 * The metadata of a file, and the file without them: damaged metadata cannot keep a photo from being read, and the
 * decoder neither turns it nor changes its colours.
 *
 * @param {Bytes} bytes
 * @param {boolean} [withProfile] leave the decoder the colour profile
 * @returns {{ metadata: Metadata, bare: Bytes, width: number, height: number, components: number }}
 */
export function readJpeg(bytes, withProfile = false) {
  const { segments, pixels, end } = segmentsOf(bytes);
  const size = { width: 0, height: 0, components: 0 };
  /** @type {Metadata} */
  const metadata = { exif: null, xmp: null, profile: null, photoshop: null, own: [], notes: [], density: null };
  /** @type {Set<string>} */
  const notes = new Set();
  /** @type {Bytes[]} */
  const profile = [];
  /** @type {Bytes[]} */
  const photoshop = [];
  const needed = [bytesOf("\xff\xd8")];
  for (const { marker, start, end: stop } of segments) {
    const data = bytes.subarray(start + 4, stop);
    if (isFrame(marker)) {
      if ((marker > 0xc2 && marker !== 0xc9 && marker !== 0xca) || data[0] !== 8)
        throw new PhotoError("format_unsupported", { format: marker % 4 === 3 ? "lossless JPEG" : `JPEG, ${data[0]} bits` });
      size.height = (data[1] << 8) | data[2];
      size.width = (data[3] << 8) | data[4];
      size.components = data[5];
    }
    const ofDecoder = startsWith(data, ADOBE) || startsWith(data, JFIF) || (withProfile && startsWith(data, PROFILE));
    if (!isMetadata(marker) || ofDecoder) needed.push(bytes.subarray(start, stop));
    if (!isMetadata(marker)) continue;
    const stale = OF_THE_PIXELS.find(([mark]) => startsWith(data, mark) && (mark !== "JP" || marker === APP11));
    if (marker === APP0 && startsWith(data, JFIF)) metadata.density = data.slice(7, 12);
    else if (marker === APP1 && startsWith(data, "Exif\0")) metadata.exif ??= data.slice(EXIF.length);
    else if (marker === APP1 && startsWith(data, XMP)) metadata.xmp ??= data.slice(XMP.length);
    else if (marker === APP2 && startsWith(data, PROFILE)) profile[data[12]] ??= data.subarray(14);
    else if (marker === APP13 && startsWith(data, PHOTOSHOP)) photoshop.push(data.subarray(PHOTOSHOP.length));
    else if (stale) notes.add(stale[1]);
    else if (marker !== APP14 || !startsWith(data, ADOBE)) metadata.own.push({ mark: String.fromCharCode(marker), data });
  }
  if (profile.length) metadata.profile = joined(profile.filter(Boolean));
  if (photoshop.length) metadata.photoshop = joined(photoshop);
  if (!end || !size.width || !size.height) throw new PhotoError("unreadable");
  tellTrailer(bytes.subarray(end), notes);
  notes.delete("");
  metadata.notes = [...notes].map((code) => ({ code }));
  return { metadata, bare: joined([...needed, bytes.subarray(pixels, end)]), ...size };
}

/**
 * Notes on what follows a picture.
 * @param {Bytes} trailer
 * @param {Set<string>} notes
 */
function tellTrailer(trailer, notes) {
  let place = 0;
  let mapped = false;
  let others = false;
  for (let pictures = 0; pictures < 16; pictures++) {
    while (trailer[place] === 0) place++;
    if (!startsWith(trailer, "\xff\xd8", place)) break;
    const picture = trailer.subarray(place);
    try {
      const { pixels, end } = segmentsOf(picture);
      const head = textOf(picture, 0, pixels);
      const isMap = /hdrgm|HDRGainMap|21496/.test(head);
      mapped ||= isMap;
      others ||= !isMap;
      place += end || trailer.length;
    } catch {
      others = true;
      break;
    }
  }
  if (mapped) {
    notes.add("gain_map");
    if (!others) notes.delete("further_pictures"); // the directory was only that of the map
  }
  if (others) notes.add("further_pictures");
  if (textOf(trailer, place, place + 4096).includes("ftyp")) notes.add("video");
}

/**
 * The segments of metadata, for between the beginning of a new picture and its tables.
 * @param {Metadata} metadata
 * @param {boolean} fromJpeg whether its own parts are segments
 * @returns {Bytes}
 */
export function metadataSegments(metadata, fromJpeg) {
  /** @type {[number, Bytes][]} */
  const segments = [];
  const { exif, xmp, profile, photoshop } = metadata;
  if (exif && exif.length <= MOST - EXIF.length) segments.push([APP1, joined([bytesOf(EXIF), exif])]);
  if (xmp && xmp.length <= MOST - XMP.length) segments.push([APP1, joined([bytesOf(XMP), xmp])]);
  if (profile) {
    const parts = cut(profile, MOST - 14);
    parts.forEach((part, i) => segments.push([APP2, joined([bytesOf(PROFILE), Uint8Array.of(i + 1, parts.length), part])]));
  }
  if (photoshop)
    for (const part of cut(photoshop, MOST - PHOTOSHOP.length)) segments.push([APP13, joined([bytesOf(PHOTOSHOP), part])]);
  if (fromJpeg) for (const { mark, data } of metadata.own) segments.push([mark.charCodeAt(0), data]);
  return joined(segments.flatMap(([marker, data]) => [segment(marker, data.length), data]));
}

/**
 * Whether a block of metadata fits into a segment.
 * @param {Bytes} data
 */
export const fitsSegment = (data) => data.length <= MOST - XMP.length;

/**
 * @param {Bytes} data
 * @param {number} size
 */
function cut(data, size) {
  const parts = [];
  for (let place = 0; place < data.length; place += size) parts.push(data.subarray(place, place + size));
  return parts;
}

/**
 * A segment's marker and size.
 * @param {number} marker
 * @param {number} size of its data
 */
export function segment(marker, size) {
  const head = new Uint8Array(4);
  viewOf(head).setUint16(0, 0xff00 | marker);
  viewOf(head).setUint16(2, size + 2);
  return head;
}
/** Extended packets are segments of their own. @param {Bytes} data */
export const isExtendedXmp = (data) => startsWith(data, EXTENDED);
