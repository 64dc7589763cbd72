/** Has the server make sounds, pictures and answers: a WebSocket that is opened again when it was lost. */

import { unpacked } from "./message.js";

const WAITS = [250, 500, 1000, 2000, 4000]; // ms until the next try

export class ServerEngine {
  #socket = null;
  #failed = 0;

  /** @param {object} data The page's. */
  constructor(data) {
    this.can = { perturb: true, limits: data.has_synth, refine: data.has_synth, record: data.local, listen: true };
    this.onmessage = () => {};
    this.onstate = () => {};
  }

  /** Begin; `onstate` tells when it can be asked. */
  open() {
    this.#socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/live`);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      this.#failed = 0;
      this.onstate("connected");
    };
    this.#socket.onmessage = ({ data }) => this.onmessage(unpacked(data));
    this.#socket.onclose = () => {
      this.onstate("lost");
      setTimeout(() => this.open(), WAITS[Math.min(this.#failed, WAITS.length - 1)]);
      this.#failed += 1;
    };
  }

  /** Ask for something, with the bytes of a file behind it; nothing while the server is away. */
  send(request, bytes = null) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify(request));
    if (bytes) this.#socket.send(bytes);
  }
}
