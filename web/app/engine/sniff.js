import { startsWith, textOf } from "./bytes.js";
import { PhotoError } from "./errors.js";

/** @typedef {"JPEG" | "PNG" | "WEBP" | "AVIF" | "HEIC"} Kind */

const RAW_MARKS = /** @type {const} */ ([
  [0, "FUJIFILMCCD-RAW", "RAF"],
  [0, "IIRO", "ORF"],
  [0, "IIRS", "ORF"],
  [0, "MMOR", "ORF"],
  [0, "IIU\0", "RW2"],
  [0, "II\x1a\0\0\0HEAPCCDR", "CRW"],
  [0, "FOVb", "X3F"],
  [0, "\0MRM", "MRW"],
  [8, "CR\x02", "CR2"],
  [4, "ftypcrx ", "CR3"],
]);
/** Names of raw files that begin like TIFF. */
const RAW_NAMES = /\.(3fr|arw|cr2|cr3|crw|dcr|dng|erf|fff|gpr|iiq|k25|kdc|mef|mos|mrw|nef|nrw|orf|pef|raf|raw|rw2|rwl|sr2|srf|srw|x3f)$/i;
const OTHERS = /** @type {const} */ ([
  ["II*\0", "TIFF"],
  ["MM\0*", "TIFF"],
  ["II+\0", "TIFF"],
  ["MM\0+", "TIFF"],
  ["GIF8", "GIF"],
  ["8BPS", "Photoshop"],
  ["\0\0\0\x0cjP  ", "JPEG 2000"],
  ["\xff\x4f\xff\x51", "JPEG 2000"],
  ["\0\0\0\x0cJXL ", "JPEG XL"],
  ["\xff\x0a", "JPEG XL"],
  ["v/1\x01", "OpenEXR"],
  ["#?RADIANCE", "Radiance"],
  ["\x89JNG", "JNG"],
]);
const HEIC = /heic|heix|heim|heis|hevc|hevx|mif1|msf1/;

/**
 * The kind of a photo by its file's bytes; its name only tells raw files from other TIFF files.
 * @param {import("./bytes.js").Bytes} bytes
 * @param {string} name
 * @returns {Kind}
 */
export function kindOf(bytes, name) {
  if (!bytes.length) throw new PhotoError("empty");
  if (startsWith(bytes, "\xff\xd8")) return "JPEG";
  if (startsWith(bytes, "\x89PNG\r\n\x1a\n")) return "PNG";
  if (startsWith(bytes, "RIFF") && startsWith(bytes, "WEBP", 8)) return "WEBP";
  for (const [place, mark, format] of RAW_MARKS)
    if (startsWith(bytes, mark, place)) throw new PhotoError("raw_unsupported", { format });
  if (startsWith(bytes, "ftyp", 4)) return kindOfBoxes(bytes);
  for (const [mark, format] of OTHERS) {
    if (!startsWith(bytes, mark)) continue;
    const raw = format === "TIFF" && RAW_NAMES.exec(name);
    throw raw
      ? new PhotoError("raw_unsupported", { format: raw[1].toUpperCase() })
      : new PhotoError("format_unsupported", { format });
  }
  if (startsWith(bytes, "BM") && bytes.length > 26 && bytes[14] < 128 && !bytes[15])
    throw new PhotoError("format_unsupported", { format: "BMP" });
  throw notAPhoto(bytes);
}

/**
 * @param {import("./bytes.js").Bytes} bytes that begin with an ftyp box
 * @returns {Kind}
 */
function kindOfBoxes(bytes) {
  const size = Math.min(((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0, 256);
  const main = textOf(bytes, 8, 12);
  const brands = [main];
  for (let place = 16; place + 4 <= size; place += 4) brands.push(textOf(bytes, place, place + 4));
  if (brands.some((brand) => brand === "avif" || brand === "avis")) return "AVIF";
  if (HEIC.test(main) || (brands.some((brand) => HEIC.test(brand)) && !/^(isom|mp4|qt|iso\d|M4)/.test(main)))
    return "HEIC";
  throw new PhotoError("not_a_photo", { found: "video" });
}

/** @param {import("./bytes.js").Bytes} bytes */
function notAPhoto(bytes) {
  const beginning = textOf(bytes, 0, 512);
  const found = beginning.startsWith("%PDF")
    ? "pdf"
    : beginning.startsWith("PK\x03\x04")
      ? "zip"
      : /<svg[\s>]/i.test(beginning)
        ? "svg"
        : /^\s*<(!doctype html|html)/i.test(beginning)
          ? "html"
          : /^(\xef\xbb\xbf)?[\t\n\r -~\x80-\xff]*$/.test(beginning) && /^[\t\n\r -~]{4}|^\xef\xbb\xbf/.test(beginning)
            ? "text"
            : "";
  return new PhotoError("not_a_photo", found ? { found } : {});
}
