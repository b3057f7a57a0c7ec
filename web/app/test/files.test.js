/** Files: what is told from their bytes, metadata kept and left out, JPEG and PNG against Pillow. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesOf, joined, textOf, viewOf } from "../engine/bytes.js";
import { nameOf, notesOf, targetOf } from "../engine/encode.js";
import { PhotoError } from "../engine/errors.js";
import * as exif from "../engine/exif.js";
import { metadataSegments, readJpeg, segment } from "../engine/jpeg.js";
import { JpegEncoder } from "../engine/jpeg_encoder.js";
import { nothing, ofUpright, orientationOf } from "../engine/metadata.js";
import { PngEncoder, decodePng, metadataChunks, readPng } from "../engine/png.js";
import { DISPLAY_P3_PROFILE } from "../engine/profiles.js";
import { kindOf } from "../engine/sniff.js";
import { readWebp } from "../engine/webp.js";
import * as xmp from "../engine/xmp.js";
import { decoded, picture, reference } from "./reference.js";

/** @param {() => unknown} work @param {string} code @param {object} [details] */
function refuses(work, code, details) {
  assert.throws(work, (error) => {
    assert.ok(error instanceof PhotoError, String(error));
    assert.equal(error.code, code);
    if (details) assert.deepEqual(error.details, details);
    return true;
  });
}

