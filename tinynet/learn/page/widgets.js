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

// A place that scrolls sideways, also by the keyboard.
const wide = (label, ...children) => make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": label }, ...children);

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
  const width = 520, height = 240, left = 64, right = 132, top = 12, bottom = 44;
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

// In a page without a pad: a button for each of ten digits.
const digitButtons = lab => make("div", { class: "buttons" }, ...Array.from({ length: 10 }, (_, k) =>
  button(String(k), () => lab.setDigit([...lab.about.digits.data.slice(784 * k, 784 * (k + 1))]), { "aria-label": `read a ${k}` })));
const hasPad = () => Boolean(document.querySelector("canvas.pad"));

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
  if (!hasPad()) element.append(digitButtons(lab));
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
  const show = latest(async () => {
    if (!hasPad()) await lab.ask("gates", lab.digit);
    answer = await lab.ask("back", lab.digit, +label.value);
    draw();
  });
  label.value = 3;
  label.addEventListener("change", show);
  redraw.push(draw);
  lab.onDigit(show);
}

async function bias(element, lab) {
  titled(element, "The forget bias", "Four LSTMs that have learned nothing differ in the bias of the forget gate alone. How much of a gradient of the last output is left at each row?");
  if (!hasPad()) element.append(digitButtons(lab));
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
    text, make("div", { class: "buttons" }, button("Is it still right?", check, { class: "main" })), said, wide("errors of three checkers", table));
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
  if (!hasPad()) element.append(digitButtons(lab));
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
  titled(element, "Batch normalisation's running averages", "Training uses the mean of each batch, evaluation a running average. An average that starts at 0 is wrong for many steps; the library's correction (12) makes it right from the first one.");
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

// --- widgets of the chapters, without a digit of the user -----------------------------------------------------------

const grid = (rows, mark = () => "") => make("table", { class: "grid" }, ...rows.map((row, r) => make("tr", {}, ...row.map((v, c) => make("td", { class: mark(r, c) }, String(v))))));
const named = (name, element) => make("figure", {}, element, make("figcaption", {}, name));
const plus = terms => terms.map(v => v < 0 ? `(${v})` : v).join(" + ").replaceAll("-0", "0");

async function products(element, lab) {
  titled(element, "A product of matrices, by indices", "Choose an element of y: it is a sum over one row of x and one column of W. An element of dW is a sum over the samples.");
  const row = slider("row of y", { min: 1, max: 4, value: 1 }, () => show()), column = slider("column of y", { min: 1, max: 2, value: 1 }, () => show());
  const where = make("div", { class: "matrices" }), said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "controls" }, row.element, column.element), where, said);
  const show = latest(async () => {
    const [r, f] = [row.input.value - 1, column.input.value - 1], answer = await lab.ask("products", r, f), d = r % 3;
    where.replaceChildren(named("x", grid(answer.x, i => i === r ? "chosen" : "")), named("W", grid(answer.W, (_, j) => j === f ? "chosen" : "")), named("y = x W", grid(answer.y, (i, j) => i === r && j === f ? "chosen" : "")),
      named("dy", grid(answer.dy, (_, j) => j === f ? "other" : "")), named("dW = xᵀ dy", grid(answer.dW, (i, j) => i === d && j === f ? "other" : "")), named("dx = dy Wᵀ", grid(answer.dx)));
    said.textContent = `y[${r + 1},${f + 1}] = ${plus(answer.y_terms)} = ${answer.y[r][f]};  dW[${d + 1},${f + 1}] = ${plus(answer.dW_terms)} = ${answer.dW[d][f]}`;
  });
  await show();
}

async function softmax(element, lab) {
  titled(element, "p − y", "Move the scores. The gradient of the loss by the scores is the vector of probabilities, minus 1 at the label. Its sum is 0.");
  const sliders = [2, 1, 0, -1].map((value, k) => slider(`score ${k}`, { min: -6, max: 6, step: 0.5, value }, () => show()));
  const label = slider("label", { min: 0, max: 3, value: 1 }, () => show()), table = make("table"), said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "columns" }, make("div", {}, ...sliders.map(one => one.element), label.element), make("div", {}, wide("probabilities and gradients", table), said)));
  const show = latest(async () => {
    const answer = await lab.ask("softmax", sliders.map(one => +one.input.value), +label.input.value);
    table.replaceChildren(make("tr", {}, ...["class", "p", "y", "gradient"].map(text => make("th", { scope: "col" }, text))),
      ...answer.p.map((p, k) => make("tr", {}, make("th", { scope: "row" }, String(k)), make("td", {}, p.toFixed(4)), make("td", {}, String(+(k === +label.input.value))), make("td", {}, answer.gradient[k].toFixed(4)))));
    said.textContent = `loss ${answer.loss.toFixed(4)}`;
  });
  await show();
}

