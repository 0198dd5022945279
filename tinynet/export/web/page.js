"use strict";
// Runs the model of this file on images. Nothing is loaded from elsewhere: the policy in the head forbids it.

const config = JSON.parse(document.getElementById("config").textContent);
const {classes, height, width, channels, threshold} = config;
const SHOWN = 5;                         // classes of an image
const MOST_PIXELS = 2 ** 26;
const BATCH = 16;                        // covered images at once
const at = id => document.getElementById(id);
const results = [];                      // for tests, and for a console
let session, tail = Promise.resolve();   // one image after the other

// --- the model ------------------------------------------------------------------------------------------------------

function bytes(id) {
  const text = atob(at(id).textContent.trim());
  return Uint8Array.from(text, letter => letter.charCodeAt(0));
}

async function start() {
  const glue = URL.createObjectURL(new Blob([bytes("glue")], {type: "text/javascript"}));
  const packed = new Blob([bytes("wasm")]).stream().pipeThrough(new DecompressionStream("gzip"));
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1;           // more need headers that a file cannot have
  ort.env.wasm.wasmPaths = {mjs: glue};
  ort.env.wasm.wasmBinary = await new Response(packed).arrayBuffer();
  session = await ort.InferenceSession.create(bytes("model"), {executionProviders: ["wasm"]});
  await probabilities(new Uint8Array(height * width * channels), 1);
}

/** Probabilities (count x classes) of images (count x height x width x channels) of bytes. */
async function probabilities(pixels, count) {
  const input = new ort.Tensor("uint8", pixels, [count, height, width, channels]);
  const output = await session.run({pixels: input});
  return Array.from(output.probabilities.data);
}

// --- pixels ---------------------------------------------------------------------------------------------------------

/** The pixels of an image file, as tinynet reads them: on white, without colour management, turned as EXIF says. */
async function decoded(file) {
  const bitmap = await createImageBitmap(file, {colorSpaceConversion: "none", imageOrientation: "from-image"});
  if (bitmap.width * bitmap.height > MOST_PIXELS) throw new Error(`it has more than ${MOST_PIXELS} pixels`);
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  if (!pen) throw new Error("it is too large for this browser");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

/** The model's input for a canvas: its channels, resized by a filter that averages over what falls into a pixel. */
function inputOf(canvas) {
  const {data} = canvas.getContext("2d", {willReadFrequently: true}).getImageData(0, 0, canvas.width, canvas.height);
  const count = canvas.width * canvas.height, planes = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    const r = data[4 * i], g = data[4 * i + 1], b = data[4 * i + 2];
    if (channels === 1) {
      planes[i] = (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16;      // 0.299 R + 0.587 G + 0.114 B
    } else {
      planes[3 * i] = r;
      planes[3 * i + 1] = g;
      planes[3 * i + 2] = b;
    }
  }
  return resized(planes, canvas.height, canvas.width);
}

/** Bytes (rows x columns x channels) as height x width x channels: first along the rows, then along the columns. */
function resized(pixels, rows, columns) {
  if (columns !== width) pixels = along(pixels, rows, columns, 1, width);
  if (rows !== height) pixels = along(pixels, 1, rows, width, height);
  return pixels;
}

/** Resize the second axis of bytes (outer x size x inner x channels). Weights are integers, and sums are rounded. */
function along(pixels, outer, size, inner, target) {
  const run = inner * channels, out = new Uint8Array(outer * target * run), ONE = 2 ** 22;
  const scale = size / target, reach = Math.max(scale, 1);
  for (let t = 0; t < target; t++) {
    const centre = (t + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5)), last = Math.min(size, Math.trunc(centre + reach + 0.5));
    const shares = [];
    for (let s = first; s < last; s++) shares.push(Math.max(0, 1 - Math.abs((s + 0.5 - centre) / reach)));
    const sum = shares.reduce((a, b) => a + b, 0), weights = shares.map(share => Math.floor(0.5 + share / sum * ONE));
    for (let o = 0; o < outer; o++) for (let i = 0; i < run; i++) {
      let value = ONE / 2;
      for (let k = 0; k < weights.length; k++) value += weights[k] * pixels[(o * size + first + k) * run + i];
      out[(o * target + t) * run + i] = Math.min(255, Math.floor(value / ONE));
    }
  }
  return out;
}

// --- results --------------------------------------------------------------------------------------------------------

