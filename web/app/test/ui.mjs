// The page in Chromium: axe-core in each state, all by keyboard only, a list of five, languages, widths.
//   node test/ui.mjs ADDRESS
// CHROMIUM_PATH names the executable (else: chromium); SCREENSHOTS a folder for pictures of the states.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import axe from "axe-core";
import { chromium } from "playwright-core";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Locator} Locator */

const address = process.argv[2];
if (!address) {
  console.error("usage: node test/ui.mjs ADDRESS");
  process.exit(2);
}
const EXAMPLES = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../../examples");
/** @param {string} name @param {Buffer} buffer */
const file = (name, buffer) => ({ name, mimeType: "image/jpeg", buffer });
const PHOTOS = ["coffee_under.jpg", "cat_over.jpg", "rocket_over.jpg", "astronaut_under.jpg"].map((name) =>
  file(name, fs.readFileSync(path.join(EXAMPLES, name))),
);
const NO_PHOTO = file("notes.jpg", Buffer.from("These are words, not pixels.\n"));
const LANGUAGES = ["en", "de", "es", "fr", "ja", "zh"];
const WIDTHS = [360, 390, 768, 900, 1280, 1800, 2560];
const PATIENCE = 120_000; // ms, for slow and busy machines
const ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
  args: [...ARGUMENTS, ...QUIET],
});
/** @type {string[]} Errors of the console, and requests to others. */
const wrong = [];

