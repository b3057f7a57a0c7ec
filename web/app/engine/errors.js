/**
 * A photo that cannot be opened or saved. `code` is a key of the page's words; `details` fill their gaps.
 *
 * Codes: `empty`; `not_a_photo` {found?: "text" | "pdf" | "zip" | "svg" | "html" | "video"}; `format_unsupported`
 * {format}; `heic_unsupported`; `raw_unsupported` {format}; `hdr_unsupported`; `unreadable` (damaged or cut off);
 * `file_lost` (moved or changed since it was chosen); `too_large` {width, height}; `no_memory`; `offline` (a part of the
 * page could not be loaded); `pixels_blocked` (a setting of the browser hides pictures from pages; JPEG and PNG files can
 * be opened); `engine_failed` {reason}. A photo that is given up ends with the signal's reason instead.
 *
 * Codes of notes, which tell what a result lacks: `gain_map`, `further_pictures`, `video`, `content_credentials`,
 * `exif_damaged`, `xmp_parts`, `animation`, `sixteen_bits`, `alpha`, `metadata`, `profile_to_p3`, `profile_to_srgb`,
 * `profile_damaged`, `pixels_disturbed` (the browser adds noise to pictures that pages read).
 */
export class PhotoError extends Error {
  /**
   * @param {string} code
   * @param {Record<string, string | number>} [details]
   */
  constructor(code, details = {}) {
    super(code + (Object.keys(details).length ? ` ${JSON.stringify(details)}` : ""));
    this.name = "PhotoError";
    this.code = code;
    this.details = details;
  }
}