function make(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

const percent = share => `${(100 * share).toFixed(1)} %`;
const say = text => { at("status").textContent = text; };

function bars(shares) {
  const list = make("ul", "bars");
  const ranked = shares.map((share, k) => [share, k]).sort((a, b) => b[0] - a[0]);
  for (const [share, k] of ranked.slice(0, SHOWN)) {
    const row = make("li"), bar = make("span", "bar"), fill = make("i");
    fill.style.width = `${100 * share}%`;
    bar.append(fill);
    bar.setAttribute("aria-hidden", "true");
    row.append(make("span", "name", classes[k]), make("span", "share", percent(share)), bar);
    list.append(row);
  }
  return list;
}

/** The number of the predicted class: by the threshold of the second of two, else the most probable. */
const best = shares => threshold === null ? shares.indexOf(Math.max(...shares)) : Number(shares[1] > threshold);

/** Show the probabilities of an input beside its picture. Returns the result. */
function show(name, picture, input, shares) {
  const result = {name, input, probabilities: shares, map: null}, item = make("li"), text = make("div");
  const frame = make("div", "picture"), button = make("button", "", "Explain");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", name);
  frame.append(picture);
  button.type = "button";
  button.onclick = () => explain(result, frame, button, note);
  const note = make("p", "hint");
  text.append(make("h3", "", name), bars(shares), button, note);
  item.append(frame, text);
  at("results").prepend(item);
  at("clear").hidden = false;
  results.unshift(result);
  if (threshold !== null) {
    note.textContent = `Predicted: ${classes[best(shares)]}. ${classes[1]} is predicted above ${percent(threshold)}.`;
  }
  say(`${name}: ${classes[best(shares)]}, ${percent(shares[best(shares)])}`);
  return result;
}

function refuse(name, error) {
  const reason = String(error.message || error).replace(/\.$/, "");
  const item = make("p", "fault", `${name} cannot be read: ${reason}. Is it a PNG, JPEG, WebP, BMP or GIF?`);
  item.setAttribute("role", "alert");
  at("results").before(item);
}

/** A canvas of at most 288 pixels a side with the picture of another. */
function thumbnail(canvas) {
  const scale = Math.min(1, 288 / Math.max(canvas.width, canvas.height)), small = make("canvas");
  small.width = Math.max(1, Math.round(canvas.width * scale));
  small.height = Math.max(1, Math.round(canvas.height * scale));
  if (Math.max(canvas.width, canvas.height) < 100) small.className = "small";
  const pen = small.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(canvas, 0, 0, small.width, small.height);
  return small;
}

async function classify(file) {
  try {
    const canvas = await decoded(file), input = inputOf(canvas);
    show(file.name || "image", thumbnail(canvas), input, await probabilities(input, 1));
  } catch (error) {
    refuse(file.name || "The image", error);
  }
}

function classifyAll(files) {
  for (const file of files) tail = tail.then(() => classify(file));
  return tail;
}

// --- an occlusion map: how much the probability falls if a part of the image is covered --------------------------------

async function occlusion(input, target, report) {
  const side = n => Math.max(1, Math.round(n / 7)), [tall, wide] = [side(height), side(width)];
  const step = n => Math.max(1, Math.round(n / 2));
  const means = new Array(channels).fill(0), pixels = height * width;
  input.forEach((value, i) => { means[i % channels] += value / pixels; });
  const places = [];
  for (let y = 0; y < height; y += step(tall)) for (let x = 0; x < width; x += step(wide)) places.push([y, x]);
  const whole = (await probabilities(input, 1))[target];
  const fall = new Float64Array(pixels), covers = new Float64Array(pixels);
  for (let start = 0; start < places.length; start += BATCH) {
    const some = places.slice(start, start + BATCH), batch = new Uint8Array(some.length * input.length);
    const inside = (y, x, visit) => {
      for (let r = y; r < Math.min(height, y + tall); r++) for (let c = x; c < Math.min(width, x + wide); c++)
        visit(r * width + c);
    };
    some.forEach(([y, x], n) => {
      batch.set(input, n * input.length);
      inside(y, x, place => means.forEach((mean, k) => {
        batch[n * input.length + place * channels + k] = Math.round(mean);
      }));
    });
    const shares = await probabilities(batch, some.length);
    some.forEach(([y, x], n) => inside(y, x, place => {
      fall[place] += whole - shares[n * classes.length + target];
      covers[place] += 1;
    }));
    report(Math.min(1, (start + BATCH) / places.length));
    await new Promise(next => setTimeout(next));
  }
  return {map: Array.from(fall, (value, i) => value / covers[i]), passes: places.length};
}

async function explain(result, frame, button, note) {
  button.disabled = true;
  const target = best(result.probabilities), name = classes[target];
  await (tail = tail.then(async () => {
    const {map, passes} = await occlusion(result.input, target, share => {
      note.textContent = `${Math.round(100 * share)} % done`;
    });
    result.map = map;
    frame.append(heat(map));
    frame.classList.add("explained");
    const most = Math.max(...map);
    note.textContent = most < 0.005
      ? `Covering any part changes the probability of ${name} by less than half a point.`
      : `Red: covering this part lowers the probability of ${name}, by up to ${(100 * most).toFixed(1)} points. `
        + `Blue: covering it raises the probability. From ${passes} forward passes.`;
    say(`The map of ${result.name} is done.`);
  }));
}

/** The map as a canvas: red where the probability falls, blue where it rises. */
function heat(map) {
  const canvas = make("canvas", "map"), scale = Math.max(0.005, ...map.map(Math.abs));
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
  map.forEach((value, i) => {
    image.data.set(value > 0 ? [214, 40, 40] : [40, 90, 214], 4 * i);
    image.data[4 * i + 3] = 190 * Math.abs(value) / scale;
  });
  pen.putImageData(image, 0, 0);
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

// --- a pad to draw on -------------------------------------------------------------------------------------------------

function preparePad() {
  const pad = at("pad"), pen = pad.getContext("2d", {willReadFrequently: true}), SIZE = pad.width, STEP = 7;
  let down = false, busy = false, again = false, shown = null, at_key = [SIZE / 2, SIZE / 2], key_down = false;
  const clear = () => {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, SIZE, SIZE);
    shown = null;
    at("answer").textContent = "";
  };
  const place = event => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) * SIZE / box.width, (event.clientY - box.top) * SIZE / box.height];
  };
  const line = (from, to) => {
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
  };
  pen.strokeStyle = "white";
  pen.lineWidth = 22;
  pen.lineCap = pen.lineJoin = "round";
  clear();

  /** Show the result of the drawing in place of that of the last one, until the pad is cleared. */
  async function answer() {
    again = busy;
    if (busy) return;
    busy = true;
    const input = digit(pen, SIZE);
    if (input) await (tail = tail.then(async () => {
      const shares = await probabilities(input, 1);
      if (shown && shown === results[0]) {
        results.shift();
        at("results").firstElementChild.remove();
      }
      shown = show("drawing", seen(input), input, shares);
      at("answer").textContent = `${classes[best(shares)]}, ${percent(shares[best(shares)])}`;
    }));
    busy = false;
    if (again) answer();
  }

  let last;
  pad.onpointerdown = event => {
    down = true;
    pad.setPointerCapture(event.pointerId);
    last = place(event);
    line(last, last);
  };
  pad.onpointermove = event => {
    if (!down) return;
    const next = place(event);
    line(last, next);
    last = next;
    answer();
  };
  pad.onpointerup = pad.onpointercancel = () => {
    if (down) answer();
    down = false;
  };
  pad.onkeydown = event => {
    const move = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]}[event.key];
    if (event.key === " ") {
      key_down = !key_down;
      say(key_down ? "pen down" : "pen lifted");
    } else if (!move) return;
    event.preventDefault();
    const next = move ? at_key.map((v, i) => Math.min(SIZE - 1, Math.max(0, v + move[i]))) : at_key;
    if (key_down) line(at_key, next);
    at_key = next;
    if (key_down || !move) answer();
  };
  at("clear-pad").onclick = () => {
    clear();
    at_key = [SIZE / 2, SIZE / 2];
    key_down = false;
    say("The pad is empty.");
  };
}

