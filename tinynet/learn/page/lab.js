// The lab: one page for two transports. `ask` calls a function of tinynet/learn/lab.py, over HTTP or in a worker.
// A page has elements with data-widget="NAME"; `mount` fills them.
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

export async function mount(root, ask) {
  lab.ask = async (name, ...values) => {
    const begin = performance.now(), answer = await ask(name, ...values);
    lab.results[name] = { ...answer, asked: values, ms: performance.now() - begin };
    return lab.results[name];
  };
  lab.about = await lab.ask("start");
  const found = [...root.querySelectorAll("[data-widget]")];
  for (const element of found) await widgets[element.dataset.widget](element, lab);
  lab.ready = performance.now() - lab.started;
  return found.length;
}

const standing = document.getElementById("standing");
const token = location.hash.slice(1);
const ask = token ? overHttp(token) : inWorker(new Worker(new URL("worker.js", import.meta.url)));
window.tinynetLab = lab;
mount(document, ask).then(
  () => { if (standing) standing.textContent = `tinynet ${lab.about.version}: an LSTM-CNN of ${lab.about.parameters.toLocaleString("en")} parameters reads digits row by row.`; },
  error => { if (standing) { standing.textContent = `The lab could not start: ${error.message}`; standing.className = "wrong"; } });
