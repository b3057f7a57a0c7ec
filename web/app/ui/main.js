// The page: photos come in, the chosen one is shown before and after, its settings change it at once.
import { openEngine } from "../engine/engine.js";
import { makeRenderer } from "../engine/renderer.js";
import { Compare } from "./compare.js";
import { Downloads } from "./download.js";
import { drawHistogram } from "./histogram.js";
import { takePhotos } from "./intake.js";
import { List, stateInWords } from "./list.js";
import { Panel } from "./panel.js";
import { keepOffline } from "./offline.js";
import { part } from "./part.js";
import { remember, remembered } from "./preferences.js";
import { Queue } from "./queue.js";
import { switchTheme } from "./theme.js";
import { LANGUAGES, chooseLanguage, firstLanguage, megabytes, say, speak } from "./words.js";

/** @typedef {import("./queue.js").Item} Item */

const SERVED = document.querySelector('meta[name="expcorr-server"]') !== null; // a program corrects, not the browser
const PAUSE = 120; // ms without a change before the thumbnail and the histograms follow

/** @type {Item | null} */
let chosen = null;
/** @type {"fast" | "paper"} */
let model = hasModel("paper") && (remembered("model") === "paper" || !hasModel("fast")) ? "paper" : "fast";

const queue = new Queue((onProgress) => openEngine({ base: new URL("./", document.baseURI).href, model, onProgress }));
const compare = new Compare();
const renderer = makeRenderer(compare.after);
const list = new List({ choose, remove, retry: (item) => queue.retry(item) });
const panel = new Panel({ changed: paintSoon, forAll });
const downloads = new Downloads({
  chosen: () => chosen,
  done: () => queue.items.filter((item) => item.photo),
  saved: () => panel.show(chosen, queue.items.length > 1),
  complain,
});

