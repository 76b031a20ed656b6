// Runs the networks beside the page, so that it answers while they work. Behind hearing.js and what that needs.

let ort = null, facts = null, lexicon = null;
const sessions = {};

const answers = {
  // facts: what recognizer.json holds; words: lexicon and language model of a recogniser that has them
  async load({runtime, wasm, models, facts: given, words}) {
    ort = await import(URL.createObjectURL(new Blob([runtime], {type: "text/javascript"})));
    ort.env.wasm.numThreads = 1;  // more need headers that a plain folder of files cannot send
    ort.env.wasm.wasmBinary = wasm;
    for (const [name, model] of Object.entries(models)) sessions[name] = await ort.InferenceSession.create(model);
    facts = given;
    if (words) {
      const model = readLanguageModel(words.language_model);
      lexicon = readLexicon(new TextDecoder().decode(words.lexicon), facts.phones.names, model, facts.search);
    }
  },
  // samples at 16 kHz -> [{text, probability}] of the words
  async hear({samples}) {
    const tensor = new ort.Tensor("float32", samples, [1, samples.length]);
    const found = await sessions.recognizer.run({samples: tensor}), letters = rowsOf(found.log_probabilities);
    if (!lexicon) return greedyWords(letters, facts.tokens);
    return lexiconWords(letters, rowsOf(found.phone_log_probabilities), facts, lexicon);
  },
  // the numbers of a sentence's words, and of B birds the noise -> {output: [values, shape]}
  async paint({words, noise, birds}) {
    const found = await sessions.painter.run({
      words: new ort.Tensor("int64", BigInt64Array.from(words, BigInt), [1, words.length]),
      noise: new ort.Tensor("float32", noise, [birds, noise.length / birds]),
    });
    return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, [value.data, value.dims]]));
  },
};

onmessage = async ({data: {number, call, given}}) => {
  try {
    postMessage({number, answer: await answers[call](given)});
  } catch (error) {
    postMessage({number, error: String(error.message || error)});
  }
};