test("kinds are told by bytes, not by names", () => {
  assert.equal(kindOf(bytesOf("\xff\xd8\xff\xe0"), "a.txt"), "JPEG");
  assert.equal(kindOf(bytesOf("\x89PNG\r\n\x1a\n"), "a.jpg"), "PNG");
  assert.equal(kindOf(bytesOf("RIFF\0\0\0\0WEBPVP8 "), "a"), "WEBP");
  assert.equal(kindOf(bytesOf("\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "a.heic"), "HEIC");
  assert.equal(kindOf(bytesOf("\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"), "a"), "AVIF");
  const refused = /** @type {[string, string, string, object?][]} */ ([
    ["", "a.jpg", "empty"],
    ["Dear diary, today", "a.jpg", "not_a_photo", { found: "text" }],
    ["%PDF-1.7", "a.jpg", "not_a_photo", { found: "pdf" }],
    ["PK\x03\x04", "a.jpg", "not_a_photo", { found: "zip" }],
    ["<?xml version='1.0'?><svg>", "a.jpg", "not_a_photo", { found: "svg" }],
    ["<!DOCTYPE html>", "a.jpg", "not_a_photo", { found: "html" }],
    ["\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a.jpg", "not_a_photo", { found: "video" }],
    ["\x01\x02\x03\0\0\0\0", "a.jpg", "not_a_photo", {}],
    ["GIF89a", "a.jpg", "format_unsupported", { format: "GIF" }],
    ["II*\0\x08\0\0\0", "a.tif", "format_unsupported", { format: "TIFF" }],
    ["II*\0\x08\0\0\0", "a.NEF", "raw_unsupported", { format: "NEF" }],
    ["II*\0\x10\0\0\0CR\x02\0", "a", "raw_unsupported", { format: "CR2" }],
    ["\0\0\0\x18ftypcrx \0\0\0\x01", "a.jpg", "raw_unsupported", { format: "CR3" }],
    ["FUJIFILMCCD-RAW 0201", "a", "raw_unsupported", { format: "RAF" }],
  ]);
  for (const [content, name, code, details] of refused) refuses(() => kindOf(bytesOf(content), name), code, details);
});

for (const { before, orientation, after } of reference("blocks"))
  test(`an EXIF block of orientation ${orientation} is that of the library, byte for byte`, () => {
    assert.equal(exif.orientationOf(decoded(before)), 6);
    assert.deepEqual(exif.ofUpright(decoded(before), orientation), decoded(after));
  });

test("a damaged EXIF block is left out, and the note says so", () => {
  const metadata = { ...nothing(), exif: bytesOf("II*\0\xff\xff\0\0") };
  const kept = ofUpright(metadata);
  assert.equal(kept.exif, null);
  assert.deepEqual(kept.notes, [{ code: "exif_damaged" }]);
});

test("XMP is kept byte for byte but for what is no longer true", () => {
  const plain = bytesOf('<x:xmpmeta><rdf:Description xmp:Rating="5" tiff:ImageWidth="9"/></x:xmpmeta>');
  assert.deepEqual(xmp.ofUpright(plain, 1), { packet: plain, whole: true });
  const turned = xmp.ofUpright(bytesOf('<a tiff:Orientation="6" xmp:Rating="5"/>'), 6);
  assert.equal(textOf(turned.packet), '<a tiff:Orientation="1" xmp:Rating="5"/>');
  assert.equal(xmp.orientationOf(bytesOf("<tiff:Orientation>8</tiff:Orientation>")), 8);
  const mapped = xmp.ofUpright(
    bytesOf('<a xmlns:hdrgm="http://x" hdrgm:Version="1.0" xmp:Rating="5"><Container:Directory><b/></Container:Directory></a>'),
    1,
  );
  assert.equal(textOf(mapped.packet), '<a xmlns:hdrgm="http://x" xmp:Rating="5"></a>');
  assert.equal(mapped.whole, false);
});

for (const { height, width, grey, file } of reference("jpegs"))
  test(`a JPEG of ${width} x ${height}${grey ? ", grey," : ""} is Pillow's, byte for byte`, async () => {
    const encoder = new JpegEncoder(width, height, { grey, density: null, metadata: new Uint8Array() });
    const pixels = picture(height, width);
    encoder.add(pixels.subarray(0, 8 * width * 4), Math.min(8, height));
    if (height > 8) encoder.add(pixels.subarray(8 * width * 4), height - 8);
    assert.deepEqual(new Uint8Array(await encoder.finish().arrayBuffer()), decoded(file));
  });

/** A JPEG file with segments after its first one. @param {[number, string][]} segments @param {string} [behind] */
function jpegWith(segments, behind = "") {
  const file = decoded(reference("jpegs")[0].file);
  const parts = segments.flatMap(([marker, data]) => [segment(marker, data.length), bytesOf(data)]);
  return joined([file.slice(0, 20), ...parts, file.slice(20), bytesOf(behind)]);
}

test("the decoder gets a JPEG without what it could turn or change by; the rest is kept", () => {
  const block = textOf(decoded(reference("blocks")[0].before));
  const file = jpegWith([
    [0xe1, `Exif\0\0${block}`],
    [0xe1, "http://ns.adobe.com/xap/1.0/\0<x/>"],
    [0xe2, `ICC_PROFILE\0\x02\x02cd`],
    [0xe2, `ICC_PROFILE\0\x01\x02ab`],
    [0xe4, "of a maker"],
    [0xfe, "a comment"],
  ]);
  const { metadata, bare, width, height, components } = readJpeg(file);
  assert.deepEqual([width, height, components], [24, 16, 3]);
  assert.deepEqual(bare, decoded(reference("jpegs")[0].file));
  assert.equal(orientationOf(metadata), 6);
  assert.equal(textOf(metadata.profile ?? bytesOf("")), "abcd");
  assert.deepEqual(metadata.notes, []);
  const written = textOf(metadataSegments(ofUpright(metadata), true));
  for (const part of ["Exif\0\0II*\0", "xap/1.0/\0<x/>", "ICC_PROFILE\0\x01\x01abcd", "of a maker", "a comment"])
    assert.ok(written.includes(part), part);
  assert.ok(textOf(readJpeg(file, true).bare).includes("ICC_PROFILE"));
});

test("what a JPEG has beside its picture is told", () => {
  const file = textOf(decoded(reference("jpegs")[3].file));
  /** @param {[number, string][]} segments @param {string} [behind] */
  const notes = (segments, behind) => readJpeg(jpegWith(segments, behind)).metadata.notes.map(({ code }) => code);
  const map = file.slice(0, 20) + "\xff\xe1\0\x0ahdrgm:ab" + file.slice(20);
  assert.deepEqual(notes([[0xe2, "MPF\0II"]], map), ["gain_map"]);
  assert.deepEqual(notes([[0xe2, "MPF\0II"]], `\0\0${file}`), ["further_pictures"]);
  assert.deepEqual(notes([[0xeb, "JP\0\x01"]]), ["content_credentials"]);
  assert.deepEqual(notes([], "\0\0\0\x18ftypmp42"), ["video"]);
  assert.deepEqual(notes([[0xe0, "JFXX\0\x10"]]), []);
});

test("a JPEG that is cut off is refused as such", () => {
  const file = decoded(reference("jpegs")[0].file);
  for (const length of [2, 30, 400, file.length - 2]) refuses(() => readJpeg(file.slice(0, length)), "unreadable");
  const deep = file.slice();
  deep[textOf(file).indexOf("\xff\xc0") + 4] = 12;
  refuses(() => readJpeg(deep), "format_unsupported");
});

for (const { name, file, pixels } of reference("pngs"))
  test(`a PNG of ${name} has Pillow's pixels`, async () => {
    const read = await readPng(decoded(file));
    const made = await decodePng(read, () => {});
    assert.deepEqual(new Uint8Array(made.pixels), decoded(pixels));
    assert.equal(made.grey, name.startsWith("grey") || name === "two colours");
    assert.equal(read.metadata.notes.length, name === "16 bits" ? 1 : 0);
  });

test("a PNG that is cut off or damaged is refused", async () => {
  const file = decoded(reference("pngs")[2].file);
  for (const length of [20, 60, file.length - 12])
    await assert.rejects(readPng(file.slice(0, length)), { code: "unreadable" });
  const damaged = file.slice();
  damaged.fill(7, 60, 90);
  await assert.rejects(readPng(damaged).then((read) => decodePng(read, () => {})), { code: "unreadable" });
});

for (const [grey, hasAlpha] of [[false, true], [false, false], [true, false], [true, true]])
  test(`a PNG is read as it was written: ${grey ? "grey" : "colours"}${hasAlpha ? " with alpha" : ""}`, async () => {
    const pixels = picture(21, 13).map((value, i) => (i % 4 === 3 && hasAlpha ? (i * 5) % 256 : value));
    if (grey) for (let i = 0; i < pixels.length; i += 4) pixels[i + 1] = pixels[i + 2] = pixels[i];
    const metadata = { ...nothing(), profile: DISPLAY_P3_PROFILE, exif: bytesOf("II*\0abcd"), xmp: bytesOf("<x/>") };
    const encoder = new PngEncoder(13, 21, { grey, hasAlpha, metadata: await metadataChunks(metadata, true) });
    await encoder.add(pixels.subarray(0, 8 * 13 * 4), 8);
    await encoder.add(pixels.subarray(8 * 13 * 4), 13);
    const read = await readPng(new Uint8Array(await (await encoder.finish()).arrayBuffer()));
    const made = await decodePng(read, () => {});
    assert.deepEqual(made.pixels, pixels);
    assert.deepEqual([made.grey, made.hasAlpha], [grey, hasAlpha]);
    const { profile, exif: block, xmp: packet } = read.metadata;
    assert.deepEqual({ profile, exif: block, xmp: packet }, { profile: metadata.profile, exif: metadata.exif, xmp: metadata.xmp });
  });

test("the decoder gets a WebP without metadata", () => {
  /** @param {string} name @param {string} data */
  const chunk = (name, data) => `${name}${String.fromCharCode(data.length)}\0\0\0${data}${data.length % 2 ? "\0" : ""}`;
  const body = chunk("VP8X", "\x2c\0\0\0\0\0\0\0\0\0") + chunk("ICCP", "icc") + chunk("VP8 ", "pixel") + chunk("EXIF", "Exif\0\0II*\0") + chunk("XMP ", "<x/>");
  const file = bytesOf(`RIFF${String.fromCharCode(body.length + 4)}\0\0\0WEBP${body}`);
  const { metadata, bare } = readWebp(file);
  assert.equal(textOf(bare, 12), chunk("VP8X", "\0\0\0\0\0\0\0\0\0\0") + chunk("VP8 ", "pixel"));
  assert.equal(viewOf(bare).getUint32(4, true), bare.length - 8);
  assert.equal(textOf(metadata.exif ?? bytesOf("")), "II*\0");
  assert.equal(textOf(readWebp(file, true).bare, 12, 21), "VP8X\x0a\0\0\0\x20");
  refuses(() => readWebp(file.slice(0, -4)), "unreadable");
});

test("results are named after their photos", () => {
  assert.equal(nameOf("a.b.JPG", "JPEG"), "a.b_corrected.JPG");
  assert.equal(nameOf("a.webp", "PNG"), "a_corrected.png");
  assert.equal(nameOf("photo", "JPEG"), "photo_corrected.jpg");
  assert.equal(targetOf({ kind: "WEBP", hasAlpha: false }, "same"), "PNG");
  assert.equal(targetOf({ kind: "AVIF", hasAlpha: true }, "same"), "PNG");
  assert.equal(targetOf({ kind: "PNG", hasAlpha: true }, "jpeg"), "JPEG");
});

test("what a result lacks is told for its format", () => {
  const photo = { kind: /** @type {const} */ ("PNG"), width: 1, height: 1, pixels: new Uint8ClampedArray(4), hasAlpha: true, grey: false, space: null, metadata: nothing() };
  assert.deepEqual(notesOf(photo, "PNG"), []);
  assert.deepEqual(notesOf(photo, "JPEG"), [{ code: "alpha" }]);
  const texts = { ...photo, metadata: { ...nothing(), own: [{ mark: "tEXt", data: bytesOf("a\0b") }] } };
  assert.deepEqual(notesOf(texts, "JPEG"), [{ code: "alpha" }, { code: "metadata" }]);
});

