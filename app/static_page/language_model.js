"use strict";
// asr/language_model.py and asr/word_scores.py in a browser: a mixture of word n-grams, each interpolated with the order
// below it, whose weights follow the text. A history is a number; texts with the same last words share one.

const SMALLEST = 1e-30;  // of a probability
const SWITCH = 0.02;  // probability that a text goes on as another kind, at each word
const BOUNDARY = 0;  // the word before the first, and the end of a text
const NONE = -1;  // no such n-gram
const START = 0;  // the history of a text without words
const VALUES = Float64Array.from({length: 65536}, (_, code) => code < 65535 ? Math.exp(-code / 3000) : 0);  // of codes

const readSafetensors = bytes => {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  delete header.__metadata__;
  const kinds = {U8: Uint8Array, U16: Uint16Array, I32: Int32Array};
  return Object.fromEntries(Object.entries(header).map(([name, {dtype, data_offsets: [first, last]}]) =>
    [name, new kinds[dtype](bytes.slice(8 + size + first, 8 + size + last).buffer)]));
};

// The n-grams of a component. tables[c] are those of c + 1 words, sorted by context and word: of context row r of c
// words the last words are items[starts[r]] to items[starts[r + 1] - 1], and rest[r] is left to the order below.
const readNgrams = (arrays, name) => {
  const tables = [];
  while (arrays[`${name}.${tables.length + 1}.probabilities`]) {
    const part = kind => arrays[`${name}.${tables.length + 1}.${kind}`];
    const followers = part("followers"), codes = part("probabilities");
    const starts = new Int32Array(followers.length + 1), rest = new Float64Array(followers.length);
    for (let row = 0; row < followers.length; row++) {
      starts[row + 1] = starts[row] + followers[row];
      let given = 0;
      for (let i = starts[row]; i < starts[row + 1]; i++) given += VALUES[codes[i]];
      rest[row] = Math.max(1 - given, SMALLEST);
    }
    tables.push({items: part("items"), codes, starts, rest});
  }
  return tables;
};

const readLanguageModel = bytes => {
  const arrays = readSafetensors(bytes), decoder = new TextDecoder();
  const words = decoder.decode(arrays.words).split("\n"), components = [];
  for (const {name, share, base} of JSON.parse(decoder.decode(arrays.header)).components) {
    const tables = readNgrams(arrays, name), [{codes, rest}] = tables;
    const unigrams = Float64Array.from(codes, (code, word) =>
      VALUES[code] + (base === null ? 0 : rest[0] * components[base].unigrams[word]));
    components.push({share, tables, unigrams});
  }
  return {words, components, order: Math.max(...components.map(part => part.tables.length))};
};

const continues = (tables, length, row) =>
  row !== NONE && length < tables.length && tables[length].starts[row + 1] > tables[length].starts[row];

// The place of the n-gram of a context row of `length` words and one more word, or NONE.
const find = ({items, starts}, row, word) => {
  let low = starts[row], high = starts[row + 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle] < word) low = middle + 1; else high = middle;
  }
  return low < starts[row + 1] && items[low] === word ? low : NONE;
};

// The histories of one recording.
const newHistories = model => {
  const contexts = model.order - 1, rows = new Int32Array(model.components.length * contexts).fill(NONE);
  model.components.forEach(({tables}, k) => { if (continues(tables, 1, BOUNDARY)) rows[k * contexts] = BOUNDARY; });
  return {model, numbers: new Map([[String(BOUNDARY), START]]), words: [[BOUNDARY]], rows: [rows],
          weights: [model.components.map(part => part.share)]};
};

// What each component says of a word after a history, and where the history with the word is in its tables.
const ask = ({model, rows}, history, word) => {
  const contexts = model.order - 1, after = new Int32Array(model.components.length * contexts).fill(NONE);
  const each = model.components.map(({tables, unigrams}, k) => {
    let p = unigrams[word];
    if (continues(tables, 1, word)) after[k * contexts] = word;
    for (let length = 1; length < tables.length; length++) {
      const row = rows[history][k * contexts + length - 1];
      if (row === NONE) continue;
      const place = find(tables[length], row, word);
      p = (place === NONE ? 0 : VALUES[tables[length].codes[place]]) + tables[length].rest[row] * p;
      if (place !== NONE && length < contexts && continues(tables, length + 1, place))
        after[k * contexts + length] = place;
    }
    return p;
  });
  return {each, after};
};

const mixed = (weights, each) =>
  Math.max(each.reduce((sum, p, k) => sum + weights[k] * p, 0), SMALLEST);

// Log probability of a word after a history, nats; of BOUNDARY that the text ends.
const gainOf = (histories, history, word) =>
  Math.log(mixed(histories.weights[history], ask(histories, history, word).each));

const extend = (histories, history, word) => {
  const words = [...histories.words[history], word].slice(1 - histories.model.order), key = words.join(" ");
  const known = histories.numbers.get(key);
  if (known !== undefined) return known;
  const {each, after} = ask(histories, history, word), weights = histories.weights[history];
  const mass = mixed(weights, each), number = histories.words.length;
  histories.numbers.set(key, number);
  histories.words.push(words);
  histories.rows.push(after);
  histories.weights.push(histories.model.components.map(({share}, k) =>
    (1 - SWITCH) * weights[k] * each[k] / mass + SWITCH * share));
  return number;
};
