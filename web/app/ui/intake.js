// Photos come by the file chooser, dropped (folders, too), pasted, or as an example.
import { part } from "./part.js";
import { say } from "./words.js";

/**
 * @param {(files: File[]) => void} take
 * @param {(sentence: string) => void} complain
 */
export function takePhotos(take, complain) {
  const files = part("files", HTMLInputElement);
  const veil = part("veil", HTMLElement);
  const receive = (/** @type {File[]} */ found) => (found.length ? take(found) : complain(say("noFiles")));

  for (const id of ["choose", "add"]) part(id, HTMLButtonElement).addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    const chosen = [...(files.files ?? [])];
    files.value = ""; // the same file may be chosen again
    if (chosen.length) take(chosen);
  });

  let depth = 0; // of the element that the pointer is over: each entered one sends an event
  const lift = (/** @type {number} */ entered) => {
    depth = entered;
    veil.hidden = depth <= 0;
  };
  const brings = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragenter", (event) => brings(event) && lift(depth + 1));
  addEventListener("dragleave", (event) => brings(event) && lift(depth - 1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    lift(0);
    if (event.dataTransfer) receive(await dropped(event.dataTransfer));
  });

  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (pasted.length || event.clipboardData?.types.length) receive(pasted);
  });

  for (const button of document.querySelectorAll("[data-example]"))
    button.addEventListener("click", async () => {
      const address = /** @type {string} */ (button.getAttribute("data-example"));
      try {
        const answer = await fetch(address);
        if (!answer.ok) throw new Error(answer.statusText);
        take([new File([await answer.blob()], address.replace(/^.*\//, ""), { type: "image/jpeg" })]);
      } catch {
        complain(say("exampleMissing"));
      }
    });
}

/**
 * The files that were dropped, and the images of folders that were.
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>}
 */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()); // now: later the list is empty
  const files = [...transfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  return (await Promise.all(entries.map((entry) => (entry ? inside(entry) : [])))).flat();
}

/**
 * @param {FileSystemEntry} entry
 * @param {boolean} [any] Whatever the user dropped himself is taken; of folders only images.
 * @returns {Promise<File[]>}
 */
async function inside(entry, any = true) {
  if (entry.isDirectory) {
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    const found = [];
    for (;;) {
      /** @type {FileSystemEntry[]} */
      const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
      if (!some.length) break;
      for (const inner of some) found.push(...(await inside(inner, false)));
    }
    return found;
  }
  /** @type {File | null} */
  const file = await new Promise((resolve) =>
    /** @type {FileSystemFileEntry} */ (entry).file(resolve, () => resolve(null)),
  );
  return file && (any || file.type.startsWith("image/")) ? [file] : [];
}
