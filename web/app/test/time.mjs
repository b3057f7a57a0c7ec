// How long a photo takes on the page: node test/time.mjs ADDRESS PHOTO [RUNS]; Chromium, with the page loaded before.
// Prints, for each run, milliseconds from the drop to the picture, and from a press on Download to the file.
import fs from "node:fs";
import path from "node:path";

import { chromium } from "playwright-core";

const [address, photo, runs = "3"] = process.argv.slice(2);
const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium", args });
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
page.setDefaultTimeout(300_000);
await page.goto(address);
await page.locator("body.ready").waitFor();
await page.waitForTimeout(5000); // the page loads itself once more, with threads, and then its network
await page.locator("body.ready").waitFor();
const isolated = await page.evaluate(() => globalThis.crossOriginIsolated);
const bytes = fs.readFileSync(photo).toString("base64");
await page.evaluate((bytes) => {
  const data = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
  Object.assign(globalThis, { dropped: new File([data], "photo.jpg", { type: "image/jpeg" }) });
}, bytes);
const times = [];
for (let run = 0; run < Number(runs); run++) {
  const opened = await page.evaluate(async () => {
    const transfer = new DataTransfer();
    transfer.items.add(Reflect.get(globalThis, "dropped"));
    const before = performance.now();
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    while (document.querySelector("#list > li")?.getAttribute("data-state") !== "done") await new Promise((resolve) => setTimeout(resolve, 5));
    return performance.now() - before;
  });
  const before = Date.now();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#download").click()]);
  await download.path();
  times.push({ opened: Math.round(opened), saved: Date.now() - before });
  await page.locator("#list .remove").click();
}
console.log(JSON.stringify({ isolated, times, file: path.basename(photo) }));
await browser.close();
