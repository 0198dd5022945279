// The widgets. Each is a function of an element and the lab. It builds its controls once, and draws what tinynet answers.
import { latest } from "./lab.js";

const T = 28, SVG = "http://www.w3.org/2000/svg";

// --- elements -------------------------------------------------------------------------------------------------------

const make = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    key.startsWith("on") ? made.addEventListener(key.slice(2), value) : value !== false && made.setAttribute(key, value === true ? "" : value);
  made.append(...children);
  return made;
};

const titled = (element, title, text) => element.append(make("h2", {}, title), make("p", {}, text));

const slider = (label, options, oninput) => {
  const shown = make("output", {}, String(options.value)), input = make("input", { type: "range", ...options });
  input.addEventListener("input", () => { shown.textContent = input.value; oninput(); });
  return { element: make("label", { class: "slider" }, `${label} `, input, " ", shown), input, shown };
};

const button = (text, onclick, more = {}) => make("button", { type: "button", onclick, ...more }, text);

// --- colors ---------------------------------------------------------------------------------------------------------

const scale = kind => {
  const style = getComputedStyle(document.body);
  const steps = Array.from({ length: 9 }, (_, k) => style.getPropertyValue(`--tn-${kind}${k}`).trim())
    .map(text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16)));
  return share => {
    const at = Math.min(Math.max(share, 0), 1) * 8, low = Math.min(Math.floor(at), 7), rest = at - low;
    return steps[low].map((value, k) => value + (steps[low + 1][k] - value) * rest);
  };
};
const redraw = [];
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw.forEach(draw => draw()));

// A heat map of `value(row, column)`, 0 ... 1 or, if signed, -1 ... 1.
const heat = (canvas, rows, columns, value, signed = false) => {
  canvas.width = columns; canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), color = scale(signed ? "d" : "s");
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    const v = value(row, column);
    image.data.set([...color(signed ? (v + 1) / 2 : v), 255], 4 * (row * columns + column));
  }
  context.putImageData(image, 0, 0);
};

const map = (where, key, caption, label) => {
  const canvas = make("canvas", { class: "map", role: "img", "aria-label": label });
  where.append(make("figure", { class: key ? `of-${key}` : "" }, canvas, make("figcaption", {}, caption)));
  return canvas;
};

// --- curves ---------------------------------------------------------------------------------------------------------

// Round numbers between low and high, about five of them, or in steps of a given size.
const ticks = (low, high, step) => {
  if (!step) {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    step = [1, 2, 5, 10].find(factor => factor * power >= rough) * power;
  }
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(6)));
};