async function tape(element, lab) {
  titled(element, "A tape", "Five numbers of tanh(a b) + a. Move the step: the backward pass visits the results from the last to the first, and adds gradient times slope to each input.");
  const a = slider("a", { min: -2, max: 2, step: 0.1, value: 0.8 }, () => show()), b = slider("b", { min: -2, max: 2, step: 0.1, value: -0.5 }, () => show()), step = slider("visited", { min: 0, max: 5, value: 5 }, () => draw());
  const table = make("table"), said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "controls" }, a.element, b.element, step.element), wide("numbers on the tape", table), said);
  let answer = null;
  const draw = () => {
    if (!answer) return;
    const n = answer.names.length, gradients = Array(n).fill(0);
    gradients[n - 1] = 1;
    for (let k = n - 1; k >= n - step.input.value; k--) answer.inputs[k].forEach((from, at) => { gradients[from] += gradients[k] * answer.slopes[k][at]; });
    table.replaceChildren(make("tr", {}, ...["number", "value", "slopes by its inputs", "gradient so far"].map(text => make("th", { scope: "col" }, text))),
      ...answer.names.map((name, k) => make("tr", { class: k >= n - step.input.value ? "visited" : "" }, make("th", { scope: "row" }, name), make("td", {}, answer.values[k].toFixed(4)),
        make("td", {}, answer.inputs[k].map((from, at) => `${answer.names[from]}: ${answer.slopes[k][at].toFixed(3)}`).join(", ") || "none"), make("td", {}, gradients[k].toFixed(4)))));
    said.textContent = `After all visits: da = ${answer.gradients[0].toFixed(4)}, db = ${answer.gradients[1].toFixed(4)}`;
  };
  const show = latest(async () => { answer = await lab.ask("tape", +a.input.value, +b.input.value); draw(); });
  await show();
}

async function pooling(element, lab) {
  titled(element, "What comes through", "An op on the digit, and where a gradient of 1 at each output arrives on its way back.");
  if (!hasPad()) element.append(digitButtons(lab));
  const kind = make("select"), maps = make("div", { class: "maps" });
  const [forward, backward] = [map(maps, "h", "output", "the output of the op"), map(maps, "C", "gradient that reaches each pixel", "the gradient that reaches each pixel")];
  [forward, backward].forEach(canvas => canvas.classList.add("square"));
  element.append(make("div", { class: "controls" }, make("label", {}, "op ", kind)), maps);
  let answer = null;
  const draw = () => {
    if (!answer) return;
    for (const [canvas, { shape: [rows, columns], data }] of [[forward, answer.y], [backward, answer.dx]]) {
      const most = Math.max(1e-9, ...data);
      heat(canvas, rows, columns, (r, c) => data[r * columns + c] / most);
    }
  };
  const show = latest(async () => {
    answer = await lab.ask("pooling", lab.digit, kind.value || "max pool 2 x 2");
    if (!kind.options.length) { kind.append(...answer.kinds.map(name => make("option", {}, name))); kind.value = "max pool 2 x 2"; }
    draw();
  });
  kind.addEventListener("change", show);
  redraw.push(draw);
  lab.onDigit(show);
}

async function optimizers(element, lab) {
  titled(element, "Three optimizers in a valley", "The loss is (a² + curvature b²) / 2. Too large a rate diverges along the steep direction; a small one crawls along the flat one.");
  const lr = slider("rate", { min: 0.001, max: 0.05, step: 0.001, value: 0.018 }, () => show()), curvature = slider("curvature", { min: 1, max: 200, value: 100 }, () => show()), where = make("div", { class: "plot" });
  element.append(make("div", { class: "controls" }, lr.element, curvature.element), where);
  const show = latest(async () => {
    const { names, losses: { shape: [, steps], data } } = await lab.ask("optimizers", +lr.input.value, +curvature.input.value);
    plot(where, names.map((name, k) => ({ name: name.split(",")[0], color: ["i", "Ctilde", "f"][k], points: Array.from({ length: steps }, (_, t) => [t, Math.max(1e-6, data[k * steps + t])]) })),
      { x: "step", y: "loss", log: true, label: "the loss of three optimizers at each step" });
  });
  await show();
}

async function comparison(element, lab) {
  titled(element, "Is it better?", "Two models differ by a true amount. Some seeds on some test images show accuracies. Are the intervals of their means apart?");
  const better = slider("true difference in percent", { min: 0, max: 2, step: 0.1, value: 0.3 }, () => show()), images = slider("test images", { min: 200, max: 20000, step: 200, value: 10000 }, () => show()), seeds = slider("seeds", { min: 2, max: 20, value: 5 }, () => show());
  const table = make("table"), said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "controls" }, better.element, images.element, seeds.element), wide("accuracies of two models", table), said);
  const show = latest(async () => {
    const { models, apart } = await lab.ask("comparison", 0.98, better.input.value / 100, +images.input.value, +seeds.input.value), percent = v => (100 * v).toFixed(2);
    table.replaceChildren(make("tr", {}, ...["model", "mean", "interval", "seeds"].map(text => make("th", { scope: "col" }, text))),
      ...models.map((model, k) => make("tr", {}, make("th", { scope: "row" }, "AB"[k]), make("td", {}, `${percent(model.mean)} %`), make("td", {}, `± ${percent(model.half)}`), make("td", {}, model.accuracies.slice(0, 5).map(percent).join(" ") + (model.accuracies.length > 5 ? " …" : "")))));
    said.textContent = apart ? "The intervals are apart." : "The intervals overlap: these runs do not decide.";
  });
  await show();
}

