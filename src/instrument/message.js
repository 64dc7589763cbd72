/** Messages of the server as objects: a header of plain data, and arrays behind it (`messages.py`). */

const ARRAYS = { float32: Float32Array, uint16: Uint16Array, uint8: Uint8Array };
const ALIGNED = 4; // bytes

/** A message out of an ArrayBuffer; its `arrays` by their names. */
export function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const { parts, ...header } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  let at = 4 + length;
  for (const { name, dtype, shape } of parts) {
    arrays[name] = new ARRAYS[dtype](buffer, at, shape.reduce((size, n) => size * n, 1));
    at += Math.ceil(arrays[name].byteLength / ALIGNED) * ALIGNED;
  }
  return { ...header, arrays };
}
