// Light or dark: the system's choice until the button is pressed.
import { remember, remembered } from "./preferences.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

/** @returns {boolean} */
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

/** @param {HTMLButtonElement} button Pressed in the dark. */
export function switchTheme(button) {
  const chosen = remembered("theme");
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember("theme", root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}