async function roc(element, lab) {
  titled(element, "A threshold is a choice", "Each threshold is a point of the curve. The curve does not change with the share of the ill; how often an alarm is right does.");
  const threshold = slider("threshold", { min: 0, max: 1, step: 0.01, value: 0.5 }, () => show()), separation = slider("separation of the scores", { min: 0, max: 5, step: 0.25, value: 2 }, () => show()), ill = slider("share of the ill in percent", { min: 1, max: 50, value: 10 }, () => show());
  const where = make("div", { class: "plot" }), said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "controls" }, threshold.element, separation.element, ill.element), said, where);
  const show = latest(async () => {
    const { curve, sensitivity, specificity, right } = await lab.ask("roc", +separation.input.value, +threshold.input.value, ill.input.value / 100), percent = v => `${(100 * v).toFixed(0)} %`;
    plot(where, [{ name: "ROC", color: "cnn", points: Array.from({ length: curve.shape[0] }, (_, k) => [curve.data[2 * k], curve.data[2 * k + 1]]) }, { name: "chance", color: "muted", dash: "4 4", points: [[0, 0], [1, 1]] },
      { name: "here", color: "C", points: [[1 - specificity, 0], [1 - specificity, sensitivity], [0, sensitivity]] }], { x: "false alarms", y: "found", label: "an ROC curve, and the point of the threshold" });
    said.textContent = `${percent(sensitivity)} of the ill are found, ${percent(specificity)} of the others are left alone` + (right === null ? "." : `, and ${percent(right)} of the alarms are right.`);
  });
  await show();
}

async function roofline(element, lab) {
  titled(element, "Computing or waiting for memory?", "The product [h, x] W of one step of an LSTM. With one digit each weight is read for two operations; a batch uses it again.");
  const batch = slider("batch", { min: 1, max: 512, value: 1 }, () => show()), units = slider("units", { min: 16, max: 1024, step: 16, value: 128 }, () => show());
  const peak = slider("billion operations in a second", { min: 10, max: 2000, step: 10, value: 100 }, () => show()), bandwidth = slider("billion bytes in a second", { min: 5, max: 1000, step: 5, value: 20 }, () => show());
  const said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "controls" }, batch.element, units.element, peak.element, bandwidth.element), said);
  const show = latest(async () => {
    const answer = await lab.ask("roofline", +batch.input.value, +units.input.value, +peak.input.value, +bandwidth.input.value);
    said.textContent = `${(answer.operations / 1e6).toFixed(2)} million operations, ${(answer.bytes / 1e6).toFixed(2)} million bytes: ${answer.intensity.toFixed(1)} operations a byte. At least ${(1e6 * answer.seconds).toFixed(1)} µs, limited by ${answer.bound}.`;
  });
  await show();
}

async function threads(element, lab) {
  titled(element, "Blocks of threads", "One thread computes one element of a ReLU. The last block has threads without an element: they must do nothing.");
  const elements = slider("elements", { min: 1, max: 64, value: 20 }, () => show()), block = slider("threads in a block", { min: 1, max: 32, value: 8 }, () => show());
  const where = wide("blocks and threads"), said = make("p", { class: "said", role: "status" });
  element.append(make("div", { class: "controls" }, elements.element, block.element), said, where);
  const show = latest(async () => {
    const answer = await lab.ask("threads", +elements.input.value, +block.input.value), size = +block.input.value;
    const cell = (b, t) => { const at = b * size + t; return at < answer.x.length ? `${answer.x[at]} → ${answer.y[at]}` : "–"; };
    where.replaceChildren(make("table", {}, make("caption", {}, "x → y of each thread"), ...Array.from({ length: answer.blocks }, (_, b) => make("tr", {}, make("th", { scope: "row" }, `block ${b}`), ...Array.from({ length: size }, (_, t) => make("td", {}, cell(b, t)))))));
    said.textContent = `${answer.blocks} blocks of ${size} threads; ${answer.idle} threads do nothing.`;
  });
  await show();
}

// By the name of their place in a page.
export const widgets = {
  gates: reader, carry: back, bias, "break-it": broken, "v-curve": curve, convolution: kernel, batchnorm: averages, training,
  products, softmax, tape, pooling, optimizers, comparison, roc, roofline, threads,
};
