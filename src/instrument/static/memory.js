/** The memory of WebAssembly that numba compiled, and what it wants of numba's runtime (`src/synth/wasm.py`). */

const PAGE = 65536; // bytes
const ALIGNED = 64; // bytes, as numba has its arrays
const HEAD = 64; // bytes before an array that hold what numba knows of it
const DATA = 16; // place of the array's address there

export class Memory {
  #memory = null;
  #floor = 0;
  #top = 0;

  /** What the module imports. */
  get imports() {
    return {
      exp: Math.exp,
      NRT_MemInfo_alloc_aligned: (size) => this.#array(Number(size)),
      NRT_MemInfo_call_dtor: () => {}, // all is freed at once
      numba_attempt_nocopy_reshape: (...about) => this.#reshape(...about),
    };
  }

  /** Take over the memory of an instance. */
  attach({ memory, __heap_base: floor }) {
    this.#memory = memory;
    this.#floor = this.#top = floor.value;
  }

  /** Free everything. */
  clear() {
    this.#top = this.#floor;
  }

  /** The address of so many bytes that nothing else uses; views of the memory from before are void. */
  reserve(size) {
    const address = Math.ceil(this.#top / ALIGNED) * ALIGNED;
    this.#top = address + size;
    const missing = this.#top - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE));
    return address;
  }

  /** The address of a copy of a typed array. */
  put(array) {
    const address = this.reserve(array.byteLength);
    new array.constructor(this.#memory.buffer, address, array.length).set(array);
    return address;
  }

  /** A copy of so many float32 numbers at an address. */
  floats(address, length) {
    return new Float32Array(this.#memory.buffer, address, length).slice();
  }

  /** An array of numba's: a count of references, and where its bytes are. */
  #array(size) {
    const address = this.reserve(HEAD + size);
    const view = new DataView(this.#memory.buffer);
    view.setBigInt64(address, 1n, true);
    for (let at = 8; at < HEAD; at += 4) view.setUint32(address + at, 0, true);
    view.setUint32(address + DATA, address + HEAD, true);
    return address;
  }

  /** Write the strides, in bytes, of an array without gaps that gets another shape; 1: it can have it. */
  #reshape(nDims, dims, strides, nNew, newDims, newStrides, itemSize) {
    const view = new DataView(this.#memory.buffer);
    let stride = itemSize;
    for (let axis = Number(nNew) - 1; axis >= 0; axis--) {
      view.setBigInt64(newStrides + 8 * axis, stride, true);
      stride *= view.getBigInt64(newDims + 8 * axis, true);
    }
    return 1;
  }
}
