// Opens saved workflows in both renderers (classic and Nodes 2.0). Takes one argument, JSON:
//   url          of the server
//   workflows    by name, as they were saved
//   chromium     the executable
//   playwright   a folder node_modules with playwright-core
//   screenshots  a folder for pictures of the graphs, or null
// Prints JSON, which test_saved_workflows.py checks: by renderer and workflow, prompt (what would be queued), and shown (by
// node, the texts of its widgets, or all of its texts in Nodes 2.0).
import { createRequire } from "node:module";
import path from "node:path";

const { url, workflows, chromium, playwright, screenshots } = JSON.parse(process.argv[2]);
const { chromium: browsers } = createRequire(path.resolve(playwright) + "/")("playwright-core");

const set = (settings) => fetch(`${url}/api/settings`, { method: "POST", body: JSON.stringify(settings) });
await set({ "Comfy.TutorialCompleted": true, "Comfy.Minimap.Visible": false, "LiteGraph.Canvas.MinFontSizeForLOD": 0 });

async function open(browser, renderer, name) {
  await set({ "Comfy.VueNodes.Enabled": renderer === "nodes2" });
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
  page.setDefaultTimeout(120_000); // for slow and busy machines
  await page.goto(url);
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager);
  await page.waitForTimeout(1000); // an empty graph arrives after that
  const seen = await page.evaluate(async (saved) => {
    await window.app.loadGraphData(saved);
    const widgets = (node) => node.widgets.filter((widget) => node.isWidgetVisible(widget)).map((widget) => widget.label);
    return {
      prompt: (await window.app.graphToPrompt()).output,
      shown: Object.fromEntries(window.app.graph.nodes.map((node) => [node.id, node.widgets ? widgets(node) : []])),
    };
  }, workflows[name]);
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.Canvas.FitView"));
  await page.waitForTimeout(1500);
  if (renderer === "nodes2") {
    for (const id of Object.keys(seen.shown)) {
      const text = await page.locator(`[data-node-id="${id}"]`).first().innerText();
      seen.shown[id] = text.split("\n").map((line) => line.trim());
    }
  }
  if (screenshots) await page.screenshot({ path: path.join(screenshots, `saved-${name}-${renderer}.png`) });
  await page.close();
  return seen;
}

const browser = await browsers.launch({ executablePath: chromium });
const seen = { classic: {}, nodes2: {} };
try {
  for (const renderer of Object.keys(seen))
    for (const name of Object.keys(workflows)) seen[renderer][name] = await open(browser, renderer, name);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
