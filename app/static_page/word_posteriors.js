"use strict";
// asr/word_posteriors.py in a browser: how probable a word is among all that the search of a lexicon kept.

const SCALE = 1;  // of the search's scores

const logSum = (a, b) => {
  const top = Math.max(a, b);
  return top === -Infinity ? top : top + Math.log1p(Math.exp(Math.min(a, b) - top));
};

// The words that ended in a recording and the ways to end it -> edges {word, first, last, posterior}. A node is a frame
// and a history, numbered in the order of frames.
const latticeEdges = ({trace, ends}) => {
  const numbers = new Map();
  const nodes = trace.map(({last, history}) => {
    const key = `${last} ${history}`;
    if (!numbers.has(key)) numbers.set(key, numbers.size + 1);
    return numbers.get(key);
  });
  const end = numbers.size + 1;
  const edges = [...trace, ...ends].map(({word, first, last, before, score}, place) => ({
    word, first, last, source: before < 0 ? 0 : nodes[before], target: place < nodes.length ? nodes[place] : end,
    score: SCALE * (score - (before < 0 ? 0 : trace[before].score)),
  }));
  const forward = new Float64Array(end + 1).fill(-Infinity), backward = forward.slice();
  forward[0] = backward[end] = 0;
  for (const {source, target, score} of edges) forward[target] = logSum(forward[target], forward[source] + score);
  for (const {source, target, score} of [...edges].reverse())
    backward[source] = logSum(backward[source], backward[target] + score);
  return edges.map(({word, first, last, source, target, score}) =>
    ({word, first, last, posterior: Math.exp(forward[source] + score + backward[target] - forward[end])}));
};

// How probable each word is in the most probable of its frames, 0 to 1.
const wordPosteriors = (heard, words) => {
  const edges = latticeEdges(heard);
  return words.map(({word, first, last}) => {
    const shares = new Float64Array(last + 1 - first);
    for (const edge of edges) {
      if (edge.word !== word) continue;
      for (let t = Math.max(edge.first, first); t <= Math.min(edge.last, last); t++) shares[t - first] += edge.posterior;
    }
    return Math.min(Math.max(...shares), 1);
  });
};
