// The service worker: keeps the page for when there is no network, and makes WebAssembly's threads possible.
const RELOADED = "expcorr-reloaded";
const PATIENCE = 3000; // ms for a worker to take the page over

/**
 * Register it, and load the page once more where that brings a new version or threads, unless work has begun.
 * @param {() => boolean} idle Whether nothing would be lost.
 * @returns {Promise<boolean>} Whether the page is loaded once more.
 */
export async function keepOffline(idle) {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return false; // without a secure connection
  try {
    const registration = await serviceWorker.register("service_worker.js");
    if (registration.waiting && idle()) {
      // That may take seconds, in which the page works as it is.
      serviceWorker.addEventListener("controllerchange", () => idle() && reload(), { once: true });
      registration.waiting.postMessage("take over");
    }
    const { active } = await serviceWorker.ready;
    // A frame's threads are up to the page around it; loading a second time would change nothing.
    if (!crossOriginIsolated && top === window && !sessionStorage.getItem(RELOADED)) {
      if ((serviceWorker.controller || (await takenOver(serviceWorker))) && idle()) {
        sessionStorage.setItem(RELOADED, "yes");
        return reload();
      }
    }
    active?.postMessage("fill");
  } catch {
    // Storage is blocked, as in some private windows: the page works without it.
  }
  return false;
}

function reload() {
  location.reload();
  return true;
}

/**
 * @param {ServiceWorkerContainer} serviceWorker
 * @returns {Promise<boolean>} Whether another worker has taken the page over.
 */
function takenOver(serviceWorker) {
  return new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
    setTimeout(() => resolve(false), PATIENCE);
  });
}