// Lines over x: series [{name, color, points [[x, y], ...]}]; `log` for a logarithmic y.
const plot = (where, series, { x, y, log = false, label }) => {
  const width = 520, height = 240, left = 64, right = 112, top = 12, bottom = 44;
  const points = series.flatMap(one => one.points).filter(([, v]) => Number.isFinite(v) && (!log || v > 0));
  const level = v => log ? Math.log10(v) : v;
  const xs = points.map(point => point[0]), ys = points.map(point => level(point[1]));
  let [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  if (x1 === x0) x1 = x0 + 1;
  if (log) { y0 = Math.floor(y0); y1 = Math.ceil(y1); }
  if (y1 - y0 < 1e-9) { y0 -= 0.5; y1 += 0.5; }
  const X = v => left + (v - x0) / (x1 - x0) * (width - left - right);
  const Y = v => height - bottom - (v - y0) / (y1 - y0) * (height - top - bottom);
  const svg = document.createElementNS(SVG, "svg");
  const add = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
  };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const powers = Math.max(1, Math.ceil((y1 - y0) / 5));
  for (const v of log ? ticks(y0, y1, powers) : ticks(y0, y1)) {
    add("line", { x1: left, x2: width - right, y1: Y(v), y2: Y(v), class: "rule" });
    add("text", { x: left - 6, y: Y(v) + 4, class: "tick", "text-anchor": "end" }, log ? `1e${v}` : v);
  }
  for (const u of ticks(x0, x1)) add("text", { x: X(u), y: height - bottom + 18, class: "tick", "text-anchor": "middle" }, u);
  add("text", { x: (left + width - right) / 2, y: height - 6, class: "axis", "text-anchor": "middle" }, x);
  add("text", { x: 14, y: (top + height - bottom) / 2, class: "axis", "text-anchor": "middle", transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, y);
  const ends = [];
  for (const { name, color, points, dash } of series) {
    const kept = points.filter(([, v]) => Number.isFinite(v) && (!log || v > 0));
    if (!kept.length) continue;
    add("polyline", { points: kept.map(([u, v]) => `${X(u).toFixed(1)},${Y(level(v)).toFixed(1)}`).join(" "), class: "curve", stroke: `var(--tn-${color})`, ...(dash ? { "stroke-dasharray": dash } : {}) });
    ends.push([Y(level(kept.at(-1)[1])), name, color]);
  }
  ends.sort((a, b) => a[0] - b[0]); // names beside the ends of their lines, without overlap
  ends.forEach((end, k) => { if (k) end[0] = Math.max(end[0], ends[k - 1][0] + 15); });
  let most = height - bottom;
  for (const end of ends.toReversed()) { end[0] = Math.min(end[0], most); most = end[0] - 15; }
  for (const [at, name, color] of ends) add("text", { x: width - right + 6, y: at + 4, class: "name", fill: `var(--tn-${color})` }, name);
  where.replaceChildren(svg);
};

// --- the digit ------------------------------------------------------------------------------------------------------

const SIDE = 252;

// As MNIST was made: the drawing fitted into a box of 20 x 20, its centre of mass in the middle of 28 x 28.
const centred = pad => {
  const data = pad.getContext("2d").getImageData(0, 0, SIDE, SIDE).data;
  let [x0, y0, x1, y1, sx, sy, mass] = [SIDE, SIDE, -1, -1, 0, 0, 0];
  for (let y = 0; y < SIDE; y++) for (let x = 0; x < SIDE; x++) {
    const v = data[4 * (y * SIDE + x)];
    if (v < 30) continue;
    [x0, x1, y0, y1] = [Math.min(x0, x), Math.max(x1, x), Math.min(y0, y), Math.max(y1, y)];
    mass += v; sx += v * x; sy += v * y;
  }
  const pixels = new Array(T * T).fill(0);
  if (x1 < 0) return pixels;
  const size = 20 / Math.max(x1 - x0 + 1, y1 - y0 + 1), small = make("canvas", { width: T, height: T }).getContext("2d", { willReadFrequently: true });
  small.fillRect(0, 0, T, T);
  small.imageSmoothingQuality = "high";
  small.drawImage(pad, x0, y0, x1 - x0 + 1, y1 - y0 + 1, 14 - (sx / mass - x0 + .5) * size, 14 - (sy / mass - y0 + .5) * size, (x1 - x0 + 1) * size, (y1 - y0 + 1) * size);
  const found = small.getImageData(0, 0, T, T).data;
  return pixels.map((_, k) => found[4 * k]);
};

const drawingPad = lab => {
  const canvas = make("canvas", { class: "pad", width: SIDE, height: SIDE, role: "img", "aria-label": "a pad to draw a digit on; the buttons below draw one for you" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const clear = () => { pen.fillStyle = "black"; pen.fillRect(0, 0, SIDE, SIDE); };
  const ready = () => { pen.strokeStyle = "white"; pen.lineWidth = 22; pen.lineCap = pen.lineJoin = "round"; };
  const send = () => lab.setDigit(centred(canvas));
  const choose = digit => {
    clear(); ready();
    for (const stroke of lab.about.strokes[digit]) {
      pen.beginPath();
      stroke.forEach(([x, y], k) => k ? pen.lineTo(9 * x, 9 * y) : pen.moveTo(9 * x, 9 * y));
      pen.stroke();
    }
    send();
  };
  let down = false;
  const at = event => { const box = canvas.getBoundingClientRect(); return [(event.clientX - box.left) * SIDE / box.width, (event.clientY - box.top) * SIDE / box.height]; };
  canvas.addEventListener("pointerdown", event => { down = true; canvas.setPointerCapture(event.pointerId); ready(); pen.beginPath(); pen.moveTo(...at(event)); });
  canvas.addEventListener("pointermove", event => { if (down) { pen.lineTo(...at(event)); pen.stroke(); send(); } });
  canvas.addEventListener("pointerup", () => { if (down) { down = false; send(); } });
  const buttons = make("div", { class: "buttons" }, ...lab.about.strokes.map((_, k) => button(String(k), () => choose(k), { "aria-label": `draw a ${k}` })),
    button("clear", () => { clear(); send(); }));
  clear();
  return { element: make("div", {}, canvas, buttons), choose };
};

// --- the widgets ----------------------------------------------------------------------------------------------------

const QUANTITIES = [["f", "f: what to keep (1)"], ["i", "i: what to take in (2)"], ["Ctilde", "C̃: the candidate (3)", true], ["o", "o: what to show (5)"],
  ["C", "C: the state (4)", true], ["h", "h: the output (6)", true]];

async function reader(element, lab) {
  titled(element, "Reading, row by row", "Draw a digit. An LSTM reads its 28 rows from top to bottom. Each column of a map is one of its units, each row a row of the digit; units stand in the order in which their states change. Point at a unit, or choose one, to see its history.");
  const pad = drawingPad(lab), reading = make("canvas", { class: "map tall", role: "img", "aria-label": "probabilities of the ten digits after each row" });
  const bars = make("ol", { class: "bars", start: "0", "aria-label": "probabilities" }), said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "columns" }, make("figure", {}, pad.element), make("figure", {}, reading, make("figcaption", {}, "prediction after each row, 0 … 9")), make("div", {}, said, bars)));
  const maps = make("div", { class: "maps" }), history = make("div", { class: "plot" });
  const canvases = QUANTITIES.map(([key, caption]) => map(maps, key, caption, `heat map of ${caption}: 28 rows, 128 units`));
  const unit = slider("unit", { min: 1, max: 128, value: 1 }, () => draw());
  element.append(maps, unit.element, history);
  let answer = null;
  const value = (k, row, column) => {
    const H = answer.h.shape[1], at = answer.order.data[column];
    return k < 4 ? answer.gates.data[(row * 4 + k) * H + at] : (k === 4 ? answer.C : answer.h).data[row * H + at];
  };
  const draw = () => {
    if (!answer) return;
    const H = answer.h.shape[1];
    QUANTITIES.forEach(([, , signed], k) => {
      const most = k < 4 ? 1 : Math.max(1e-9, ...(k === 4 ? answer.C : answer.h).data.map(Math.abs));
      heat(canvases[k], T, H, (row, column) => value(k, row, column) / most, Boolean(signed));
    });
    heat(reading, T, 10, (row, column) => answer.reading.data[row * 10 + column]);
    const last = [...answer.reading.data.slice(270)], best = last.indexOf(Math.max(...last));
    said.textContent = `It reads a ${best}, with ${(100 * last[best]).toFixed(1)} %.`;
    bars.replaceChildren(...last.map((p, k) => {
      const bar = make("i");
      bar.style.width = `${100 * p}%`;
      return make("li", { class: k === best ? "best" : "" }, make("span", {}, `${k}`), make("b", {}, bar), make("span", {}, `${(100 * p).toFixed(1)} %`));
    }));
    const column = unit.input.value - 1;
    plot(history, QUANTITIES.map(([key, caption], k) => ({ name: caption.split(":")[0], color: key, points: Array.from({ length: T }, (_, row) => [row + 1, value(k, row, column)]) })),
      { x: "row", y: "value", label: `the history of unit ${column + 1}` });
  };
  canvases.forEach(canvas => canvas.addEventListener("pointermove", event => {
    const box = canvas.getBoundingClientRect();
    unit.input.value = unit.shown.textContent = Math.min(128, 1 + Math.floor(128 * (event.clientX - box.left) / box.width));
    draw();
  }));
  unit.input.addEventListener("input", draw);
  redraw.push(draw);
  const show = latest(async pixels => { answer = await lab.ask("gates", pixels); draw(); });
  lab.onDigit(show);
  pad.choose(3);
  while (!answer) await new Promise(done => setTimeout(done, 10));
}

