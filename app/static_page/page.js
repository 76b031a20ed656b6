"use strict";
// window.saybird holds files as base64 of gzip, and the facts of the two models: scripts of a folder may be loaded where
// fetch may not, so that the page opens by a double click.

const $ = id => document.getElementById(id);
const BIRDS = 4;
const RATE = 16000;
const DOUBTFUL = 0.5;  // probability of a word
const LONGEST = 60;  // seconds

// ---- files ----

const bytes = async name => {
  const packed = Uint8Array.from(atob(saybird.files[name]), letter => letter.charCodeAt(0));
  delete saybird.files[name];
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
const text = async name => new TextDecoder().decode(await bytes(name));

// ---- the worker ----

let worker = null, calls = 0;
const waiting = new Map();
const ask = (call, given) => new Promise((resolve, reject) => {
  waiting.set(++calls, {resolve, reject});
  worker.postMessage({number: calls, call, given});
});
const start = async () => {
  worker = new Worker(URL.createObjectURL(new Blob([await text("worker.js")], {type: "text/javascript"})));
  worker.onmessage = ({data: {number, answer, error}}) => {
    const {resolve, reject} = waiting.get(number);
    waiting.delete(number);
    error ? reject(new Error(error)) : resolve(answer);
  };
  await ask("load", {
    runtime: await text("runtime.mjs"), wasm: await bytes("runtime.wasm"),
    models: {recognizer: await bytes("recognizer.onnx"), painter: await bytes("painter.onnx")},
    facts: saybird.recognizer,
    words: saybird.files["lexicon.txt"] &&
      {lexicon: await bytes("lexicon.txt"), language_model: await bytes("language_model.safetensors")},
  });
};

// ---- hearing ----

const resampled = async (samples, rate) => {
  if (rate === RATE) return samples;
  const context = new OfflineAudioContext(1, Math.ceil(samples.length * RATE / rate), RATE);
  const source = context.createBufferSource();
  source.buffer = new AudioBuffer({length: samples.length, sampleRate: rate});
  source.buffer.copyToChannel(samples, 0);
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
};

const note = said => { $("heard").className = "note"; $("heard").textContent = said; };

const hear = async (samples, rate) => {
  if (samples.length < rate / 4) return note("That was too short: press, describe a bird, press again.");
  if (samples.length > LONGEST * rate) samples = samples.slice(0, LONGEST * rate);
  const sound = await resampled(samples, rate);
  if (Math.max(...[...Array(20).keys()].map(i =>
    rms(sound.subarray(i * sound.length / 20, (i + 1) * sound.length / 20)))) < 1e-3)
    return note("No speech was heard.");
  const edge = Math.round(saybird.recognizer.end_silence * RATE);
  const framed = new Float32Array(sound.length + 2 * edge);
  framed.set(sound, edge);
  note("…");
  const words = await ask("hear", {samples: framed});
  if (!words.length) return note("No speech was heard.");
  $("heard").className = "";
  $("heard").replaceChildren(...words.flatMap(word => {
    const span = document.createElement("span");
    span.textContent = word.text;
    span.title = `${Math.round(100 * word.probability)} %`;
    if (word.probability < DOUBTFUL) span.className = "doubtful";
    return [span, " "];
  }));
  $("sentence").value = words.map(word => word.text).join(" ");
  look();
  await paint();
};
const rms = part => Math.sqrt(part.reduce((sum, value) => sum + value * value, 0) / Math.max(part.length, 1));

// ---- the microphone ----

let talk = null;
const worklet = "registerProcessor('take', class extends AudioWorkletProcessor { process(inputs) {"
  + "if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; } });";
const show = on => { $("record").setAttribute("aria-pressed", on);
  $("record").querySelector("span").textContent = on ? "Stop" : "Speak"; };

const listen = async () => {
  if (!navigator.mediaDevices) return note("Browsers give the microphone to https, localhost and files only.");
  const one = talk = {blocks: []};
  show(true);
  note("Listening…");
  try {
    one.stream = await navigator.mediaDevices.getUserMedia({audio: {channelCount: 1}});
    one.context = new AudioContext();
    // of a page that was opened from a folder no blob is taken
    await one.context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(worklet)}`);
  } catch (error) {
    talk = null;
    show(false);
    return note(error.name === "NotAllowedError" ? "The microphone was not allowed." : "No microphone was found.");
  }
  one.node = new AudioWorkletNode(one.context, "take");
  one.node.port.onmessage = ({data}) => {
    one.blocks.push(data);
    one.level = Math.max(0.9 * (one.level || 0), ...data.map(Math.abs));
    $("record").style.setProperty("--level", Math.min(1, one.level).toFixed(2));
    if (one.blocks.length * data.length > LONGEST * one.context.sampleRate && talk === one) stop();
  };
  one.context.createMediaStreamSource(one.stream).connect(one.node);
};
const stop = async () => {
  const one = talk;
  talk = null;
  show(false);
  await new Promise(done => setTimeout(done, 120));  // what the worklet still has
  one.stream.getTracks().forEach(track => track.stop());
  const rate = one.context.sampleRate;
  await one.context.close();
  $("record").style.setProperty("--level", 0);
  const samples = new Float32Array(one.blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of one.blocks) { samples.set(block, at); at += block.length; }
  await hear(samples, rate);
};
const decoded = async content => {
  const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(content);
  return [sound.getChannelData(0), sound.sampleRate];
};

// ---- painting ----

const numbers = new Map();
const tokens = sentence => sentence.toLowerCase().match(/\w+/g) || [];
const known = sentence =>
  tokens(sentence).filter(word => numbers.has(word)).slice(0, saybird.painter.max_words);

const look = () => {
  const unknown = [...new Set(tokens($("sentence").value).filter(word => !numbers.has(word)))];
  $("unknown").replaceChildren(...unknown.flatMap(word => {
    const mark = document.createElement("mark");
    mark.textContent = word;
    return [mark, " "];
  }), unknown.length ? "not known: left out" : "");
};

// Seeds whose noise the folder holds paint the birds of generate.py; others have noise of their own.
const noiseOf = seed => {
  const size = saybird.painter.noise, given = saybird.noise.subarray(seed * size, (seed + 1) * size);
  if (given.length === size) return given;
  let state = seed >>> 0;
  const uniform = () => {  // mulberry32
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return Float32Array.from({length: size},
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));  // Box and Muller
};

const pixels = (values, side) => {  // (3, s, s) in [-1, 1]
  const image = new ImageData(side, side), area = side * side;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round((values[c * area + i] + 1) * 127.5);
    image.data[4 * i + 3] = 255;
  }
  return image;
};
const heat = (values, side) => {
  const image = new ImageData(side, side), peak = Math.max(...values) || 1;
  values.forEach((value, i) => image.data.set([255, 190, 80, 230 * Math.pow(value / peak, 0.7)], 4 * i));
  return image;
};
const canvas = image => {
  const made = document.createElement("canvas");
  [made.width, made.height] = [image.width, image.height];
  made.getContext("2d").putImageData(image, 0, 0);
  return made;
};

let first = 0, turn = 0;
const paint = async () => {
  const mine = ++turn, sentence = $("sentence").value.trim(), words = known(sentence);
  if (!words.length) {
    const some = saybird.painter.words.slice(1, 13).join(", ");
    return note(`No word of it is known. It knows words such as ${some}.`);
  }
  const figures = [...Array(BIRDS).keys()].map(i => {
    const figure = document.createElement("figure");
    figure.className = "waiting";
    figure.innerHTML = "<div></div><figcaption><span></span></figcaption>";
    figure.querySelector("span").textContent = `seed ${first + i}`;
    return figure;
  });
  $("birds").replaceChildren(...figures);
  $("words").replaceChildren();
  const maps = [], sides = saybird.painter.sides;
  for (const [i, figure] of figures.entries()) {
    const found = await ask("paint", {
      words: words.map(word => numbers.get(word)), noise: noiseOf(first + i), birds: 1});
    if (mine !== turn) return;
    const side = sides.at(-1), picture = canvas(pixels(found[`image${side}`][0], side));
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", sentence);
    figure.className = "";
    figure.firstChild.replaceChildren(picture);
    const link = document.createElement("a");
    [link.textContent, link.download, link.href] = ["PNG", `bird-seed${first + i}.png`, picture.toDataURL()];
    figure.lastChild.append(link);
    maps.push(found[saybird.painter.outputs.filter(name => name.startsWith("attention")).at(-1)]);
  }
  if (maps[0]) choices(words, figures, maps);
};

const choices = (words, figures, maps) => $("words").replaceChildren(...["pictures", ...words].map((word, w) => {
  const label = document.createElement("label"), radio = document.createElement("input");
  label.className = "chip";
  Object.assign(radio, {type: "radio", name: "word", checked: w === 0});
  radio.addEventListener("change", () => figures.forEach((figure, i) => {
    figure.querySelector("canvas + canvas")?.remove();
    figure.firstChild.className = w ? "looking" : "";
    if (!w) return;
    const [values, [, , side]] = maps[i];
    figure.firstChild.append(canvas(heat(values.slice((w - 1) * side * side, w * side * side), side)));
  }));
  label.append(radio, word);
  return label;
}));

// ---- the page ----

const careful = action => (...given) => Promise.resolve(action(...given)).catch(error => note(String(error.message)));
$("record").addEventListener("click", careful(() => talk ? stop() : listen()));
$("upload").addEventListener("change", careful(async event => {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  let sound;
  try { sound = await decoded(await file.arrayBuffer()); }
  catch { return note("This is no recording that the browser can read: choose a WAV, OGG, MP3 or M4A."); }
  await hear(...sound);
}));
$("sample").addEventListener("click", careful(async () => hear(...await decoded(saybird.sample.slice().buffer))));
$("form").addEventListener("submit", careful(event => { event.preventDefault(); return paint(); }));
$("others").addEventListener("click", careful(() => { first += BIRDS; return paint(); }));
$("sentence").addEventListener("input", look);
document.addEventListener("keydown", event => {
  if (event.code !== "Space" || event.repeat || event.target.closest("textarea, button, input")) return;
  event.preventDefault();
  $("record").click();
});

(async () => {
  try {
    saybird.painter.words.forEach((word, number) => number && numbers.set(word, number));
    saybird.noise = new Float32Array((await bytes("noise.bin")).buffer);
    saybird.sample = await bytes("sample.ogg");
    await start();
  } catch (error) {
    $("state").textContent = `The models cannot be run here: ${error.message}`;
    return;
  }
  $("state").hidden = true;
  $("work").hidden = false;
  await paint();
})();
