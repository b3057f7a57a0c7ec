// The built page in a browser, driven by tests/test_page.py: node page.mjs ORDER, where ORDER is JSON. Prints what it saw.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

/**
 * @typedef {{ photos: string[], drop?: boolean, strength?: number, save?: boolean }} Step
 * @type {{
 *   playwright: string, browser: "chromium" | "firefox", executable: string, site: string, next?: string, out: string,
 *   policy: string, steps: Step[],
 * }}
 */
const order = JSON.parse(process.argv[2]);
const LONG = 300_000; // ms
const TYPES = /** @type {Record<string, string>} */ ({
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".svg": "image/svg+xml",
  ".jpg": "image/jpeg",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
});

let site = order.site;
let served = 0; // bytes
/** As any static host does it, with the page's policy also as a header. */
const host = http.createServer((request, response) => {
  const name = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname).replace(/\/$/, "/index.html");
  const file = path.join(site, name);
  if (!file.startsWith(site) || !fs.existsSync(file)) return void response.writeHead(404).end();
  const content = fs.readFileSync(file);
  served += content.length;
  response.writeHead(200, {
    "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream",
    "Content-Length": content.length,
    "Content-Security-Policy": order.policy,
  });
  response.end(content);
});
const listen = (port = 0) => new Promise((resolve) => host.listen(port, "127.0.0.1", () => resolve(null)));
await listen();
const { port } = /** @type {import("node:net").AddressInfo} */ (host.address());
const url = `http://127.0.0.1:${port}/`;
async function hangUp() {
  host.closeAllConnections();
  await new Promise((resolve) => host.close(resolve));
}

/** @type {{ default: typeof import("playwright-core") }} */
const { default: playwright } = await import(pathToFileURL(path.join(order.playwright, "playwright-core", "index.js")).href);
const chromium = order.browser === "chromium";
const options = { executablePath: order.executable, headless: true };
// Debian's Firefox, by WebDriver BiDi.
const browser = chromium
  ? await playwright.chromium.launch({ ...options, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] })
  : await playwright.firefox.launch({ ...options, channel: "moz-firefox" });
const context = await browser.newContext({ locale: "en-US" });
/** @type {string[]} */
const complaints = [];
/** @type {Set<string>} */
const elsewhere = new Set();
context.on("request", (request) => {
  if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(url)) elsewhere.add(request.url());
});

/** @param {import("playwright-core").Page} page */
async function open(page) {
  await page.goto(url);
  await ready(page);
}

/** Until it has been loaded once more for threads, where it has to be. @param {import("playwright-core").Page} page */
async function ready(page) {
  for (let tries = 0; tries < 5; tries++) {
    try {
      await page.waitForFunction(() => document.body?.classList.contains("ready") && crossOriginIsolated, null, { timeout: 20_000 });
      return;
    } catch (error) {
      if (!/navigat|destroyed|detached/i.test(String(error))) throw error;
    }
  }
}

/**
 * Until what the page says is true; waitForFunction does not wait for promises.
 * @template Given
 * @param {import("playwright-core").Page} page
 * @param {(given: any) => Promise<boolean>} said
 * @param {Given} [given]
 */