async function back(element, lab) {
  titled(element, "Back through time", "The loss sends a gradient back from the last row to the first. Move the row: maps show what has been computed so far, in logarithms over four powers of ten. Choose a wrong label, and the gradients grow.");
  const row = slider("row", { min: 1, max: T, value: 1 }, () => draw());
  const label = make("select", {}, ...Array.from({ length: 10 }, (_, k) => make("option", { value: k }, String(k)))), said = make("p", { class: "said", role: "status" });
  const maps = make("div", { class: "maps" }), products = make("div", { class: "plot" });
  const canvases = [["dC", "dC, the gradient of the state (7)"], ["dh", "dh, of the output (12)"], ["carry", "the carry dC ⊙ f (13)"]]
    .map(([key, caption]) => [key, map(maps, key === "dh" ? "h" : "C", caption, `heat map of the size of ${caption}`)]);
  element.append(make("div", { class: "controls" }, row.element, make("label", {}, "label to learn ", label)), said, maps, products);
  let answer = null;
  const draw = () => {
    if (!answer) return;
    const [, H] = answer.dC.shape, order = lab.results.gates.order.data, from = +row.input.value - 1;
    for (const [key, canvas] of canvases) {
      const most = Math.max(1e-30, ...answer[key].data.map(Math.abs));
      heat(canvas, T, H, (t, column) => t < from ? 0 : 1 + Math.log10(Math.abs(answer[key].data[t * H + order[column]]) / most + 1e-30) / 4);
    }
    said.textContent = `Loss ${answer.loss.toFixed(4)}. From row 28 to row ${from + 1}, the products of f keep ${answer.forget.data[from].toPrecision(3)} of the gradient on average, a plain RNN ${answer.plain.data[from].toPrecision(3)}.`;
    const line = values => [...values.data].map((v, t) => [t + 1, v]).slice(from);
    plot(products, [{ name: "product of f", color: "f", points: line(answer.forget) }, { name: "plain RNN", color: "muted", points: line(answer.plain), dash: "5 4" }],
      { x: "row", y: "factor to row 28", log: true, label: "running products of forget gates and of a plain RNN" });
  };
  const show = latest(async () => { answer = await lab.ask("back", lab.digit, +label.value); draw(); });
  label.value = 3;
  label.addEventListener("change", show);
  redraw.push(draw);
  lab.onDigit(show);
}

