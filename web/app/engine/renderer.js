/** Shows a photo's preview corrected, as its settings change: by WebGL 2, or by the CPU where there is none. */

import { UNCLIPPED } from "./limits.js";
import { histograms } from "./report.js";
import { GRID, blended, sliceRows } from "./slice.js";

/** @typedef {import("./types.js").OpenPhoto} OpenPhoto */
/** @typedef {import("./types.js").Settings} Settings */
/** @typedef {{ before: import("./report.js").Histogram, after: import("./report.js").Histogram }} Histograms */
/**
 * @typedef {{
 *   kind: "webgl2" | "cpu", show(photo: OpenPhoto, settings: Settings): void, histogram(): Histograms | null,
 *   dispose(): void,
 * }} Renderer `histogram` is of what was shown last; null before that
 */

const LARGEST_ON_CPU = 2 ** 20; // pixels that the CPU slices while a slider moves
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i; // WebGL by the CPU, ten times slower than ours
const REST = 150; // ms without a change until it slices all

const VERTICES = `#version 300 es
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;
/** The grid lies in a texture of three texels a node, (luminance, x) across and y down: the rows of its transform. */
const FRAGMENTS = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform sampler2D photo;
uniform sampler2D grid;
uniform float strength;
uniform float most; // 2 to the power of the stops; 0: no limit
uniform bool keepHighlights;
out vec4 result;

const int DEPTH = ${GRID.depth};
const ivec2 NODES = ivec2(${GRID.width}, ${GRID.height});
const vec3 LUMA = vec3(0.2126, 0.7152, 0.0722);

vec3 toLight(vec3 value) {
  return mix(pow((value + 0.055) / 1.055, vec3(2.4)), value / 12.92, lessThanEqual(value, vec3(0.04045)));
}

vec3 toSrgb(vec3 light) {
  return mix(1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055, light * 12.92, lessThanEqual(light, vec3(0.0031308)));
}

vec3 at(int x, int y, int z, vec4 colour) {
  int place = (x * DEPTH + z) * 3;
  return vec3(
    dot(texelFetch(grid, ivec2(place, y), 0), colour),
    dot(texelFetch(grid, ivec2(place + 1, y), 0), colour),
    dot(texelFetch(grid, ivec2(place + 2, y), 0), colour)
  );
}

vec3 between(int x, int y, int z, float share, vec4 colour) {
  return mix(at(x, y, z, colour), at(x, y, z + 1, colour), share);
}

void main() {
  ivec2 size = textureSize(photo, 0);
  ivec2 pixel = ivec2(int(gl_FragCoord.x), size.y - 1 - int(gl_FragCoord.y));
  vec4 given = texelFetch(photo, pixel, 0);
  vec4 colour = vec4(given.rgb, 1.0);
  vec2 place = (vec2(pixel) + 0.5) * vec2(NODES - 1) / vec2(size);
  ivec2 lower = min(ivec2(place), NODES - 2);
  vec2 share = place - vec2(lower);
  float level = dot(given.rgb, vec3(0.25, 0.5, 0.25)) * float(DEPTH - 1);
  int node = min(int(level), DEPTH - 2);
  float rest = level - float(node);
  vec3 above = mix(
    between(lower.x, lower.y, node, rest, colour), between(lower.x + 1, lower.y, node, rest, colour), share.x
  );
  vec3 below = mix(
    between(lower.x, lower.y + 1, node, rest, colour), between(lower.x + 1, lower.y + 1, node, rest, colour), share.x
  );
  vec3 made = given.rgb + strength * (mix(above, below, share.y) - given.rgb);
  float brightest = max(given.r, max(given.g, given.b));
  made = clamp(made, 0.0, keepHighlights ? max(brightest, ${UNCLIPPED}) : 1.0);
  if (most > 0.0) {
    vec3 light = toLight(given.rgb);
    vec3 lit = toLight(made);
    float was = dot(light, LUMA);
    float now = dot(lit, LUMA);
    float beyond = now - clamp(now, was / most, was * most);
    if (beyond != 0.0) made = toSrgb(clamp(mix(lit, light, beyond / (now - was)), 1e-9, 1.0));
  }
  result = vec4(made, given.a);
}`;

/**
 * What shows photos on a canvas, which gets the preview's size.
 * @param {HTMLCanvasElement} canvas that has no context yet
 * @returns {Renderer}
 */
export function makeRenderer(canvas) {
  const context = canvas.getContext("webgl2", { alpha: true, antialias: false, depth: false, premultipliedAlpha: false });
  if (!context) return new CpuRenderer(canvas, null);
  try {
    if (!SOFTWARE.test(nameOf(context))) return new GpuRenderer(canvas, context);
  } catch {
    // A driver that cannot compile it.
  }
  return new CpuRenderer(canvas, replaced(canvas)); // a canvas cannot have another context
}

/**
 * What draws. Chromium's own name says nothing, and its extension does; other browsers' names do.
 * @param {WebGL2RenderingContext} gl
 * @returns {string}
 */
function nameOf(gl) {
  const name = gl.getParameter(gl.RENDERER);
  const more = name === "WebKit WebGL" ? gl.getExtension("WEBGL_debug_renderer_info") : null;
  return more ? gl.getParameter(more.UNMASKED_RENDERER_WEBGL) : name;
}

/**
 * A canvas over one that has a context of the wrong kind, in its place on the page.
 * @param {HTMLCanvasElement} canvas
 */
function replaced(canvas) {
  const copy = /** @type {HTMLCanvasElement} */ (canvas.cloneNode());
  canvas.replaceWith(copy);
  return copy;
}

