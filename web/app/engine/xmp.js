/** XMP packets, changed as text: they are kept byte for byte but for what is no longer true of the new picture. */

import { bytesOf, textOf } from "./bytes.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */

const ORIENTATION = /(tiff:Orientation\s*(?:=\s*["']|>)\s*)([1-8])(?=\s*["'<])/g;
/** What shows, describes or points to the old picture or files behind it, by the prefixes that programs give. */
const STALE = "xmp:Thumbnails|hdrgm:[\\w-]+|HDRGainMap:[\\w-]+|apdi:AuxiliaryImageType|Container:Directory" +
  "|GContainer:Directory|GCamera:(?:MotionPhoto|MicroVideo)[\\w-]*|Camera:MotionPhoto\\w*|OpCamera:(?:MotionPhoto|VideoLength)\\w*|dcterms:provenance";
/** What refers to places in the picture. */
const PLACED = "mwg-rs:Regions|MP:RegionInfo|GDepth:[\\w-]+|GImage:[\\w-]+|GFocus:[\\w-]+|tiff:(?:ImageWidth|ImageLength|XResolution|YResolution)" +
  "|exif:Pixel[XY]Dimension";
const LEFT = /Thumbnails|HDRGainMap:|hdrgm:|Container:Directory|MotionPhoto|MicroVideo|VideoLength|dcterms:provenance/;
const LEFT_TURNED = /mwg-rs:Regions|MP:RegionInfo|GDepth:|GImage:|GFocus:/;

/**
 * 1 to 8; 0 if the packet does not specify it.
 * @param {Bytes} packet
 */
export const orientationOf = (packet) => Number(new RegExp(ORIENTATION).exec(textOf(packet))?.[2] ?? 0);

/**
 * The packet for a photo that was turned upright and changed.
 * @param {Bytes} packet
 * @param {number} orientation that the photo had
 * @returns {{ packet: Bytes, whole: boolean }} `whole` is false where parts with a meaning of their own were removed; an
 *   empty packet where they cannot be told apart from the rest
 */
export function ofUpright(packet, orientation) {
  const before = textOf(packet);
  const turned = orientation > 1;
  if (before.slice(0, 64).includes("\0")) return { packet: turned ? new Uint8Array() : packet, whole: !turned }; // UTF-16
  let text = before.replace(ORIENTATION, "$11");
  const stale = turned ? `${STALE}|${PLACED}` : STALE;
  const kept = text
    .replace(new RegExp(`\\s(?:${stale})\\s*=\\s*(?:"[^"]*"|'[^']*')`, "g"), "")
    .replace(new RegExp(`<(${stale})(?:\\s[^<>]*)?/>`, "g"), "")
    .replace(new RegExp(`<(${stale})(?:\\s[^<>]*)?>[\\s\\S]*?</\\1\\s*>`, "g"), "");
  const declared = kept.replace(/\sxmlns:[\w-]+\s*=\s*(?:"[^"]*"|'[^']*')/g, "");
  if (LEFT.test(declared) || (turned && LEFT_TURNED.test(declared))) return { packet: new Uint8Array(), whole: false };
  return { packet: kept === before ? packet : bytesOf(kept), whole: kept === text };
}