async function bias(element, lab) {
  titled(element, "The forget bias", "Four LSTMs that have learned nothing differ in the bias of the forget gate alone. How much of a gradient of the last output is left at each row?");
  const where = make("div", { class: "plot" });
  element.append(where);
  const colors = ["h", "C", "o", "f"];
  const show = latest(async pixels => {
    const { biases, norms } = await lab.ask("forget_bias", pixels);
    plot(where, biases.map((b, k) => ({ name: `bias ${b}`, color: colors[k], points: [...norms.data.slice(k * T, (k + 1) * T)].map((v, t) => [t + 1, v]) })),
      { x: "row", y: "size of dC", log: true, label: "the size of dC at each row for four forget biases" });
  });
  lab.onDigit(show);
}

const MISTAKES = [["as it is", "", ""], ["no carry", "dC = dC * f  # (13)", "dC = 0 * dC  # (13)"], ["swap f and i", "dC * C[t] * f * (1 - f)", "dC * Ctilde * f * (1 - f)"],
  ["1.0001", "dhx = dz[t] @ W.T", "dhx = 1.0001 * dz[t] @ W.T"], ["forget dy", "dh = dh + dy[:, t]", "dh = dh + 0 * dy[:, t]"]];

async function broken(element, lab) {
  titled(element, "Break it", "This is the backward pass of the library. Edit a line, or choose a mistake, and see which checker notices. The numbers are relative errors.");
  const text = make("textarea", { spellcheck: "false", rows: "18", "aria-label": "the source of dlstm" }), table = make("table"), said = make("p", { class: "said", role: "status" });
  text.value = lab.about.source;
  const check = async () => {
    said.textContent = "checking …";
    const { verdicts, error, ms } = await lab.ask("break_it", text.value);
    said.textContent = error ? `It does not run: ${error}` : `checked in ${(ms / 1000).toFixed(1)} s`;
    said.className = error ? "said wrong" : "said";
    if (error) { table.replaceChildren(); return; }
    const names = Object.keys(Object.values(verdicts)[0]);
    table.replaceChildren(make("caption", {}, "errors of the gradient of each input"), make("tr", {}, make("td"), ...names.map(name => make("th", { scope: "col" }, `d${name}`))),
      ...Object.entries(verdicts).map(([checker, found]) => make("tr", {}, make("th", { scope: "row" }, checker), ...names.map(name => {
        const [right, size] = found[name];
        return make("td", { class: right ? "right" : "wrong" }, `${right ? "✓" : "✗"} ${size.toExponential(0)}`);
      }))));
  };
  element.append(make("div", { class: "buttons" }, ...MISTAKES.map(([name, right, wrong]) => button(name, () => { text.value = lab.about.source.replace(right, wrong); return check(); }))),
    text, make("div", { class: "buttons" }, button("Is it still right?", check, { class: "main" })), said, make("div", { class: "wide" }, table));
}

