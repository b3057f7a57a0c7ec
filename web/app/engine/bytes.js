/** Bytes of files: text in them, and putting them together. */

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/**
 * @param {string} text of characters up to 255
 * @returns {Bytes}
 */
export const bytesOf = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

/**
 * The characters, each one byte, from `start` to `end`.
 * @param {Bytes} bytes
 */
export function textOf(bytes, start = 0, end = bytes.length) {
  let text = "";
  for (let place = Math.max(0, start); place < Math.min(end, bytes.length); place += 8192)
    text += String.fromCharCode(...bytes.subarray(place, Math.min(end, place + 8192)));
  return text;
}

/**
 * @param {Bytes} bytes
 * @param {string} mark
 */
export function startsWith(bytes, mark, place = 0) {
  for (let i = 0; i < mark.length; i++) if (bytes[place + i] !== mark.charCodeAt(i)) return false;
  return true;
}

/** @param {Bytes} bytes */
export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * @param {Bytes[]} parts
 * @returns {Bytes}
 */
export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

/**
 * @param {Bytes} bytes
 * @param {GenericTransformStream} stream such as a DecompressionStream
 * @returns {Promise<Bytes>}
 */
export async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}
