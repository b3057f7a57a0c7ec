// What the page remembers between visits, on this device only: the language, light or dark, the model.

/**
 * @param {"language" | "theme" | "model"} key
 * @returns {string | null} null where nothing is remembered, or the browser forbids it.
 */
export function remembered(key) {
  try {
    return localStorage.getItem(`expcorr.${key}`);
  } catch {
    return null;
  }
}

/**
 * @param {"language" | "theme" | "model"} key
 * @param {string} value
 */
export function remember(key, value) {
  try {
    localStorage.setItem(`expcorr.${key}`, value);
  } catch {
    // The choice holds until the page is closed.
  }
}
