/**
 * Keeps the page's files, so that it works offline, and gives them the headers that let WebAssembly use several threads.
 *
 * Each file is kept under its path and hash: a new version shares what has not changed with the one before. The first
 * version takes the page over at once and is filled by it; later ones are complete before they wait for their turn.
 */

/** @typedef {{ path: string, hash: string, now: boolean, whole: boolean }} File */

/**
 * Written by build.mjs. `path` is below this file's folder, "" for the page; `hash` is a SHA-256 in Base64; those with
 * `now` are kept from the start, others once they were asked for; hosts may change others than `whole` ones, by
 * inflating them or by adding to the page.
 * @type {File[]}
 */
const FILES = [];
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
const STORE = "expcorr";

const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const byPath = new Map(FILES.map((file) => [file.path, file]));
/** @type {Map<string, Promise<Response>>} what is being loaded */
const loading = new Map();

/** @param {File} file */
const keyOf = (file) => new URL(`${file.path}?${file.hash.replace(/\W/g, "")}`, scope.registration.scope).href;

/**
 * A file of this version: the kept one, or loaded and kept.
 * @param {File} file
 * @returns {Promise<Response>}
 */
async function obtain(file) {
  const store = await caches.open(STORE);
  const key = keyOf(file);
  const kept = await store.match(key);
  if (kept) return kept;
  let answer = loading.get(key);
  if (!answer) {
    answer = loaded(file, key, store).finally(() => loading.delete(key));
    loading.set(key, answer);
  }
  return (await answer).clone();
}

/**
 * @param {File} file
 * @param {string} key
 * @param {Cache} store
 */
async function loaded({ path, hash, whole }, key, store) {
  const url = new URL(path, scope.registration.scope);
  const integrity = whole ? `sha256-${hash}` : "";
  const answer = await fetch(url, { cache: "no-cache", credentials: "same-origin", integrity });
  if (!answer.ok) throw new TypeError(`${url.pathname}: ${answer.status}`);
  const headers = new Headers(answer.headers);
  for (const name of ["content-encoding", "content-length"]) headers.delete(name); // of the transfer
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const made = new Response(await answer.blob(), { headers });
  await store.put(key, made.clone());
  return made;
}

/** Keep all that is needed, and new versions of what was asked for before. */
async function fill() {
  const store = await caches.open(STORE);
  const had = new Set((await store.keys()).map(({ url }) => url.replace(/\?.*/, "")));
  const wanted = FILES.filter((file) => file.now || had.has(keyOf(file).replace(/\?.*/, "")));
  await Promise.all(wanted.map(obtain));
}

async function forgetOthers() {
  const store = await caches.open(STORE);
  const own = new Set(FILES.map(keyOf));
  await Promise.all((await store.keys()).filter(({ url }) => !own.has(url)).map((request) => store.delete(request)));
}

scope.addEventListener("install", (event) => {
  event.waitUntil(scope.registration.active ? fill() : scope.skipWaiting());
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(forgetOthers().then(() => scope.clients.claim()));
});

scope.addEventListener("message", (event) => {
  if (event.data === "fill") event.waitUntil(fill().catch(() => {})); // the next visit tries again
  if (event.data === "take over") event.waitUntil(takeOver());
});

/** Other pages go on with the version that they began with. */
async function takeOver() {
  if ((await scope.clients.matchAll({ includeUncontrolled: true })).length <= 1) await scope.skipWaiting();
}

scope.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const { origin, pathname } = new URL(url);
  const base = new URL(scope.registration.scope);
  if (method !== "GET" || origin !== base.origin || !pathname.startsWith(base.pathname)) return;
  const path = pathname.slice(base.pathname.length);
  const file = byPath.get(path === "index.html" ? "" : path);
  // Without a network or with another version on the host, whatever it answers.
  if (file) event.respondWith(obtain(file).catch(() => fetch(event.request)));
});