/** @param {string} sentence For those who hear the page. */
function tell(sentence) {
  part("status", HTMLElement).textContent = sentence;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let complaint;
/** @param {string} sentence Shown and heard. */
function complain(sentence) {
  const alarm = part("alarm", HTMLElement);
  alarm.textContent = sentence;
  clearTimeout(complaint);
  complaint = setTimeout(() => (alarm.textContent = ""), 10_000);
}

/** @param {File[]} files */
function take(files) {
  part("alarm", HTMLElement).textContent = "";
  const wasEmpty = !queue.items.length;
  const [first] = queue.add(files);
  choose(first);
  if (wasEmpty) list.focus(first); // what had the focus is hidden now
}

/** @param {Item | null} item */
function choose(item) {
  chosen = queue.first = item;
  downloads.forget();
  list.show(queue.items, chosen);
  if (item) list.reveal(item);
  showChosen();
}

/** @param {Item} item */
function remove(item) {
  const place = queue.items.indexOf(item);
  queue.remove(item);
  const next = queue.items[Math.min(place, queue.items.length - 1)] ?? null;
  if (item === chosen) choose(next);
  if (next) list.focus(next);
  else part("choose", HTMLElement).focus();
}

function forAll() {
  for (const item of queue.items) {
    if (!chosen || item === chosen) continue;
    item.settings = { ...chosen.settings };
    drawThumbnail(item);
  }
  paint();
  tell(say("usedForAll"));
}

/** Show the chosen photo, or how far it is. */
function showChosen() {
  const photo = chosen?.photo ?? null;
  compare.show(photo);
  panel.show(chosen, queue.items.length > 1);
  downloads.tell();
  part("pending", HTMLElement).hidden = !chosen || photo !== null;
  showState();
  if (photo) paint();
}

function showState() {
  if (!chosen || chosen.photo) return;
  part("pending", HTMLElement).dataset.state = chosen.state;
  part("pendingName", HTMLElement).textContent = chosen.file.name;
  part("pendingText", HTMLElement).textContent = stateInWords(chosen);
  const share = part("pendingShare", HTMLProgressElement);
  share.hidden = chosen.state !== "working";
  share.value = chosen.progress.done;
  part("pendingRetry", HTMLElement).hidden = chosen.state !== "failed";
}

let painting = 0;
/** Sliders send more changes than there are frames. */
function paintSoon() {
  painting ||= requestAnimationFrame(() => paint(false));
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let counting;
/** @param {boolean} [whole] Whether the thumbnail follows now, which takes the renderer some time, or at rest. */
function paint(whole = true) {
  cancelAnimationFrame(painting);
  painting = 0;
  if (!chosen?.photo) return;
  if (whole) drawThumbnail(chosen);
  else renderer.show(chosen.photo, chosen.settings);
  clearTimeout(counting);
  counting = setTimeout(count, PAUSE, whole);
}

/** @param {boolean} drawn Whether the thumbnail is. */
function count(drawn) {
  if (!chosen?.photo) return;
  if (!drawn) drawThumbnail(chosen);
  const found = renderer.histogram();
  if (!found) return;
  drawHistogram(part("histogramBefore", HTMLCanvasElement), found.before, "histogramBefore");
  drawHistogram(part("histogramAfter", HTMLCanvasElement), found.after, "histogramAfter");
}

/**
 * The renderer's picture lasts until the task ends, so it is painted for this; paint() brings the chosen photo back.
 * @param {Item} item
 */
function drawThumbnail(item) {
  if (!item.photo) return;
  renderer.show(item.photo, item.settings);
  list.draw(item, compare.after);
}

queue.addEventListener("list", () => {
  const empty = !queue.items.length;
  part("welcome", HTMLElement).hidden = !empty;
  part("work", HTMLElement).hidden = empty;
  list.show(queue.items, chosen);
  panel.show(chosen, queue.items.length > 1);
  downloads.tell();
});

/** @type {string} */
let told = "";
queue.addEventListener("change", (event) => {
  const item = /** @type {CustomEvent<Item>} */ (event).detail;
  list.tell(item);
  if (item === chosen) {
    if (item.state === "working") showState();
    else showChosen();
  } else if (item.photo) {
    drawThumbnail(item);
    paint();
  }
  downloads.tell();
  if (item.state === "done" || item.state === "failed") {
    const done = queue.items.filter(({ state }) => state === "done" || state === "failed").length;
    const count = queue.items.length > 1 ? ` ${say("soFar", { done, all: queue.items.length })}` : "";
    tell(`${item.file.name}: ${stateInWords(item)}.${count}`);
  } else if (item.state === "working" && item.progress.stage !== told) {
    told = item.progress.stage; // not each percent is heard, nor what takes no time
    if (/start|download|correct/.test(told)) tell(`${item.file.name}: ${stateInWords(item)}`);
  }
});

/** @param {string} language */
function retell(language) {
  part("language", HTMLSelectElement).value = language;
  if (SERVED) part("promise", HTMLElement).textContent = say("promiseServer");
  tellModel();
  list.tell();
  compare.retell();
  showChosen();
  downloads.tell();
}

/** @param {"fast" | "paper"} name Whether the page was built, or is served, with a model. */
function hasModel(name) {
  return document.querySelector(`#model option[value="${name}"]`) !== null;
}

/** Name the models, with what the browser has to load for each. */
function tellModel() {
  const models = part("model", HTMLSelectElement);
  for (const option of models.options) {
    const bytes = Number(option.dataset.bytes); // written by the build; a program's page loads none
    option.text = say(option.value === "fast" ? "modelFast" : "modelPaper") + (bytes ? ` (${megabytes(bytes)})` : "");
  }
  models.value = model;
  models.disabled = models.length < 2;
  part("modelHelp", HTMLElement).textContent = say(model === "fast" ? "modelFastHelp" : "modelPaperHelp");
}

const languages = part("language", HTMLSelectElement);
for (const [code, name] of Object.entries(LANGUAGES)) {
  const option = new Option(name, code);
  option.lang = code;
  languages.add(option);
}
languages.addEventListener("change", async () => {
  await chooseLanguage(languages.value);
  retell(languages.value);
});
const models = part("model", HTMLSelectElement);
models.addEventListener("change", () => {
  model = models.value === "paper" ? "paper" : "fast";
  remember("model", model);
  tellModel();
  queue.redo();
});
part("pendingRetry", HTMLElement).addEventListener("click", () => {
  if (!chosen) return;
  list.focus(chosen); // the button goes
  queue.retry(chosen);
});
takePhotos(take, complain);
switchTheme(part("theme", HTMLButtonElement));
await speak(firstLanguage());
retell(document.documentElement.lang.slice(0, 2));
document.body.classList.add("ready");
const leaving = !SERVED && (await keepOffline(() => !queue.items.length));
if (!leaving) queue.engine().catch(() => {}); // the first photo finds it loaded, or says why it is not
