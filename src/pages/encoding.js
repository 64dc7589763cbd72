/** Bytes that Python left in the page (`src/pages/encoding.py`), as numbers. */

export const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Samples, and Hz, of a mono WAV file of 16 bits with a header of 44 bytes. */
export function decodeWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array((view.byteLength - 44) / 2);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(44 + 2 * i, true) / 32767;
  return { samples, rate: view.getUint32(24, true) };
}

/** Levels between `low` and `high` that were rounded to 16 bits. */
export function decodeLevels(bytes, low, high) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const level = (_, i) => low + (view.getUint16(2 * i, true) / 65535) * (high - low);
  return Float32Array.from({ length: bytes.byteLength / 2 }, level);
}
