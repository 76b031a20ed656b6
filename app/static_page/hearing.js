"use strict";
// From the recogniser's probabilities to words, each with the probability that it is right: asr/lexicon_words.py and
// asr/confidence.py in a browser.

const SILENCE = 0;  // the phone of a frame in which nobody speaks
const PRIOR_SCALE = 0.8;
const ALPHA = 1 / 3;  // of the entropy
const LEAST = 1e-6;  // probability: keeps logarithms finite
const HYPOTHESES = 1200;
const MOST_ODDS = 7;  // logarithm of odds

const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;

// A network's output (1, T, V) as T rows.
const rowsOf = ({data, dims: [, frames, size]}) =>
  Array.from({length: frames}, (_, t) => data.subarray(t * size, (t + 1) * size));
const bestOf = row => row.reduce((best, value, place) => value > row[best] ? place : best, 0);

// The best token of each frame, repetitions once, blanks left out; a word's probability is the mean of its letters'.
const greedyWords = (rows, tokens) => {
  const words = [];
  let last = 0, open = false;
  for (const row of rows) {
    const token = bestOf(row), text = tokens[token];
    if (token && token !== last) {
      if (text.startsWith(" ")) open = false;
      if (text.trim()) {
        if (!open) words.push({text: "", probabilities: []});
        open = true;
        words.at(-1).text += text.trim();
        words.at(-1).probabilities.push(Math.exp(row[token]));
      }
    }
    last = token;
  }
  return words.map(({text, probabilities}) => ({text, probability: mean(probabilities)}));
};

// Words of the lexicon. letters, phones: log probabilities of frames, a row each; facts: what recognizer.json holds.
const lexiconWords = (letters, phones, facts, lexicon) => {
  if (mean(phones.map(certainty)) < facts.search.least_certainty) return [];
  const {log_prior: prior, frames: each} = facts.phones;
  const likelihoods = phones.map(row => row.map((value, phone) => value - Math.fround(PRIOR_SCALE * prior[phone])));
  const frames = letters.map((_, t) => likelihoods[0].map((_, phone) => {
    let sum = 0;
    for (let i = 0; i < each; i++) sum = Math.fround(sum + likelihoods[each * t + i][phone]);
    return facts.search.phone_weight * sum;
  }));
  const heard = searchLexicon(lexicon, frames, HYPOTHESES, HYPOTHESES / 10);
  const odds = wordPosteriors(heard, heard.words).map(logOdds);
  const spelt = lettersOf(letters, facts.tokens), histories = newHistories(lexicon.model);
  let history = START;
  const scored = heard.words.map(({word, first, last}, i) => {
    const {text, place, pronunciations} = lexicon.words[word];
    const begin = each * first, end = each * (last + 1);
    const labels = alignPhones(likelihoods.slice(begin, end), pronunciations);
    const language = gainOf(histories, history, place);
    history = extend(histories, history, place);
    const written = spelt.slice(first, last + 1).join("").trim();
    const neighbours = ((odds[i - 1] ?? MOST_ODDS) + (odds[i + 1] ?? MOST_ODDS)) / 2;
    const scores = scoresOf(text, phones.slice(begin, end), labels, language, written);
    return {text, scores: {...scores, posterior: odds[i], neighbours}};
  });
  const piece = mean(scored.map(({scores}) => scores.likelihood));
  return scored.map(({text, scores}) => ({text, probability: confidence({...scores, piece}, facts.confidence)}));
};

const logOdds = p =>
  Math.min(Math.max(Math.log(Math.max(p, LEAST)) - Math.log(Math.max(1 - p, LEAST)), -MOST_ODDS), MOST_ODDS);

// What CTC's best path writes in each frame, most often nothing.
const lettersOf = (rows, tokens) => {
  let last = -1;
  return rows.map(row => {
    const token = bestOf(row), text = token === last ? "" : tokens[token];
    last = token;
    return text;
  });
};

// The phone of every frame of a word, on the likeliest way through any of its pronunciations, with silence before and
// after or none. Frames that are too few are all silence.
const alignPhones = (frames, pronunciations) => {
  const phones = [SILENCE], before = [[0]], begins = [0], ends = [];
  for (const pronunciation of pronunciations) {
    pronunciation.forEach((phone, place) => {
      if (place === 0) begins.push(phones.length);
      before.push(place === 0 ? [phones.length, 0] : [phones.length, phones.length - 1]);
      phones.push(phone);
    });
    ends.push(phones.length - 1);
  }
  before.push([phones.length, ...ends]);
  ends.push(phones.length);
  phones.push(SILENCE);
  let score = phones.map((phone, state) => begins.includes(state) ? frames[0][phone] : -Infinity);
  const came = frames.slice(1).map(frame => {
    const from = before.map(states => states.reduce((a, b) => score[b] > score[a] ? b : a));
    score = phones.map((phone, state) => score[from[state]] + frame[phone]);
    return from;
  });
  let state = ends.reduce((a, b) => score[b] > score[a] ? b : a);
  if (score[state] === -Infinity) return frames.map(() => SILENCE);
  const labels = [phones[state]];
  for (const from of came.reverse()) labels.unshift(phones[state = from[state]]);
  return labels;
};

const scoresOf = (text, frames, labels, language, heard) => {
  const likelihoods = labels.map((phone, t) => frames[t][phone]);
  const runs = [];  // of a phone's frames
  labels.forEach((phone, t) => phone === labels[t - 1] ? runs.at(-1).push(likelihoods[t]) : runs.push([likelihoods[t]]));
  return {
    likelihood: mean(likelihoods),
    worst: Math.min(...runs.map(mean)),
    certainty: Math.log(Math.max(mean(frames.map(certainty)), LEAST)),
    language,
    spelling: alike(text, heard),
    length: Math.log(labels.length / runs.length),
    letters: Math.log([...text].length),
  };
};

// 1 - normalised entropy (Tsallis) of log probabilities.
const certainty = row => {
  const entropyOf = sum => (sum - 1) / (1 - ALPHA), floor = Math.exp(-entropyOf(row.length ** (1 - ALPHA)));
  const entropy = entropyOf(row.reduce((sum, value) => sum + Math.exp(ALPHA * value), 0));
  return Math.min(Math.max((Math.exp(-entropy) - floor) / (1 - floor), 0), 1);
};

// Twice the longest letters in order that both texts have, over the letters of both.
const alike = (one, other) => {
  let row = new Array(other.length + 1).fill(0);
  for (const letter of one) {
    const next = [0];
    for (let j = 0; j < other.length; j++)
      next.push(letter === other[j] ? row[j] + 1 : Math.max(row[j + 1], next[j]));
    row = next;
  }
  return one.length + other.length ? 2 * row.at(-1) / (one.length + other.length) : 1;
};

const confidence = (scores, calibration) => {
  if (!calibration) return Math.exp(scores.likelihood);
  const sum = Object.entries(calibration).reduce((sum, [name, weight]) =>
    sum + weight * (name === "bias" ? 1 : scores[name]), 0);
  return 1 / (1 + Math.exp(-Math.min(Math.max(sum, -30), 30)));
};
