// Runs the networks beside the page, so that it answers while they work.

let ort = null;
const sessions = {};

const answers = {
  async load({runtime, wasm, models}) {
    ort = await import(URL.createObjectURL(new Blob([runtime], {type: "text/javascript"})));
    ort.env.wasm.numThreads = 1;  // more need headers that a plain folder of files cannot send
    ort.env.wasm.wasmBinary = wasm;
    for (const [name, model] of Object.entries(models)) sessions[name] = await ort.InferenceSession.create(model);
  },
  // samples at 16 kHz -> [log probabilities, their shape (1, T, V)]
  async hear({samples}) {
    const tensor = new ort.Tensor("float32", samples, [1, samples.length]);
    const {log_probabilities: found} = await sessions.recognizer.run({samples: tensor});
    return [found.data, found.dims];
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
