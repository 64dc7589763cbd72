/** Has a worker make sounds, pictures and answers: everything is in the browser. */

const FAILED = "This browser cannot run the page: WebAssembly with vector instructions is needed, or a file is missing.";

export class StaticEngine {
  #data;
  #worker = null;

  /** @param {object} data The page's. */
  constructor(data) {
    this.#data = data;
    this.can = { perturb: false, limits: false, refine: false, record: false, listen: false };
    this.onmessage = () => {};
    this.onstate = () => {};
  }

  /** Begin; `onstate` tells when it can be asked. */
  open() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data.type === "ready") this.onstate("connected");
      else this.onmessage(data);
    };
    this.#worker.onerror = ({ message }) => this.onmessage({ type: "error", id: 0, text: message || FAILED });
    this.#worker.postMessage({ type: "open", data: this.#data, base: new URL(".", document.baseURI).href });
  }

  /** Ask for something. */
  send(request) {
    this.#worker.postMessage(request);
  }
}