async function until(page, said, given) {
  for (const end = Date.now() + 60_000; Date.now() < end; ) {
    if (await page.evaluate(said, given)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`never: ${said}`);
}

/** @param {import("playwright-core").Page} page @param {string[]} photos */
async function drop(page, photos) {
  const files = photos.map((name) => ({ name: path.basename(name), data: fs.readFileSync(name).toString("base64") }));
  await page.evaluate((files) => {
    const transfer = new DataTransfer();
    for (const { name, data } of files) transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
    for (const kind of ["dragenter", "dragover", "drop"])
      document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, files);
}

/** @param {import("playwright-core").Page} page @param {string} name */
async function save(page, name) {
  if (chromium) {
    const [download] = await Promise.all([page.waitForEvent("download", { timeout: LONG }), page.click("#download")]);
    const target = path.join(order.out, `${name}-${download.suggestedFilename()}`);
    await download.saveAs(target);
    return target;
  }
  // By this protocol, Firefox tells nothing of downloads: the link that the page clicks is caught.
  const caught = page.evaluate(
    () =>
      new Promise((resolve) => {
        HTMLAnchorElement.prototype.click = async function () {
          const bytes = new Uint8Array(await (blobs.get(this.href) ?? new Blob()).arrayBuffer());
          resolve({ name: this.download, data: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) });
        };
        const create = URL.createObjectURL;
        /** @type {Map<string, Blob>} */
        const blobs = new Map();
        URL.createObjectURL = (blob) => {
          const href = create(blob);
          if (blob instanceof Blob) blobs.set(href, blob);
          return href;
        };
      }),
  );
  await page.click("#download");
  const { name: suggested, data } = /** @type {{ name: string, data: string }} */ (await caught);
  const target = path.join(order.out, `${name}-${suggested}`);
  fs.writeFileSync(target, Buffer.from(data, "base64"));
  return target;
}

/** @param {import("playwright-core").Page} page @param {Step} step @param {number} number */
async function run(page, step, number) {
  const began = Date.now();
  if (step.drop) await drop(page, step.photos);
  else await page.setInputFiles("#files", step.photos);
  await page.waitForFunction(
    (count) => document.querySelectorAll("#list li:is([data-state=done], [data-state=failed])").length === count,
    step.photos.length,
    { timeout: LONG, polling: 50 },
  );
  const seconds = (Date.now() - began) / 1000;
  const photos = [];
  for (const item of await page.$$("#list li")) {
    await (await item.$(".pick"))?.click();
    const state = await item.getAttribute("data-state");
    const told = await (await item.$(".state"))?.textContent();
    /** @type {string | null} */
    let file = null;
    if (state === "done") {
      if (step.strength !== undefined) await page.fill("#strength", String(100 * step.strength));
      if (step.save !== false) file = await save(page, `${number}-${photos.length}`);
    }
    const notes = await page.$$eval("#noteList li", (lines) => lines.map((line) => line.textContent));
    photos.push({ state, told, file, notes });
  }
  if (process.env.SCREENSHOTS) await page.screenshot({ caret: "initial", path: path.join(process.env.SCREENSHOTS, `page-${order.browser}-${number}.png`) });
  for (const button of await page.$$("#list .remove")) await button.click();
  return { seconds, photos };
}

const page = await context.newPage();
page.on("console", (message) => {
  if (message.type() === "error") complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));
/** @type {Record<string, unknown>} */
const seen = {};
try {
  let loads = 0;
  page.on("load", () => loads++);
  await open(page);
  seen.steps = [];
  for (const [number, step] of order.steps.entries()) /** @type {unknown[]} */ (seen.steps).push(await run(page, step, number));
  seen.loads = loads;
  // All that is needed on first use has been kept by now, or soon is.
  const files = /** @type {{ path: string, now: boolean }[]} */ (JSON.parse(fs.readFileSync(path.join(site, "files.json"), "utf8")));
  const paths = files.filter(({ now }) => now).map((file) => new URL(file.path, url).href);
  await until(
    page,
    async (/** @type {string[]} */ paths) => {
      const kept = new Set((await (await caches.open("expcorr")).keys()).map((request) => request.url.replace(/\?.*/, "")));
      return paths.every((path) => kept.has(path));
    },
    paths,
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  seen.served = served;
  if (order.next) {
    await hangUp();
    const before = complaints.length;
    await page.reload();
    await ready(page);
    seen.offline = await run(page, order.steps[0], order.steps.length);
    complaints.splice(before); // the browser looks for a new version in vain
    site = order.next;
    await listen(port);
    await page.reload(); // still the version that was kept; the new one is being loaded
    await ready(page);
    const versions = [await page.title()];
    await until(page, async () => Boolean((await navigator.serviceWorker.getRegistration())?.waiting));
    await page.reload();
    await page.waitForFunction((old) => document.title !== old, versions[0], { timeout: 20_000 });
    await ready(page);
    versions.push(await page.title());
    seen.versions = versions;
    seen.updated = await run(page, order.steps[0], order.steps.length + 1);
  }
} finally {
  await browser.close();
  host.closeAllConnections();
  host.close();
}
console.log(JSON.stringify({ ...seen, complaints, elsewhere: [...elsewhere] }));
