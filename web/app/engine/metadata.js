/** What a file holds beside its pixels, and what of it is true of the corrected picture. */

import { joined, startsWith, viewOf } from "./bytes.js";
import * as exif from "./exif.js";
import { isExtendedXmp } from "./jpeg.js";
import * as xmp from "./xmp.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/**
 * @typedef {{
 *   exif: Bytes | null, xmp: Bytes | null, profile: Bytes | null, photoshop: Bytes | null,
 *   own: { mark: string, data: Bytes }[], notes: import("./types.js").Note[], density: Bytes | null,
 * }} Metadata `own` are segments or chunks that only the same format can hold; `density` is JFIF's unit and resolution
 */

/** @returns {Metadata} */
export const nothing = () => ({ exif: null, xmp: null, profile: null, photoshop: null, own: [], notes: [], density: null });

/**
 * By which EXIF orientation a photo is to be turned.
 * @param {Metadata} metadata
 */
export const orientationOf = (metadata) =>
  (metadata.exif && exif.orientationOf(metadata.exif)) || (metadata.xmp && xmp.orientationOf(metadata.xmp)) || 1;

/**
 * The metadata of the photo that was turned upright, and changed.
 * @param {Metadata} metadata
 * @returns {Metadata}
 */
export function ofUpright(metadata) {
  const orientation = orientationOf(metadata);
  const notes = [...metadata.notes];
  const changed = { ...metadata, notes };
  if (metadata.exif) {
    try {
      changed.exif = exif.ofUpright(metadata.exif, orientation);
    } catch {
      changed.exif = null;
      notes.push({ code: "exif_damaged" });
    }
  }
  let whole = true;
  if (metadata.xmp) {
    const found = xmp.ofUpright(metadata.xmp, orientation);
    changed.xmp = found.packet.length ? found.packet : null;
    whole = found.whole;
  }
  // Extended packets are linked by a checksum: depth maps and the like, which describe the old picture, are most of them.
  const own = metadata.own.filter(({ data }) => !isExtendedXmp(data));
  if (own.length < metadata.own.length && (!changed.xmp || orientation > 1)) {
    changed.own = own;
    whole = false;
  }
  const told = notes.some(({ code }) => code === "gain_map" || code === "video" || code === "content_credentials");
  if (!whole && !told) notes.push({ code: "xmp_parts" });
  if (metadata.photoshop) changed.photoshop = photoshopOf(metadata.photoshop, orientation > 1);
  if (metadata.density && orientation > 4) {
    const [unit, a, b, c, d] = metadata.density;
    changed.density = Uint8Array.of(unit, c, d, a, b);
  }
  return changed;
}

/**
 * Photoshop's image resources without thumbnails and, of a turned picture, without paths, guides, and copies of EXIF
 * and XMP.
 * @param {Bytes} resources
 * @param {boolean} turned
 */
function photoshopOf(resources, turned) {
  const view = viewOf(resources);
  const parts = [];
  for (let place = 0; place + 12 <= resources.length; ) {
    if (!["8BIM", "PHUT", "DCSR", "AgHg", "MeSa"].some((mark) => startsWith(resources, mark, place))) break;
    const number = view.getUint16(place + 4);
    const name = 1 + resources[place + 6];
    const at = place + 6 + name + (name % 2);
    if (at + 4 > resources.length) break;
    const size = view.getUint32(at);
    const end = at + 4 + size + (size % 2);
    if (at + 4 + size > resources.length) break;
    const thumbnail = number === 1033 || number === 1036;
    const placed = [1005, 1032, 1058, 1059, 1060].includes(number) || (number >= 2000 && number < 2998);
    if (!thumbnail && !(turned && placed)) parts.push(resources.subarray(place, end));
    place = end;
  }
  const kept = joined(parts);
  return kept.length ? kept : null;
}