async function curve(element, lab) {
  titled(element, "How small should a step be?", "A difference has two errors: the step is too large, or digits cancel. The complex step takes no difference, so it can be as small as you like.");
  const where = make("div", { class: "plot" });
  element.append(where);
  const { rows } = await lab.ask("v_curve");
  const draw = () => plot(where, [["forward", "C"], ["central", "f"], ["complex step", "Ctilde"]].map(([name, color], k) => ({ name, color, points: rows.map(row => [row[0], row[k + 1]]) })),
    { x: "log10 of the step", y: "relative error", log: true, label: "the error of three derivatives against the step" });
  draw();
}

const KERNELS = { "edges": [0, 1, 0, 1, -4, 1, 0, 1, 0], "horizontal": [1, 1, 1, 0, 0, 0, -1, -1, -1], "vertical": [1, 0, -1, 1, 0, -1, 1, 0, -1], "blur": Array(9).fill(0.11), "as it is": [0, 0, 0, 0, 1, 0, 0, 0, 0] };

async function kernel(element, lab) {
  titled(element, "A convolution's taps", "Nine numbers slide over the digit. Choose a pixel of the result: it is the sum of nine products.");
  const inputs = Array.from({ length: 9 }, (_, k) => make("input", { type: "number", step: "0.1", value: KERNELS.edges[k], "aria-label": `kernel, row ${1 + Math.floor(k / 3)}, column ${1 + k % 3}`, oninput: () => show() }));
  const result = make("canvas", { class: "map square", role: "img", "aria-label": "the result of the convolution" }), products = make("div", { class: "nine", "aria-live": "polite" }), said = make("p", { class: "said" });
  const row = slider("row", { min: 1, max: T, value: 10 }, () => draw()), column = slider("column", { min: 1, max: T, value: 14 }, () => draw());
  element.append(make("div", { class: "buttons" }, ...Object.entries(KERNELS).map(([name, values]) => button(name, () => { inputs.forEach((input, k) => { input.value = values[k]; }); return show(); }))),
    make("div", { class: "columns" }, make("div", { class: "nine" }, ...inputs), make("figure", {}, result), make("div", {}, products, said, row.element, column.element)));
  let answer = null;
  const draw = () => {
    if (!answer) return;
    const most = Math.max(1e-9, ...answer.y.data.map(Math.abs)), at = (row.input.value - 1) * T + (column.input.value - 1);
    heat(result, T, T, (y, x) => answer.y.data[y * T + x] / most, true);
    products.replaceChildren(...[...answer.taps.data.slice(9 * at, 9 * at + 9)].map(v => make("span", {}, v.toFixed(2))));
    said.textContent = `The sum is ${answer.y.data[at].toFixed(2)}, at row ${row.input.value}, column ${column.input.value}.`;
  };
  const show = latest(async () => { answer = await lab.ask("convolve", lab.digit, inputs.map(input => +input.value || 0)); draw(); });
  result.addEventListener("pointermove", event => {
    const box = result.getBoundingClientRect(), place = (v, size) => Math.min(T, Math.max(1, 1 + Math.floor(T * v / size)));
    row.input.value = row.shown.textContent = place(event.clientY - box.top, box.height);
    column.input.value = column.shown.textContent = place(event.clientX - box.left, box.width);
    draw();
  });
  redraw.push(draw);
  lab.onDigit(show);
}

