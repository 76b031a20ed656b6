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

// Of each word of the best text its posterior, in the most probable of its frames, and the mean entropy of all in these.
const wordPosteriors = (heard, found) => {
  const edges = latticeEdges(heard).filter(({word}) => word !== PAUSE);
  return found.map(({word, first, last}) => {
    const shares = Array.from({length: last + 1 - first}, () => new Map());  // of a frame's words
    for (const edge of edges)
      for (let t = Math.max(edge.first, first); t <= Math.min(edge.last, last); t++)
        shares[t - first].set(edge.word, (shares[t - first].get(edge.word) || 0) + edge.posterior);
    const entropies = shares.map(byWord => {
      const spoken = [...byWord.values()], silent = 1 - spoken.reduce((a, b) => a + b, 0);
      return [...spoken, silent].reduce((sum, p) => p > 0 ? sum - p * Math.log(p) : sum, 0);
    });
    return {posterior: Math.min(Math.max(...shares.map(byWord => byWord.get(word))), 1), entropy: mean(entropies)};
  });
};
