/** Antialiased bilinear reduction, by PyTorch's rule (`expcorr_core/image/resize.py`). */

/** @param {number} value halves go to the even number, as in Python */
function rounded(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/**
 * The size at which the larger side is at most `largerSide`; never larger than it is.
 * @param {number} width
 * @param {number} height
 * @param {number} largerSide
 */
export function reducedSize(width, height, largerSide) {
  const scale = largerSide / Math.max(width, height);
  if (scale >= 1) return { width, height };
  return { width: Math.max(1, rounded(width * scale)), height: Math.max(1, rounded(height * scale)) };
}

/**
 * For each place of the result, the first place that it is made of, and the weights from there on.
 * @param {number} from
 * @param {number} to
 */
function weightsOf(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(from, Math.trunc(center + support + 0.5));
    const weights = new Float64Array(end - first);
    let total = 0;
    for (let j = 0; j < weights.length; j++)
      total += weights[j] = Math.max(0, 1 - Math.abs((first + j - center + 0.5) / support));
    for (let j = 0; j < weights.length; j++) weights[j] /= total;
    return { first, weights };
  });
}

/**
 * @param {Uint8ClampedArray | Float32Array} pixels `(height, width, 4)`
 * @param {number} width
 * @param {number} height
 * @param {{ width: number, height: number }} size
 * @returns {Float32Array} `(size.height, size.width, 4)`, in the same range
 */
export function resized(pixels, width, height, size) {
  if (size.width === width && size.height === height) return Float32Array.from(pixels);
  const result = new Float32Array(size.width * size.height * 4);
  const down = weightsOf(height, size.height);
  const across = weightsOf(width, size.width);
  const row = new Float64Array(width * 4);
  for (let y = 0; y < size.height; y++) {
    row.fill(0);
    const { first, weights } = down[y];
    for (let j = 0; j < weights.length; j++) addRow(row, pixels, (first + j) * width * 4, weights[j]);
    let place = y * size.width * 4;
    for (const { first, weights } of across) {
      let r = 0;
      let g = 0;
      let b = 0;
      let a = 0;
      for (let j = 0, from = first * 4; j < weights.length; j++, from += 4) {
        const weight = weights[j];
        r += weight * row[from];
        g += weight * row[from + 1];
        b += weight * row[from + 2];
        a += weight * row[from + 3];
      }
      result[place++] = r;
      result[place++] = g;
      result[place++] = b;
      result[place++] = a;
    }
  }
  return result;
}

/**
 * @param {Float64Array} row
 * @param {Uint8ClampedArray | Float32Array} pixels
 * @param {number} start
 * @param {number} weight
 */
function addRow(row, pixels, start, weight) {
  if (!weight) return;
  for (let i = 0; i < row.length; i++) row[i] += weight * pixels[start + i];
}

/**
 * Colours by planes, as networks take them.
 * @param {ArrayLike<number>} pixels `(n, 4)`
 * @param {number} peak the value of white
 * @returns {Float32Array} `(3, n)`, 0..1
 */
export function planes(pixels, peak) {
  const count = pixels.length / 4;
  const result = new Float32Array(3 * count);
  for (let i = 0; i < count; i++)
    for (let c = 0; c < 3; c++) result[c * count + i] = Math.min(1, Math.max(0, pixels[4 * i + c] / peak));
  return result;
}