/** What both kinds remember of what was shown last. */
class Shown {
  /** @type {OpenPhoto | null} */
  photo = null;
  /** @type {Settings} */
  settings = { strength: 1, maxStops: null, keepHighlights: true };

  /** @returns {Histograms | null} */
  histogram() {
    return this.photo && histograms(this.photo.preview, this.photo.grid, this.settings);
  }
}

/** @implements {Renderer} */
class GpuRenderer extends Shown {
  kind = /** @type {const} */ ("webgl2");
  /** @type {Record<string, WebGLUniformLocation | null>} */
  #places = {};
  /** @type {WebGLTexture[]} */
  #textures = [];
  /** @type {OpenPhoto | null} */
  #loaded = null;
  #canvas;
  #gl;
  #ends = new AbortController();

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGL2RenderingContext} gl
   */
  constructor(canvas, gl) {
    super();
    this.#canvas = canvas;
    this.#gl = gl;
    this.#prepare();
    const { signal } = this.#ends;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault(), { signal }); // it may come back
    canvas.addEventListener("webglcontextrestored", () => this.#restore(), { signal });
  }

  #prepare() {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTICES], [gl.FRAGMENT_SHADER, FRAGMENTS]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
      throw new Error(gl.getProgramInfoLog(program) ?? "");
    gl.useProgram(program);
    for (const name of ["photo", "grid", "strength", "most", "keepHighlights"])
      this.#places[name] = gl.getUniformLocation(program, name);
    this.#textures = [0, 1].map((unit) => {
      const texture = gl.createTexture();
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
      return texture;
    });
    gl.uniform1i(this.#places.photo, 0);
    gl.uniform1i(this.#places.grid, 1);
  }

  #restore() {
    this.#loaded = null;
    this.#prepare();
    if (this.photo) this.show(this.photo, this.settings);
  }

  /** @param {OpenPhoto} photo */
  #load(photo) {
    const gl = this.#gl;
    const { data, width, height, colorSpace } = photo.preview;
    this.#canvas.width = width;
    this.#canvas.height = height;
    if ("drawingBufferColorSpace" in gl) gl.drawingBufferColorSpace = colorSpace;
    gl.activeTexture(gl.TEXTURE0);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    gl.activeTexture(gl.TEXTURE1);
    const across = GRID.width * GRID.depth * 3;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, across, GRID.height, 0, gl.RGBA, gl.FLOAT, photo.grid);
    this.#loaded = photo;
  }

  /**
   * @param {OpenPhoto} photo
   * @param {Settings} settings
   */
  show(photo, settings) {
    this.photo = photo;
    this.settings = { ...settings };
    const gl = this.#gl;
    if (gl.isContextLost()) return; // it is shown when the context is back
    if (photo !== this.#loaded) this.#load(photo);
    gl.viewport(0, 0, this.#canvas.width, this.#canvas.height);
    gl.uniform1f(this.#places.strength, settings.strength);
    gl.uniform1f(this.#places.most, settings.maxStops === null ? 0 : 2 ** settings.maxStops);
    gl.uniform1i(this.#places.keepHighlights, Number(settings.keepHighlights));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  dispose() {
    this.#ends.abort();
    this.photo = this.#loaded = null;
    for (const texture of this.#textures) this.#gl.deleteTexture(texture);
  }
}

/** @implements {Renderer} */
class CpuRenderer extends Shown {
  kind = /** @type {const} */ ("cpu");
  #canvas;
  /** @type {OpenPhoto | null} */
  #reduced = null;
  /** @type {ImageData | null} */
  #small = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #later;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLCanvasElement | null} instead
   */
  constructor(canvas, instead) {
    super();
    this.#canvas = instead ?? canvas;
  }

  /**
   * @param {OpenPhoto} photo
   * @param {Settings} settings
   */
  show(photo, settings) {
    this.photo = photo;
    this.settings = { ...settings };
    const { preview } = photo;
    clearTimeout(this.#later);
    const step = Math.ceil(Math.sqrt((preview.width * preview.height) / LARGEST_ON_CPU));
    if (step === 1) {
      this.#draw(preview);
      return;
    }
    if (photo !== this.#reduced) {
      this.#small = everyOf(preview, step);
      this.#reduced = photo;
    }
    this.#draw(/** @type {ImageData} */ (this.#small));
    this.#later = setTimeout(() => this.photo === photo && this.#draw(preview), REST);
  }

  /** @param {ImageData} picture */
  #draw({ data, width, height, colorSpace }) {
    const { photo, settings } = this;
    if (!photo) return;
    const made = emptyPicture(width, height, colorSpace);
    const grid = blended(photo.grid, settings.strength);
    sliceRows(data, { width, height, top: 0, bottom: height, peak: 255 }, grid, settings, made.data);
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#canvas.getContext("2d", { colorSpace })?.putImageData(made, 0, 0);
  }

  dispose() {
    clearTimeout(this.#later);
    this.photo = this.#reduced = this.#small = null;
  }
}

/**
 * Browsers that know only sRGB refuse to be told a space.
 * @param {number} width
 * @param {number} height
 * @param {PredefinedColorSpace} colorSpace
 */
const emptyPicture = (width, height, colorSpace) =>
  colorSpace === "display-p3" ? new ImageData(width, height, { colorSpace }) : new ImageData(width, height);

/**
 * Every so many rows and columns of a picture.
 * @param {ImageData} picture
 * @param {number} step
 */
function everyOf({ data, width, height, colorSpace }, step) {
  const small = emptyPicture(Math.ceil(width / step), Math.ceil(height / step), colorSpace);
  const from = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const to = new Uint32Array(small.data.buffer);
  for (let y = 0; y < small.height; y++)
    for (let x = 0; x < small.width; x++) to[y * small.width + x] = from[y * step * width + x * step];
  return small;
}
