// Opens each example workflow as an app, as a user does, and runs it there. Takes one argument, JSON:
//   url          of the server
//   workflows    by name, whether it can run
//   chromium     the executable
//   playwright   a folder node_modules with playwright-core
//   screenshots  a folder for pictures of the apps after their runs, or null
// Prints JSON, which test_browser.py checks: by workflow, its inputs (node and widget), and the files that it shows.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { openTemplate } from "./browser_page.mjs";

const { url, workflows, chromium, playwright, screenshots } = JSON.parse(process.argv[2]);
const { chromium: browsers } = createRequire(path.resolve(playwright) + "/")("playwright-core");
const settings = {
  "Comfy.TutorialCompleted": true,
  "Comfy.OnboardingCoachmarks.Seen": ["appMode", "firstRun"], // no tour over the app
};
await fetch(`${url}/api/settings`, { method: "POST", body: JSON.stringify(settings) });

async function use(browser, workflow, runs) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 800 } });
  page.setDefaultTimeout(120_000); // for slow and busy machines
  await openTemplate(page, url, workflow);
  await page.getByTestId("linear-widgets").waitFor(); // it opens as an app
  const keys = await page.getByTestId("app-mode-widget-item").evaluateAll((items) => items.map((item) => item.dataset.widgetKey));
  const files = [];
  if (runs) {
    await page.getByTestId("linear-run-button").getByRole("button").last().click();
    const shown = page.locator('[data-testid="linear-image-output"], [data-testid="linear-video-output"]');
    await shown.first().waitFor();
    await page.waitForTimeout(4000); // others arrive later
    const sources = await shown.evaluateAll((parts) => parts.map((part) => part.src));
    files.push(...sources.map((source) => new URL(source).searchParams.get("filename")));
  }
  if (screenshots) await page.screenshot({ path: path.join(screenshots, `${workflow} (app).png`) });
  await page.close();
  return { inputs: keys.map((key) => key.split(":").slice(1)), files };
}

if (screenshots) fs.mkdirSync(screenshots, { recursive: true });
const browser = await browsers.launch({ executablePath: chromium });
const seen = {};
try {
  for (const [workflow, runs] of Object.entries(workflows)) seen[workflow] = await use(browser, workflow, runs);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
