/** WebP files as chunks: their metadata, and the file without them for the decoder. */

import { bytesOf, joined, startsWith, textOf, viewOf } from "./bytes.js";
import { PhotoError } from "./errors.js";
import { nothing } from "./metadata.js";

const FIELDS = /** @type {const} */ ({ EXIF: "exif", "XMP ": "xmp", ICCP: "profile" });
const [HAS_PROFILE, HAS_EXIF, HAS_XMP] = [0x20, 0x08, 0x04];

/**
 * @param {import("./bytes.js").Bytes} bytes
 * @param {boolean} [withProfile] leave the decoder the colour profile
 */
export function readWebp(bytes, withProfile = false) {
  const view = viewOf(bytes);
  const metadata = nothing();
  const end = bytes.length < 20 ? Infinity : view.getUint32(4, true) + 8;
  if (end > bytes.length) throw new PhotoError("unreadable"); // cut off
  const kept = [];
  let frames = 0;
  for (let place = 12; place + 8 <= end; ) {
    const name = textOf(bytes, place, place + 4);
    const size = view.getUint32(place + 4, true);
    const data = bytes.slice(place + 8, Math.min(end, place + 8 + size));
    const next = place + 8 + size + (size % 2);
    const field = name in FIELDS ? FIELDS[/** @type {keyof typeof FIELDS} */ (name)] : null;
    if (field) metadata[field] ??= field === "exif" && startsWith(data, "Exif\0\0") ? data.slice(6) : data;
    if (name === "ANMF") frames++;
    if (name === "C2PA") metadata.notes.push({ code: "content_credentials" });
    if (!field || (withProfile && field === "profile")) {
      const whole = bytes.slice(place, Math.min(end, next));
      if (name === "VP8X") whole[8] &= ~(HAS_EXIF | HAS_XMP | (withProfile ? 0 : HAS_PROFILE));
      kept.push(whole);
    }
    place = next;
  }
  if (frames > 1) metadata.notes.push({ code: "animation" });
  const body = joined([bytesOf("WEBP"), ...kept]);
  const head = new Uint8Array(8);
  head.set(bytesOf("RIFF"));
  viewOf(head).setUint32(4, body.length, true);
  return { metadata, bare: joined([head, body]) };
}