/** A canvas of the bytes of a grey input: of a drawing, which is moved and scaled before the model gets it. */
function seen(input) {
  const canvas = make("canvas", "small");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
  input.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** A drawing as MNIST has digits: the ink in a box of 20 x 20, its centre of mass in the middle. Null without ink. */
function digit(pen, size) {
  const {data} = pen.getImageData(0, 0, size, size);
  let [left, top, right, bottom, mass, x_mass, y_mass] = [size, size, -1, -1, 0, 0, 0];
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
    const ink = data[4 * (y * size + x)];
    if (ink <= 30) continue;
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    mass += ink;
    x_mass += ink * (x + 0.5);
    y_mass += ink * (y + 0.5);
  }
  if (right < 0) return null;
  const small = make("canvas"), [wide, tall] = [right - left + 1, bottom - top + 1], scale = 20 / Math.max(wide, tall);
  small.width = small.height = 28;
  const drawn = small.getContext("2d", {willReadFrequently: true});
  drawn.fillStyle = "black";
  drawn.fillRect(0, 0, 28, 28);
  drawn.imageSmoothingQuality = "high";
  drawn.drawImage(pen.canvas, left, top, wide, tall, 14 - (x_mass / mass - left) * scale,
                  14 - (y_mass / mass - top) * scale, wide * scale, tall * scale);
  const pixels = drawn.getImageData(0, 0, 28, 28).data;
  return Uint8Array.from({length: 784}, (_, i) => pixels[4 * i]);
}

// --- the page ---------------------------------------------------------------------------------------------------------

function preparePage() {
  const drop = at("drop"), files = at("files");
  files.disabled = false;
  files.onchange = () => {
    classifyAll([...files.files]);
    files.value = "";
  };
  document.ondragover = event => {
    event.preventDefault();
    drop.classList.add("over");
  };
  document.ondragleave = () => drop.classList.remove("over");
  document.ondrop = event => {
    event.preventDefault();
    drop.classList.remove("over");
    classifyAll([...event.dataTransfer.files]);
  };
  document.onpaste = event => classifyAll([...event.clipboardData.files]);
  at("clear").onclick = () => {
    results.length = 0;
    at("results").replaceChildren();
    document.querySelectorAll(".fault").forEach(fault => fault.remove());
    at("clear").hidden = true;
    say("All results are removed.");
  };
  if (config.pad) {
    at("draw").hidden = false;
    preparePad();
  }
}

window.tinynet = {results, classifyAll, ready: start().then(() => {
  preparePage();
  say(config.pad ? "Ready: choose images, or draw." : "Ready: choose images.");
}, error => {
  say(`The model cannot run in this browser: ${error.message || error}. A recent Chrome, Firefox or Safari can.`);
  throw error;
})};
