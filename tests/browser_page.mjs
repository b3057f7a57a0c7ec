// What the scripts browser_*.mjs do in the same way.

// Opens the node search over an empty place, and gives its input. A double-click that comes too early opens nothing.
export async function searchBox(page, x, y) {
  const box = page.locator("input:focus");
  for (let tries = 0; tries < 10 && !(await box.count()); tries++) {
    await page.mouse.dblclick(x, y);
    await box.waitFor({ timeout: 5000 }).catch(() => {});
  }
  return box;
}

// Opens an example workflow as a user does: by its card in the template browser.
export async function openTemplate(page, url, workflow) {
  await browseTemplates(page, url, workflow);
  await card(page, workflow).click();
  await page.waitForFunction(() => window.app?.graph?.nodes.some((node) => node.type === "MarkdownNote"));
  await page.waitForTimeout(500); // the loading goes on for some frames
}

// The template browser, with what a search for a word shows.
export async function browseTemplates(page, url, word) {
  await page.goto(url);
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager);
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.BrowseTemplates"));
  await page.locator('[role="dialog"] input').first().fill(word);
}

export const card = (page, workflow) => page.getByTestId(`template-workflow-${workflow}`);
