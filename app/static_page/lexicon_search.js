"use strict";
// asr/lexicon.py and asr/lexicon_search.py in a browser: the likeliest words by the phones of frames and a language model.

const ROOT = 0;  // the node that is no phone yet
const PAUSE = -1;  // no word
const BEAM = 14, WORD_BEAM = 12;  // nats below the best, of hypotheses and of those whose word ends

// Pronunciations that begin alike share their first nodes. Of a node the children are child[n], then sibling[...] of
// that one, and so on; endings[n] are the words that end there. Words that the language model lacks are left out.
const readLexicon = (text, phones, model, {language_model_weight: weight, word_bonus: bonus}) => {
  const lines = text.trim().split("\n").map(line => line.split(" "));
  const places = new Map(model.words.map((word, place) => [word, place]));
  const numbers = new Map(phones.map((phone, number) => [phone, number]));
  const size = lines.reduce((sum, line) => sum + line.length, 1);
  const tree = {phones: new Uint8Array(size), parents: new Int32Array(size), child: new Int32Array(size),
                sibling: new Int32Array(size), endings: new Map()};
  const words = [], byText = new Map();
  let nodes = 1;
  for (const [text, ...spoken] of lines) {
    if (!places.has(text)) continue;
    if (!byText.has(text)) {
      byText.set(text, words.length);
      words.push({text, place: places.get(text), pronunciations: []});
    }
    const word = byText.get(text), pronunciation = spoken.map(phone => numbers.get(phone));
    let node = ROOT;
    for (const phone of pronunciation) {
      let next = tree.child[node];
      while (next && tree.phones[next] !== phone) next = tree.sibling[next];
      if (!next) {
        next = nodes++;
        tree.phones[next] = phone;
        tree.parents[next] = node;
        tree.sibling[next] = tree.child[node];
        tree.child[node] = next;
      }
      node = next;
    }
    const ending = tree.endings.get(node);
    if (ending?.includes(word)) continue;  // a pronunciation that is there twice
    words[word].pronunciations.push(pronunciation);
    ending ? ending.push(word) : tree.endings.set(node, [word]);
  }
  // what the language model says of the likeliest word that a node may become, looked at ahead of its end
  const ahead = new Float64Array(nodes).fill(-Infinity);
  const unigram = place => weight * Math.log(Math.max(
    model.components.reduce((sum, {share, unigrams}) => sum + share * unigrams[place], 0), SMALLEST)) + bonus;
  for (const [node, ending] of tree.endings)
    ahead[node] = Math.max(...ending.map(word => unigram(words[word].place)));
  for (let node = nodes - 1; node > ROOT; node--)  // parents are before their children
    ahead[tree.parents[node]] = Math.max(ahead[tree.parents[node]], ahead[node]);
  ahead[ROOT] = 0;
  return {tree, nodes, words, ahead, model, weight, bonus};
};

// The places of the `most` best of `scores` that are above `least`.
const best = (scores, least, most) => {
  let places = [];
  for (let i = 0; i < scores.length; i++) if (scores[i] > least) places.push(i);
  if (places.length > most) {
    const last = Float64Array.from(places, i => scores[i]).sort()[places.length - most];
    const above = places.filter(i => scores[i] > last), equal = places.filter(i => scores[i] === last);
    places = [...above, ...equal.slice(0, most - above.length)];
  }
  return places;
};

// The words of a recording: likelihoods of its frames, a Float32Array (P,) each, nats -> {word, first, last}, the last
// two frames, and all that competed with them: the words that ended before the last frame, the ways to end with it.
// most: hypotheses that are kept of a frame; mostWords: words that end there.
const searchLexicon = (lexicon, frames, most, mostWords) => {
  const {tree} = lexicon, histories = newHistories(lexicon.model), trace = [];
  let beam = [{history: START, node: ROOT, score: 0, first: 0, before: -1}];
  frames.forEach((frame, t) => {
    if (t) beam = [...beam, ...endWords(lexicon, histories, trace, beam, t - 1, mostWords)];
    beam = nextFrame(lexicon, beam, frame, t, most);
  });
  return finish(lexicon, histories, trace, beam, frames.length);
};

// Stay in the phone, or in silence, or go on to any of the next ones.
const nextFrame = ({tree, nodes, ahead}, beam, frame, t, most) => {
  const scores = [], origins = [], reached = [];
  const add = (origin, node, score) => { origins.push(origin); reached.push(node); scores.push(score); };
  beam.forEach(({node, score}, i) => {
    add(i, node, score + frame[tree.phones[node]]);
    for (let next = tree.child[node]; next; next = tree.sibling[next])
      add(i, next, score + ahead[next] - ahead[node] + frame[tree.phones[next]]);
  });
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity), grown = new Map();
  for (const i of best(scores, top - BEAM, 3 * most)) {
    const from = beam[origins[i]], node = reached[i], key = from.history * nodes + node;
    if (grown.has(key) && grown.get(key).score >= scores[i]) continue;  // of those alike only the best
    const first = from.node === ROOT && node !== ROOT ? t : from.first;
    grown.set(key, {history: from.history, node, score: scores[i], first, before: from.before});
  }
  const found = [...grown.values()];
  return best(found.map(one => one.score), -Infinity, most).map(i => found[i]);
};

// Words that may end at the nodes of hypotheses, with what the language model says of them.
const endings = ({tree, words, ahead, weight, bonus}, histories, beam) => beam.flatMap(one =>
  (tree.endings.get(one.node) || []).map(word => ({one, word,
    score: one.score - ahead[one.node] + bonus + weight * gainOf(histories, one.history, words[word].place)})));

// Hypotheses whose word ends with frame t, anew at the root.
const endWords = (lexicon, histories, trace, beam, t, mostWords) => {
  const least = beam.reduce((top, one) => Math.max(top, one.score), -Infinity) - WORD_BEAM;
  const ended = endings(lexicon, histories, beam.filter(one => one.score > least));
  return best(ended.map(one => one.score), least, mostWords).map(i => {
    const {one, word, score} = ended[i];
    const history = extend(histories, one.history, lexicon.words[word].place);
    trace.push({before: one.before, word, first: one.first, last: t, history, score});
    return {history, node: ROOT, score, first: one.first, before: trace.length - 1};
  });
};

// The texts that may end with the last frame, with a word that does or in silence, and the words of the best of them.
const finish = (lexicon, histories, trace, beam, frames) => {
  const end = history => lexicon.weight * gainOf(histories, history, BOUNDARY), last = frames - 1;
  const ends = endings(lexicon, histories, beam).map(({one, word, score}) => ({word, first: one.first, last,
    before: one.before, score: score + end(extend(histories, one.history, lexicon.words[word].place))}));
  for (const {node, first, before, history, score} of beam)
    if (node === ROOT) ends.push({word: PAUSE, first, last, before, score: score + (before < 0 ? 0 : end(history))});
  const words = [];
  let one = ends.reduce((a, b) => b.score > a.score ? b : a, {word: PAUSE, before: -1, score: -Infinity});
  if (one.word === PAUSE) one = trace[one.before];
  for (; one; one = trace[one.before]) words.unshift({word: one.word, first: one.first, last: one.last});
  return {words, trace, ends};
};
