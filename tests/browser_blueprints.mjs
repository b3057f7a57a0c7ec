// Drops each blueprint into an empty graph, from the node search, connects it, and runs it. Takes one argument, JSON:
//   url          of the server
//   uses         by blueprint: loads ([input, node type, widget, value]: a node for each input), save ([node type, input])
//   chromium     the executable
//   playwright   a folder node_modules with playwright-core
//   screenshots  a folder for pictures of the graphs after their runs, or null
// Prints JSON, which test_blueprints.py checks: by blueprint, its inputs, outputs and widgets, and the run's error or null.
import { createRequire } from "node:module";
import path from "node:path";
import { searchBox } from "./browser_page.mjs";

const { url, uses, chromium, playwright, screenshots } = JSON.parse(process.argv[2]);
const { chromium: browsers } = createRequire(path.resolve(playwright) + "/")("playwright-core");
const settings = { "Comfy.TutorialCompleted": true, "Comfy.NodeSearchBoxImpl": "default", "Comfy.Minimap.Visible": false };
await fetch(`${url}/api/settings`, { method: "POST", body: JSON.stringify(settings) });

async function use(browser, name, { loads, save }) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 700 } });
  page.setDefaultTimeout(120_000); // for slow and busy machines
  await page.goto(url);
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager);
  await page.waitForTimeout(3000); // blueprints arrive after the graph
  await page.evaluate(() => window.app.graph.clear());
  await (await searchBox(page, 700, 300)).fill(name);
  await page.locator(".option-container").getByText(name, { exact: true }).first().click();
  await page.mouse.click(700, 350); // it follows the pointer until then
  await page.waitForFunction((name) => window.app.graph.nodes.some((node) => node.title === name), name);
  const seen = await page.evaluate(
    async ([name, loads, save]) => {
      const { app, LiteGraph } = window;
      const node = app.graph.nodes.find((node) => node.title === name);
      const sockets = node.inputs.filter((input) => !input.widget);
      const place = (type, x, y) => {
        const made = LiteGraph.createNode(type);
        made.pos = [node.pos[0] + x, node.pos[1] + y];
        app.graph.add(made);
        return made;
      };
      for (const [index, [input, type, widget, value]] of loads.entries()) {
        const load = place(type, -420, 360 * index);
        load.widgets.find((part) => part.name === widget).value = value;
        load.connect(0, node, node.inputs.findIndex((part) => part.name === input));
      }
      const [type, input] = save;
      const end = place(type, 460, 0);
      node.connect(0, end, end.inputs.findIndex((part) => part.name === input));
      const ended = new Promise((resolve) => {
        app.api.addEventListener("execution_success", () => resolve(null));
        for (const event of ["execution_error", "execution_interrupted"])
          app.api.addEventListener(event, ({ detail }) => resolve(detail));
        setTimeout(() => resolve("no end"), 300_000);
      });
      await app.queuePrompt(0, 1);
      const refused = Object.keys(app.lastNodeErrors ?? {}).length ? app.lastNodeErrors : null;
      return {
        inputs: sockets.map(({ name, type }) => [name, type]),
        outputs: node.outputs.map(({ name, type }) => [name, type]),
        widgets: node.widgets.map(({ name }) => name),
        error: refused ?? (await ended),
      };
    },
    [name, loads, save],
  );
  if (screenshots) {
    await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.Canvas.FitView"));
    await page.waitForTimeout(1500);
    await page.screenshot({ path: path.join(screenshots, `${name}.png`) });
  }
  await page.close();
  return seen;
}

const browser = await browsers.launch({ executablePath: chromium });
const seen = {};
try {
  for (const [name, how] of Object.entries(uses)) seen[name] = await use(browser, name, how);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
