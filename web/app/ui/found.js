// What was found of a photo's exposure, in words.
import { number, percent, say } from "./words.js";

/** @typedef {import("../engine/types.js").OpenPhoto} OpenPhoto */

const WITHIN = 0.15; // stops up to which a correction counts as none

/**
 * Such as "2.1 stops too dark".
 * @param {OpenPhoto} photo
 */
export function verdict({ stops }) {
  if (stops === null) return say("corrected");
  if (Math.abs(stops) < WITHIN) return say("wellExposed");
  return say(stops > 0 ? "tooBright" : "tooDark", { stops: number(Math.abs(stops), 1) });
}

/**
 * Such as "97 % sure"; null where nothing is known of that.
 * @param {OpenPhoto} photo
 */
export function sureness({ stops, wellExposed }) {
  if (stops === null || wellExposed === null) return null;
  const sure = Math.abs(stops) < WITHIN ? wellExposed : 1 - wellExposed;
  return say("sure", { share: percent(Math.min(0.99, sure)) });
}
