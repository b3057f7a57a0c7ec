// The page's words: the browser's language first, or the one that was chosen here before.
import { remember, remembered } from "./preferences.js";
import en from "./words/en.js";

/** @typedef {typeof en} Words */
/** @typedef {keyof Words} Word */

/** @type {Record<string, string>} */
export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", fr: "Français", ja: "日本語", zh: "中文" };

let language = "en";
let words = en;

/** @returns {string} The first language of the browser's that the page speaks. */
export function firstLanguage() {
  const wanted = [remembered("language") ?? "", ...navigator.languages].map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in LANGUAGES) ?? "en";
}

/**
 * Load a language and say in it what index.html says.
 * @param {string} chosen
 */
export async function speak(chosen) {
  /** @type {{default: Words}} */
  const spoken = await import(`./words/${chosen}.js`);
  language = chosen;
  words = spoken.default;
  document.documentElement.lang = chosen === "zh" ? "zh-Hans" : chosen;
  document.title = say("title");
  for (const part of document.querySelectorAll("[data-word]"))
    part.textContent = say(/** @type {Word} */ (part.getAttribute("data-word")));
  for (const part of document.querySelectorAll("[data-label]"))
    part.setAttribute("aria-label", say(/** @type {Word} */ (part.getAttribute("data-label"))));
}

/** @param {string} chosen */
export async function chooseLanguage(chosen) {
  await speak(chosen);
  remember("language", chosen);
}

/**
 * A sentence with its {places} filled.
 * @param {Word} word
 * @param {Record<string, string | number>} [values]
 */
export function say(word, values = {}) {
  return words[word].replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}

/**
 * The sentence for a code of the engine's, "error.no_memory", with its details; the one for unknown ones else.
 * @param {"error" | "note"} kind
 * @param {string} code
 * @param {Record<string, string | number>} [details]
 */
export function sayCode(kind, code, details) {
  const word = `${kind}.${code}`;
  return word in words ? say(/** @type {Word} */ (word), details) : say(`${kind}.unknown`, { code });
}

/** @param {number} value @param {number} [digits] */
export const number = (value, digits = 0) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** @param {number} share 0..1 */
export const percent = (share) => share.toLocaleString(language, { style: "percent", maximumFractionDigits: 0 });

/** @param {number} bytes */
export const megabytes = (bytes) =>
  (bytes / 1e6).toLocaleString(language, { style: "unit", unit: "megabyte", maximumFractionDigits: bytes < 1e7 ? 1 : 0 });
