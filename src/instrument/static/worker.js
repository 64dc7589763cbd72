/** Answers the page's requests, the newest first; what waits for its turn is dropped when something newer comes. */

import { InferenceSession, Tensor, env } from "../../ort/ort.wasm.min.mjs";
import { Listener } from "./listener.js";
import { Player } from "./player.js";
import { Voices } from "./voices.js";

let player = null;
let waiting = null; // the newest request
let working = false;

self.onmessage = ({ data }) => {
  if (data.type === "open") {
    inWords(0, () => open(data));
  } else if (data.type !== "stop") {
    waiting = data;
    if (player && !working) work();
  }
};

/** Fetch everything, and compute the first sound, so that others are quick. */
async function open({ data, base }) {
  env.wasm.numThreads = 1; // more would need headers that hosts of static files do not send
  env.wasm.wasmPaths = new URL("ort/", base).href;
  const { voice, networks } = data.static;
  const voices = new Voices(voice);
  const fetched = ["voices.wasm", "picture.onnx", ...networks.map(({ file }) => file)].map((file) => bytesOf(new URL(file, base)));
  const [kernels, ...graphs] = await Promise.all(fetched);
  await voices.open(kernels);
  const runs = [];
  for (const graph of graphs) runs.push(await runnerOf(graph));
  const [picture, ...hearings] = runs;
  const listeners = hearings.map((hear, i) => new Listener(data, networks[i], hear));
  player = new Player(data, voices, picture, listeners);
  for await (const _ of player.answer({ id: 0, value: data.parameters.map((knob) => knob.default) })) { /* warm */ }
  self.postMessage({ type: "ready" });
  if (waiting) work();
}

async function bytesOf(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address.pathname}: the host answers ${answer.status}.`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** A function from inputs, name to `[type, array, shape]`, to outputs, name to typed array. */
async function runnerOf(graph) {
  const session = await InferenceSession.create(graph);
  return async (inputs) => {
    const tensors = Object.entries(inputs).map(([name, [type, array, shape]]) => [name, new Tensor(type, array, shape)]);
    const outputs = await session.run(Object.fromEntries(tensors));
    return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
  };
}

async function work() {
  working = true;
  while (waiting) {
    const request = waiting;
    waiting = null;
    await inWords(request.id, () => answer(request));
  }
  working = false;
}

async function answer(request) {
  for await (const message of player.answer(request)) {
    self.postMessage(message);
    await turn();
    if (waiting) return;
  }
}

/** Let messages that wait come in. */
const turn = () => new Promise((go) => { setTimeout(go); });

async function inWords(id, act) {
  try {
    await act();
  } catch (error) {
    self.postMessage({ type: "error", id, text: String(error.message ?? error) });
  }
}