/**
 * Another page, without a service worker (it would answer for the held models).
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
async function open(options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    locale: "en-US",
    colorScheme: "light",
    serviceWorkers: "block",
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "blob:" && url.origin !== new URL(address).origin) wrong.push(`request to ${url}`);
  });
  await page.goto(address);
  await page.locator("body.ready").waitFor();
  return page;
}

/** @param {Page} page @param {string} state */
async function examine(page, state) {
  if (process.env.SCREENSHOTS) {
    fs.mkdirSync(process.env.SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${state}.png`) });
  }
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => /** @type {any} */ (window).axe.run());
  const found = violations.flatMap((/** @type {any} */ { id, nodes }) =>
    nodes.map((/** @type {any} */ node) => `${id}: ${node.html} ${node.failureSummary}`),
  );
  assert.deepEqual(found, [], `axe: ${state}`);
  console.log(`axe: ${state}`);
}

/** Press Tab until a part has the focus, which shows. @param {Page} page @param {string} part */
async function tabTo(page, part) {
  for (let presses = 0; presses < 60; presses++) {
    const here = await page.evaluate((part) => document.activeElement?.matches(part), part);
    if (here) {
      const shown = await page.evaluate(() => {
        const focused = /** @type {Element} */ (document.activeElement);
        const divider = /** @type {Element} */ (document.querySelector(".divider"));
        const seen = focused.id === "split" ? getComputedStyle(divider, "::after") : getComputedStyle(focused);
        return focused.matches(":focus-visible") && seen.outlineStyle !== "none" && parseFloat(seen.outlineWidth) >= 2;
      });
      assert.ok(shown, `the focus on ${part} shows`);
      return;
    }
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach ${part}`);
}

/** @param {Page} page @param {string} part @param {string} [key] */
async function press(page, part, key = "Enter") {
  await tabTo(page, part);
  await page.keyboard.press(key);
}

/** @param {Page} page @returns {Promise<(string | null)[]>} */
const states = (page) => page.locator("#list > li").evaluateAll((all) => all.map((one) => one.getAttribute("data-state")));

/** @param {Page} page */
const ended = (page) =>
  page.waitForFunction(() => {
    const all = [...document.querySelectorAll("#list > li")];
    return all.length > 0 && all.every((one) => /done|failed/.test(one.getAttribute("data-state") ?? ""));
  });

/** @param {Page} page @param {string} part @param {string} name */
const attribute = (page, part, name) => page.locator(part).getAttribute(name);

/** @param {Page} page */
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** By keyboard only: five photos, one of them none; removing while working; settings; downloads. */
async function keyboardOnly() {
  const page = await open();
  await page.addInitScript(() => {
    // Blobs are let go after half a minute; here sooner, and counted.
    const { setTimeout } = window;
    const counts = (/** @type {any} */ (window).blobs = { made: 0, freed: 0 });
    const { createObjectURL, revokeObjectURL } = URL;
    const sooner = (/** @type {(...given: unknown[]) => void} */ act, ms = 0, /** @type {unknown[]} */ ...given) =>
      setTimeout(act, Math.min(ms, 2000), ...given);
    window.setTimeout = /** @type {any} */ (sooner);
    URL.createObjectURL = (blob) => (counts.made++, createObjectURL(blob));
    URL.revokeObjectURL = (url) => (counts.freed++, revokeObjectURL(url));
  });
  /** @type {() => void} */
  let release = () => {};
  const released = new Promise((resolve) => (release = () => resolve(null)));
  await page.route("**/models/**", async (route) => {
    await released;
    await route.continue();
  });
  await page.reload();
  await page.locator("body.ready").waitFor();
  await examine(page, "empty");

  await press(page, "#theme", "Space");
  assert.equal(await attribute(page, "#theme", "aria-pressed"), "true");
  await examine(page, "empty, dark");
  await page.keyboard.press("Space");

  const asked = page.waitForEvent("filechooser");
  await press(page, "#choose");
  const chooser = await asked;
  assert.ok(chooser.isMultiple());
  await chooser.setFiles([PHOTOS[0]]);
  await page.locator("#list > li").first().waitFor();
  assert.ok(await page.evaluate(() => document.activeElement?.matches(".pick")), "the focus goes to the new photo");
  await page.setInputFiles("#files", [...PHOTOS.slice(1), NO_PHOTO]);
  assert.equal((await states(page)).length, 5);
  assert.deepEqual((await states(page)).slice(0, 2), ["working", "waiting"]);
  await examine(page, "working");

  await tabTo(page, "#list > li:nth-child(1) .remove");
  await page.keyboard.press("Enter"); // the one that is being worked on
  assert.equal((await states(page)).length, 4);
  assert.ok(await page.evaluate(() => document.activeElement?.matches(".pick")), "the focus goes to the next photo");
  await press(page, "#list > li:nth-child(2) .pick");
  assert.equal(await attribute(page, "#list > li:nth-child(2) .pick", "aria-current"), "true");
  release();
  await ended(page);
  assert.deepEqual(await states(page), ["done", "done", "done", "failed"]);
  assert.match(await page.locator("#status").innerText(), /\d of 4/);
  await press(page, "#list > li:nth-child(1) .pick");
  await page.waitForFunction(() => document.querySelector("#histogramAfter")?.getAttribute("aria-label"));
  assert.match(await page.locator("#found").innerText(), /stops too bright|Well exposed/);
  await examine(page, "done");

  await tabTo(page, "#split");
  for (const [key, value, text] of [["ArrowRight", "51", "51% before, 49% after"], ["Home", "0", "0% before, 100% after"]]) {
    await page.keyboard.press(key);
    assert.equal(await page.locator("#split").inputValue(), value);
    assert.equal(await attribute(page, "#split", "aria-valuetext"), text);
  }
  const shown = () => page.locator("#compare").screenshot();
  await tabTo(page, "#strength");
  const full = await shown();
  await press(page, "#strength", "Home");
  assert.equal(await page.locator("#strengthValue").innerText(), "0%");
  await page.waitForTimeout(300);
  assert.notDeepEqual(await shown(), full, "strength changes the picture");
  const told = async (/** @type {string} */ part) => (await attribute(page, part, "aria-label"))?.replace(/^.*?:/, "");
  const [before, after] = [await told("#histogramBefore"), await told("#histogramAfter")];
  assert.equal(after, before, "without strength, histograms do not differ");
  await press(page, "#limit", "ArrowLeft");
  assert.equal(await attribute(page, "#limit", "aria-valuetext"), "4.0 stops");
  await press(page, "#keep", "Space");
  assert.equal(await page.locator("#keep").isChecked(), false);
  await press(page, "#reset");
  assert.equal(await page.locator("#strengthValue").innerText(), "100%");
  assert.equal(await page.locator("#limitValue").innerText(), "None");
  assert.equal(await page.locator("#keep").isChecked(), true);
  await page.waitForTimeout(300);
  assert.deepEqual(await shown(), full, "reset brings the picture back");

  await press(page, "#strength", "End");
  await press(page, "#forAll");
  await press(page, "#list > li:nth-child(2) .pick");
  assert.equal(await page.locator("#strengthValue").innerText(), "200%");

  for (const [keys, ending] of /** @type {const} */ ([[[], /\.jpg$/], [["ArrowDown"], /\.png$/]])) {
    await tabTo(page, "#format");
    for (const key of keys) await page.keyboard.press(key);
    const [download] = await Promise.all([page.waitForEvent("download"), press(page, "#download")]);
    assert.match(download.suggestedFilename(), ending);
    assert.ok(fs.statSync(await download.path()).size > 1000);
    await page.waitForFunction(() => document.querySelector("#saved")?.textContent);
  }
  /** @type {string[]} */
  const names = [];
  page.on("download", (download) => names.push(download.suggestedFilename()));
  await press(page, "#downloadAll");
  await page.waitForFunction(() => /3/.test(document.querySelector("#saved")?.textContent ?? ""));
  await page.waitForTimeout(3000);
  assert.equal(new Set(names).size, 3);
  const { made, freed } = await page.evaluate(() => /** @type {any} */ (window).blobs);
  assert.deepEqual([made, freed], [5, 5], "blobs are let go");

  await press(page, "#list > li:nth-child(4) .pick");
  assert.match(await page.locator("#pendingText").innerText(), /not a photo/);
  await examine(page, "failed");
  await press(page, "#pendingRetry");
  await ended(page);
  assert.ok(await page.evaluate(() => document.activeElement?.matches(".pick")), "the focus stays on the photo");
  await press(page, "#theme");
  await examine(page, "failed, dark");
  await press(page, "#list > li:nth-child(1) .pick");
  await examine(page, "done, dark");
  if (await page.locator('#model option[value="paper"]').count()) {
    await press(page, "#model", "ArrowDown");
    assert.equal(await page.locator("#model").inputValue(), "paper");
    await page.keyboard.press("ArrowUp"); // while the paper's network is being loaded
    await page.waitForFunction(() => document.querySelector("#list > li")?.getAttribute("data-state") === "done");
    await ended(page);
    assert.deepEqual(await states(page), ["done", "done", "done", "failed"], "the model is changed back and forth");
  }

  for (let left = 4; left > 0; left--) await press(page, "#list > li:nth-child(1) .remove");
  assert.ok(await page.locator("#welcome").isVisible());
  assert.ok(await page.evaluate(() => document.activeElement?.id === "choose"), "the focus goes to the beginning");
  await page.context().close();
  console.log("keyboard only");
}

/** Dropped, pasted, an example; the mouse, a finger; text that is pasted. */
async function otherWays() {
  const page = await open({ hasTouch: true });
  const bytes = [...PHOTOS[0].buffer];
  for (const kind of ["drop", "paste"])
    await page.evaluate(
      ({ kind, bytes }) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${kind}.jpg`, { type: "image/jpeg" }));
        const made = { bubbles: true, cancelable: true };
        if (kind === "drop") {
          document.body.dispatchEvent(new DragEvent("dragenter", { ...made, dataTransfer: data }));
          if (/** @type {HTMLElement} */ (document.querySelector("#veil")).hidden) throw new Error("no veil");
        }
        document.body.dispatchEvent(
          kind === "drop"
            ? new DragEvent(kind, { ...made, dataTransfer: data })
            : new ClipboardEvent(kind, { ...made, clipboardData: data }),
        );
      },
      { kind, bytes },
    );
  await page.waitForFunction(() => document.querySelectorAll("#list > li").length === 2);
  await ended(page);
  assert.deepEqual(await states(page), ["done", "done"]);
  assert.ok(await page.locator("#veil").isHidden());
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text/plain", "words");
    document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData: data }));
  });
  assert.match(await page.locator("#alarm").innerText(), /no photo/);

  const box = await page.locator("#compare").boundingBox();
  assert.ok(box);
  const at = (/** @type {number} */ share) => /** @type {const} */ ([box.x + box.width * share, box.y + box.height / 2]);
  await page.mouse.move(...at(0.5));
  await page.mouse.down();
  await page.mouse.move(...at(0.25), { steps: 4 });
  await page.mouse.up();
  assert.equal(Math.round(Number(await page.locator("#split").inputValue())), 25);
  await page.mouse.move(...at(0.9));
  assert.equal(Math.round(Number(await page.locator("#split").inputValue())), 25, "only while the button is down");
  await page.touchscreen.tap(...at(0.75));
  assert.equal(Math.round(Number(await page.locator("#split").inputValue())), 75);
  await page.context().close();

  const another = await open();
  await press(another, "[data-example]");
  await ended(another);
  assert.deepEqual(await states(another), ["done"]);
  await another.context().close();
  console.log("drop, paste, example, mouse, touch");
}

/** All languages at all widths: nothing sticks out, nothing is left unsaid; what was chosen is remembered. */
async function languages() {
  const page = await open({ locale: "fr-CH", reducedMotion: "reduce" });
  assert.equal(await attribute(page, "html", "lang"), "fr", "the browser's language");
  const lasts = await page.locator("#choose").evaluate((button) => getComputedStyle(button).transitionDuration);
  assert.equal(lasts, "0s", "reduced motion");
  for (const filled of [false, true]) {
    if (filled) {
      await page.setInputFiles("#files", [...PHOTOS, NO_PHOTO]);
      await ended(page);
    }
    for (const language of LANGUAGES) {
      await page.locator("#language").selectOption(language);
      await page.waitForFunction((language) => document.documentElement.lang.startsWith(language), language);
      const unsaid = await page.evaluate(() =>
        [...document.querySelectorAll("body *")]
          .filter((part) => {
            const said = (part.children.length ? "" : part.textContent) + (part.getAttribute("aria-label") ?? "");
            return /\{\w+\}|undefined|NaN/.test(said);
          })
          .map((part) => part.outerHTML),
      );
      assert.deepEqual(unsaid, [], language);
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 800 });
        assert.ok((await overflow(page)) <= 0, `${language} at ${width} pixels sticks out by ${await overflow(page)}`);
      }
      await page.setViewportSize({ width: 390, height: 844 });
      await examine(page, `${filled ? "photos" : "empty"}, narrow, ${language}`);
    }
  }
  await page.reload();
  await page.locator("body.ready").waitFor();
  assert.equal(await attribute(page, "html", "lang"), "zh-Hans", "the chosen language");
  await page.context().close();
  console.log("languages and widths");
}

try {
  await keyboardOnly();
  await otherWays();
  await languages();
  assert.deepEqual(wrong, [], "no error in the console, no request to others");
} finally {
  await browser.close();
}
