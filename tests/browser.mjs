// Opens each example workflow in the interface, as a user does, and runs it. Takes one argument, JSON:
//   url          of the server
//   workflows    names of its example workflows
//   unrun        those of them that cannot be run
//   help         {workflow, node, words}: a node type's help page is opened and the words are looked for
//   chromium     the executable
//   playwright   a folder node_modules with playwright-core
//   screenshots  a folder for pictures of the graphs after their runs, or null
// Prints JSON, which test_browser.py checks: graphs (what was seen, by workflow), help (whether it was shown), and titles
// (of the templates that a search for "exposure" finds).
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { browseTemplates, card, openTemplate } from "./browser_page.mjs";

const { url, workflows, unrun, help, chromium, playwright, screenshots } = JSON.parse(process.argv[2]);
const { chromium: browsers } = createRequire(path.resolve(playwright) + "/")("playwright-core");
const WIDTH = 1400; // of the pictures, pixels
const MARGIN = 30; // around the graph, in the graph's units

// No tutorial over the graph, no map in its corner, and text that is drawn however small it is.
const settings = {
  "Comfy.TutorialCompleted": true,
  "Comfy.OnboardingCoachmarks.Seen": ["appMode", "firstRun"],
  "Comfy.Minimap.Visible": false,
  "Comfy.Graph.CanvasInfo": false,
  "Comfy.Graph.CanvasMenu": false,
  "LiteGraph.Canvas.MinFontSizeForLOD": 0,
};
await fetch(`${url}/api/settings`, { method: "POST", body: JSON.stringify(settings) });

// As a user does; then the graph behind the app.
async function open(browser, workflow) {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 900 } });
  page.setDefaultTimeout(120_000); // for slow and busy machines
  await openTemplate(page, url, workflow);
  if (await page.getByTestId("linear-widgets").count()) {
    await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.ToggleLinear"));
    await page.waitForTimeout(1000);
  }
  return page;
}

// The titles that a search for a word shows first, as many as this pack has workflows.
async function titles(browser, word) {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 1100 } });
  page.setDefaultTimeout(120_000);
  await browseTemplates(page, url, word);
  for (const workflow of workflows) await card(page, workflow).waitFor();
  await page.waitForTimeout(1500); // pictures arrive later
  const found = await page.locator('[data-testid^="template-workflow-"]').evaluateAll((cards) =>
    cards.map((element) => element.querySelector("h3").innerText));
  if (screenshots) await page.screenshot({ path: path.join(screenshots, "templates.png") });
  await page.close();
  return found;
}

// By the Run button; `error` is null where the graph ended well.
async function run(page) {
  await page.evaluate(() => {
    window.ended = new Promise((resolve) => {
      window.app.api.addEventListener("execution_success", () => resolve(null));
      for (const event of ["execution_error", "execution_interrupted"])
        window.app.api.addEventListener(event, ({ detail }) => resolve(detail));
    });
  });
  const button = page.getByTestId("queue-button");
  const found = (await button.count()) > 0;
  if (found) await button.click();
  else await page.evaluate(() => window.app.queuePrompt(0, 1));
  const error = await page.evaluate(() => {
    const refused = async () => {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        if (Object.keys(window.app.lastNodeErrors ?? {}).length) return window.app.lastNodeErrors;
      }
    };
    const late = new Promise((resolve) => setTimeout(() => resolve("no end"), 300_000));
    return Promise.race([window.ended, refused(), late]);
  });
  return { button: found, error };
}

// What the graph looks like: nodes that are missing, nodes one upon another, pictures that the nodes show.
function examine(page) {
  return page.evaluate(() => {
    const nodes = window.app.graph.nodes;
    const name = (node) => node.title || node.type;
    const touch = (a, b) =>
      [0, 1].every((axis) => a[axis] < b[axis] + b[axis + 2] && b[axis] < a[axis] + a[axis + 2]);
    const pairs = nodes.flatMap((a, i) => nodes.slice(i + 1).map((b) => [a, b]));
    return {
      missing: nodes.filter((node) => !window.LiteGraph.registered_node_types[node.type]).map(name),
      overlaps: pairs.filter(([a, b]) => touch(a.boundingRect, b.boundingRect)).map((pair) => pair.map(name)),
      images: Object.fromEntries(nodes.map((node) => [node.id, node.imgs?.length ?? 0])),
    };
  });
}

async function showsHelp(page, { node, words }) {
  await page.evaluate((type) => {
    const { canvas, graph } = window.app;
    canvas.selectNode(graph.nodes.find((node) => node.type === type));
  }, node);
  await page.getByTestId("info-button").click();
  return page.getByText(words).first().waitFor({ timeout: 10_000 }).then(() => true, () => false);
}

// The graph alone, without the interface's bars.
async function photograph(page, file) {
  const [left, top, width, height] = await page.evaluate(() => {
    const { nodes, groups } = window.app.graph;
    const boxes = [...nodes, ...groups].map((part) => part.boundingRect);
    const [left, top] = [0, 1].map((axis) => Math.min(...boxes.map((box) => box[axis])));
    const [right, bottom] = [0, 1].map((axis) => Math.max(...boxes.map((box) => box[axis] + box[axis + 2])));
    return [left, top, right - left, bottom - top];
  });
  const scale = WIDTH / (width + 2 * MARGIN);
  await page.setViewportSize({ width: WIDTH, height: Math.round((height + 2 * MARGIN) * scale) });
  await page.evaluate(() => window.app.extensionManager.command.execute("Workspace.ToggleFocusMode"));
  await page.addStyleTag({ content: '[aria-label="Show Menu"] { display: none !important }' });
  await page.evaluate(
    ([x, y, scale]) => {
      window.app.canvas.ds.scale = scale;
      window.app.canvas.ds.offset = [x, y];
      window.app.canvas.setDirty(true, true);
    },
    [MARGIN - left, MARGIN - top, scale],
  );
  await page.waitForTimeout(1000);
  await page.screenshot({ path: file, type: "jpeg", quality: 85 });
}

if (screenshots) fs.mkdirSync(screenshots, { recursive: true });
const browser = await browsers.launch({ executablePath: chromium });
const graphs = {};
let helped, found;
try {
  for (const workflow of workflows) {
    const page = await open(browser, workflow);
    const ran = unrun.includes(workflow) ? { error: null } : await run(page);
    await page.waitForTimeout(4000); // pictures arrive after the end
    graphs[workflow] = { ...ran, ...(await examine(page)) };
    if (screenshots) {
      await photograph(page, path.join(screenshots, `${workflow}.jpg`));
    }
    await page.close();
  }
  found = await titles(browser, "exposure");
  helped = await showsHelp(await open(browser, help.workflow), help);
} finally {
  await browser.close();
}
console.log(JSON.stringify({ graphs, help: helped, titles: found }));
