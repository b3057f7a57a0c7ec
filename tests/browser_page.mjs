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
