// Writes the page as a folder of plain files, for any static host:
//   node build.mjs [--models FOLDER] [FOLDER]
// The models lie in weights/onnx; others are made by `python training/export.py WEIGHTS FOLDER --onnx`. Run `npm ci` first.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.join(HERE, "..", "..");
const MARK = "files.json"; // tells a folder that was made here, and what is in it
const MOST = 8e6; // bytes to load on first use
const ORT = "node_modules/onnxruntime-web/dist";
const JPEG = "node_modules/@jsquash/jpeg/codec/dec";

// Kept by every visitor's browser; of the models, the paper's only once it was asked for.
const PAGE = ["index.html", "style.css", "icon.svg", "manifest.webmanifest"];
const FOLDERS = ["ui", "engine"];
const NOW = {
  "ort/ort.wasm.min.mjs": `${ORT}/ort.wasm.min.mjs`,
  "ort/ort-wasm-simd-threaded.mjs": `${ORT}/ort-wasm-simd-threaded.mjs`,
  "ort/ort-wasm-simd-threaded.wasm.gz": `${ORT}/ort-wasm-simd-threaded.wasm`,
};
const DECODER = { "jpeg/mozjpeg_dec.js": `${JPEG}/mozjpeg_dec.js`, "jpeg/mozjpeg_dec.wasm": `${JPEG}/mozjpeg_dec.wasm` };
const LICENCES = {
  "licences/expcorr.txt": path.join(ROOT, "LICENSE"),
  "licences/onnxruntime.txt": "licences/onnxruntime.txt",
  "licences/jsquash-jpeg.txt": "node_modules/@jsquash/jpeg/LICENSE",
  "licences/mozjpeg.txt": "node_modules/@jsquash/jpeg/codec/LICENSE.codec.md",
};
const FAST = "model_fp16.onnx";
const PAPER = "paper_fp16.onnx"; // left out where there is none
const FIT = "fit.onnx";

/** @param {string} message @returns {never} */
function fail(message) {
  console.error(`build.mjs: ${message}`);
  process.exit(1);
}

/** @param {string} target Refuses a folder that something else has files in; empties one that was made here. */
function makeEmpty(target) {
  const names = fs.existsSync(target) ? fs.readdirSync(target) : [];
  if (names.length && !names.includes(MARK)) fail(`${target} has files that were not made here; empty it or name another folder`);
  for (const name of names) fs.rmSync(path.join(target, name), { recursive: true });
  fs.mkdirSync(target, { recursive: true });
}

/** @param {string} folder @param {RegExp} kind @returns {string[]} Paths below the page's folder, sorted. */
function below(folder, kind) {
  const names = /** @type {string[]} */ (fs.readdirSync(path.join(HERE, folder), { recursive: true }));
  return names.filter((name) => kind.test(name)).map((name) => `${folder}/${name.replaceAll("\\", "/")}`).sort();
}

/** @param {Buffer} content */
const hashOf = (content) => createHash("sha256").update(content).digest("base64");

/** @param {string} source @param {string} target Compressed where the target's name ends in .gz. */
function read(source, target) {
  const content = fs.readFileSync(source);
  return target.endsWith(".gz") ? gzipSync(content, { level: 9 }) : content;
}

/** @param {string} page @param {string} models @param {boolean} paper The page with the models to choose from, and their bytes. */
function withModels(page, models, paper) {
  const bytes = (/** @type {string} */ name) => fs.statSync(path.join(models, name)).size;
  const filled = page
    .replace('<option value="fast">', `<option value="fast" data-bytes="${bytes(FAST)}">`)
    .replace('<option value="paper"></option>', paper ? `<option value="paper" data-bytes="${bytes(PAPER)}"></option>` : "");
  if (filled === page) fail("index.html has no models to fill in");
  return filled;
}

/** @param {string} target @param {string} models */
function build(target, models) {
  const paper = fs.existsSync(path.join(models, PAPER));
  /** @type {{ path: string, source: string, now: boolean }[]} */
  const wanted = [
    ...[...PAGE, ...FOLDERS.flatMap((folder) => below(folder, /\.(js|svg)$/))].map((name) => ({ path: name, source: path.join(HERE, name), now: true })),
    ...Object.entries({ ...NOW, ...DECODER }).map(([name, source]) => ({ path: name, source: path.join(HERE, source), now: true })),
    ...[FAST, FIT].map((name) => ({ path: `models/${name}`, source: path.join(models, name), now: true })),
    ...(paper ? [{ path: `models/${PAPER}`, source: path.join(models, PAPER), now: false }] : []),
    ...["coffee_under.jpg", "cat_over.jpg"].map((name) => ({ path: `examples/${name}`, source: path.join(ROOT, "examples", name), now: true })),
  ].filter(({ path }) => path !== "engine/server_engine.js"); // only `expcorr app` needs it
  for (const { source } of wanted) {
    if (fs.existsSync(source)) continue;
    const how = source.includes("node_modules") ? "run npm ci" : "make the models with: python training/export.py WEIGHTS FOLDER --onnx, and name their folder with --models";
    fail(`${source} is missing; ${how}`);
  }
  makeEmpty(target);
  /** @param {string} name @param {Buffer | string} content */
  const write = (name, content) => {
    fs.mkdirSync(path.dirname(path.join(target, name)), { recursive: true });
    fs.writeFileSync(path.join(target, name), content);
  };
  write(MARK, "[]\n"); // so that a build that was broken off can be repeated
  /** @type {{ path: string, hash: string, now: boolean, whole: boolean }[]} */
  const files = [];
  let first = 0;
  for (const { path: name, source, now } of wanted) {
    const content = name === "index.html" ? Buffer.from(withModels(read(source, name).toString(), models, paper)) : read(source, name);
    write(name, content);
    // Hosts may serve text compressed, or not: here it counts as it is.
    if (now) first += content.length;
    files.push({ path: name === "index.html" ? "" : name, hash: hashOf(content), now, whole: name !== "index.html" && !name.endsWith(".gz") });
  }
  for (const [name, source] of Object.entries(LICENCES)) write(name, fs.readFileSync(path.resolve(HERE, source)));
  const worker = fs.readFileSync(path.join(HERE, "service_worker.js"), "utf8");
  const filled = worker.replace("const FILES = [];", () => `const FILES = ${JSON.stringify(files)};`);
  if (filled === worker) fail("service_worker.js has no list to fill");
  write("service_worker.js", filled);
  write(MARK, `${JSON.stringify(files, null, 1)}\n`);
  return first + Buffer.byteLength(filled);
}

const { values, positionals } = parseArgs({ options: { models: { type: "string" } }, allowPositionals: true });
if (positionals.length > 1) fail("name one folder to write to");
const target = path.resolve(positionals[0] ?? path.join(HERE, "dist"));
const first = build(target, path.resolve(values.models ?? path.join(ROOT, "weights", "onnx")));
console.log(`written: ${target}\nto load on first use: ${(first / 1e6).toFixed(2)} MB`);
if (first > MOST) fail(`that is more than ${MOST / 1e6} MB`);
