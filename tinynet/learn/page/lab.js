// The lab: one page for two transports. `ask` calls a function of tinynet/learn/lab.py, over HTTP or in a worker.
// A page has elements with data-widget="NAME"; `start` fills them.
import { widgets } from "./widgets.js";

const unpack = buffer => {
  const size = new DataView(buffer).getUint32(0, true);
  const { plain, arrays } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  for (const [name, [shape, at]] of Object.entries(arrays))
    plain[name] = { shape, data: new Float32Array(buffer, 4 + size + 4 * at, shape.reduce((a, b) => a * b, 1)) };
  return plain;
};

const overHttp = token => async (name, ...values) => {
  const answer = await fetch("/call", { method: "POST", headers: { "X-Token": token }, body: JSON.stringify([name, values]) });
  if (!answer.ok) throw new Error(await answer.text());
  return unpack(await answer.arrayBuffer());
};

const inWorker = worker => {
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data: { id, answer, error } }) => {
    const [done, failed] = waiting.get(id);
    waiting.delete(id);
    error ? failed(new Error(error)) : done(unpack(answer));
  };
  return (name, ...values) => new Promise((done, failed) => {
    waiting.set(++last, [done, failed]);
    worker.postMessage({ id: last, name, values });
  });
};

// The last request wins: while one is on its way, only the newest of the following ones is kept.
export const latest = work => {
  let running = false, next = null;
  return async (...values) => {
    if (running) { next = values; return; }
    running = true;
    try {
      for (let one = values; one; one = next) { next = null; await work(...one); if (!next) break; }
    } finally { running = false; }
  };
};

const listeners = [];
export const lab = {
  digit: null, label: 3, results: {}, started: performance.now(),
  onDigit(listener) { listeners.push(listener); if (lab.digit) listener(lab.digit); },
  setDigit(pixels) { lab.digit = pixels; listeners.forEach(listener => listener(pixels)); },
};

// Fill the places below `root`. With a token, a server computes; else a worker, from the folder of this file.
export async function start(root, token = "") {
  const ask = token ? overHttp(token) : inWorker(new Worker(new URL("worker.js", import.meta.url)));
  lab.ask = async (name, ...values) => {
    const begin = performance.now(), answer = await ask(name, ...values);
    lab.results[name] = { ...answer, asked: values, ms: performance.now() - begin };
    return lab.results[name];
  };
  lab.about = await lab.ask("start");
  const places = [...root.querySelectorAll("[data-widget]")];
  if (!places.some(place => place.dataset.widget === "gates")) lab.setDigit([...lab.about.digits.data.slice(3 * 784, 4 * 784)]);
  for (const place of places) await widgets[place.dataset.widget](place, lab);
  lab.ready = performance.now() - lab.started;
}
window.tinynetLab = lab;
