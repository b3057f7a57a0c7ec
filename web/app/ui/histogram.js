// Histograms of red, green and blue as filled curves; where two overlap, in their mixed colour.
import { percent, say } from "./words.js";

/** @typedef {import("../engine/report.js").Histogram} Histogram */

const COLOURS = /** @type {const} */ ({ r: "#c9514c", g: "#4c9a5a", b: "#4a76cf" });
const BINS = 64;

/**
 * Draw one, and say in words what it shows.
 * @param {HTMLCanvasElement} canvas
 * @param {Histogram} counts
 * @param {"histogramBefore" | "histogramAfter"} when
 */
export function drawHistogram(canvas, counts, when) {
  canvas.setAttribute("aria-label", inWords(counts, when));
  const context = canvas.getContext("2d");
  if (!context) return;
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  context.globalCompositeOperation = "screen";
  for (const channel of /** @type {const} */ (["r", "g", "b"])) {
    const heights = new Float64Array(BINS);
    counts[channel].forEach((count, value) => (heights[(value * BINS) >> 8] += count));
    heights.forEach((count, bin) => (heights[bin] = Math.sqrt(count))); // small counts stay visible
    const most = Math.max(1, ...heights);
    context.fillStyle = COLOURS[channel];
    context.beginPath();
    context.moveTo(0, height);
    heights.forEach((count, bin) => context.lineTo((bin / (BINS - 1)) * width, height * (1 - (0.96 * count) / most)));
    context.lineTo(width, height);
    context.fill();
  }
}

/** @param {Histogram} counts @param {"histogramBefore" | "histogramAfter"} when */
function inWords(counts, when) {
  const sum = (/** @type {number} */ from, /** @type {number} */ to) =>
    [counts.r, counts.g, counts.b].reduce((all, each) => all + each.subarray(from, to).reduce((a, b) => a + b, 0), 0);
  const all = Math.max(1, sum(0, 256));
  const share = (/** @type {number} */ from, /** @type {number} */ to) => percent(sum(from, to) / all);
  return say(when, {
    dark: share(0, 64),
    middle: share(64, 192),
    bright: share(192, 256),
    black: share(0, 2),
    white: share(254, 256),
  });
}
