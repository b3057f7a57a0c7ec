/**
 * @typedef {{ strength: number, maxStops: number | null, keepHighlights: boolean }} Settings
 * @typedef {{ code: string, [detail: string]: string | number }} Note what a result lacks; see errors.js
 * @typedef {{ stage: "download" | "start" | "read" | "decode" | "correct" | "save", done: number }} Progress done: 0..1
 * @typedef {(progress: Progress) => void} OnProgress
 * @typedef {{ signal?: AbortSignal, onProgress?: OnProgress }} Options
 * @typedef {"same" | "png" | "jpeg"} Format
 * @typedef {{ blob: Blob, name: string, notes: Note[] }} Saved
 * @typedef {{
 *   name: string, width: number, height: number, type: string, preview: ImageData, grid: Float32Array,
 *   wellExposed: number | null, stops: number | null, notes: Note[],
 *   save(settings: Settings & { format: Format }, options?: Options): Promise<Saved>, close(): void,
 * }} OpenPhoto `type` is the MIME type of its file; `preview` is upright, its larger side at most 2048 pixels, and `grid`
 *   corrects it; `stops` is by how many stops it is too bright (negative: too dark)
 * @typedef {{
 *   kind: "browser" | "server", model: "fast" | "paper",
 *   open(file: Blob & { name?: string }, options?: Options): Promise<OpenPhoto>, close(): void,
 * }} Engine
 */
export {};