async function averages(element, lab) {
  titled(element, "Batch normalization's running averages", "Training uses the mean of each batch, evaluation a running average. An average that starts at 0 is wrong for many steps; the library's correction (12) makes it right from the first one.");
  const where = make("div", { class: "plot" });
  const show = latest(async () => {
    const { mean } = await lab.ask("batch_norm", +steps.input.value, +centre.input.value, 2);
    plot(where, [["batch", "muted"], ["with (12)", "C"], ["from 0", "f"]].map(([name, color], k) => ({ name, color, dash: k ? "" : "2 4", points: mean.map((row, step) => [step + 1, row[k]]) })),
      { x: "training step", y: "mean", label: "means of batches and two running averages" });
  });
  const steps = slider("steps", { min: 2, max: 60, value: 20 }, () => show()), centre = slider("mean of the data", { min: -10, max: 10, value: 5 }, () => show());
  element.append(make("div", { class: "controls" }, steps.element, centre.element), where);
  await show();
}

async function training(element, lab) {
  titled(element, "A training run", "A small LSTM learns ten drawn digits that are moved at random. Start it, and change the learning rate while it runs.");
  const where = make("div", { class: "plot" }), said = make("p", { class: "said", role: "status" }, "Not started.");
  const rate = slider("learning rate, as a power of ten", { min: -4, max: 0, step: 0.25, value: -2 }, () => {});
  let running = false, losses = [];
  const run = async () => {
    running = !running;
    start.textContent = running ? "stop" : "go on";
    while (running && losses.length < 200) {
      const answer = await lab.ask("training", losses.length === 0, 10 ** rate.input.value, 5);
      losses.push(...answer.losses);
      plot(where, [{ name: "loss", color: "lstm", points: losses.map((loss, k) => [k + 1, loss]) }], { x: "step", y: "loss", log: true, label: "the loss of each step" });
      said.textContent = `Step ${answer.step}: loss ${answer.losses.at(-1).toFixed(3)}, ${(100 * answer.accuracy).toFixed(0)} % of other moved digits are right.`;
    }
    running = false;
    start.textContent = losses.length < 200 ? "go on" : "done";
  };
  const start = button("start", run, { class: "main" });
  element.append(make("div", { class: "controls" }, make("div", { class: "buttons" }, start, button("from the beginning", () => { losses = []; where.replaceChildren(); said.textContent = "Not started."; start.textContent = running ? "stop" : "start"; })), rate.element), said, where);
}

export const widgets = { reader, back, bias, broken, curve, kernel, averages, training };
