// Types words into the interface's two node searches and reads what they offer. Takes one argument, JSON:
//   url          of the server
//   words        {word: the display name that is waited for}
//   places       how many of the first results are read
//   chromium     the executable
//   playwright   a folder node_modules with playwright-core
// Prints JSON, which test_browser.py checks: by search and word, the first results' display names.
import { createRequire } from "node:module";
import path from "node:path";
import { searchBox } from "./browser_page.mjs";

const { url, words, places, chromium, playwright } = JSON.parse(process.argv[2]);
const { chromium: browsers } = createRequire(path.resolve(playwright) + "/")("playwright-core");
const SEARCHES = ["default", "v1 (legacy)"]; // values of the setting
const NOTHING = "qqqqzzzz"; // finds nothing

const offered = (places) =>
  [...document.querySelectorAll(".option-container")].slice(0, places).map((row) => row.innerText.split("\n")[0].trim());

async function search(browser, kind) {
  const settings = { "Comfy.TutorialCompleted": true, "Comfy.NodeSearchBoxImpl": kind };
  await fetch(`${url}/api/settings`, { method: "POST", body: JSON.stringify(settings) });
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(120_000); // for slow and busy machines
  await page.goto(url);
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager);
  await page.waitForTimeout(3000); // nodes' frequencies and blueprints arrive after the graph
  await page.evaluate(() => window.app.graph.clear());
  const box = await searchBox(page, 900, 600);
  const found = {};
  for (const [word, name] of Object.entries(words)) {
    await box.fill(NOTHING); // so that the last word's results are gone
    await page.waitForFunction(() => !document.querySelector(".option-container"));
    await box.fill(word);
    const wait = page.waitForFunction(
      ([name, read, places]) => eval(read)(places).includes(name),
      [name, `(${offered})`, places],
      { timeout: 10_000 },
    );
    await wait.catch(() => {}); // what is there instead is told
    found[word] = await page.evaluate(offered, places);
  }
  await page.close();
  return found;
}

const browser = await browsers.launch({ executablePath: chromium });
const found = {};
try {
  for (const kind of SEARCHES) found[kind] = await search(browser, kind);
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
