"""The button that records, with the part of it that runs in the browser.

Gradio's own streaming microphone throws sound away: what comes while its event waits to be started, and the last half
second. Here a worklet takes every sample, and none is dropped before the server has it.
"""

from typing import Any

import gradio as gr

from app.page import markup
from app.page.listening import LONGEST, Speakers
from core.errors import UserError

MARKUP = """<div class="sb-talk"><button type="button" class="sb-record" aria-pressed="false">
<i aria-hidden="true"></i><span>Speak</span></button><kbd>space bar</kbd></div>
<div class="sb-live" aria-live="polite"></div>"""

TICK = 300  # ms between two sendings

SCRIPT = """
const button = element.querySelector(".sb-record"), label = button.querySelector("span");
const live = element.querySelector(".sb-live");
const worklet = "registerProcessor('take', class extends AudioWorkletProcessor { process(inputs) {"
  + "if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; } });";
let talk = null;

const say = text => { live.innerHTML = ""; const p = document.createElement("p"); p.className = "sb-note";
  p.textContent = text; live.append(p); };
const show = on => { button.setAttribute("aria-pressed", on); label.textContent = on ? "Stop" : "Speak";
  document.body.classList.toggle("sb-talking", on); };

// 16-bit samples in base64
const packed = blocks => {
  const samples = new Int16Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0, text = "";
  for (const block of blocks) for (const value of block)
    samples[at++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
  const bytes = new Uint8Array(samples.buffer);
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
};

// One sending at a time, in order; what could not be sent is sent again.
const send = async one => {
  if (one.sending || !one.blocks.length) return one.sending;
  const blocks = one.blocks.splice(0);
  one.sending = server.listen({id: one.id, rate: one.context.sampleRate, pcm: packed(blocks),
    recognizer: one.recognizer}).then(answer => {
    one.failures = 0;
    if (answer.html) live.innerHTML = answer.html;
    if (answer.stop && talk === one) stop();
  }).catch(() => {
    one.blocks.unshift(...blocks);
    if (++one.failures > 5) { one.blocks = []; say("The page does not answer; is it still running?"); }
  }).finally(() => { one.sending = null; });
  return one.sending;
};

const start = async () => {
  if (!navigator.mediaDevices)
    return say("Browsers give the microphone to https or localhost only: upload a recording.");
  const one = talk = {id: crypto.randomUUID(), blocks: [], sending: null, failures: 0,
    recognizer: document.body.dataset.recognizer || ""};
  show(true);
  say("Listening…");
  try {
    one.stream = await navigator.mediaDevices.getUserMedia({audio: {channelCount: 1}});
    one.context = new AudioContext();
    await one.context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], {type: "text/javascript"})));
  } catch (error) {
    talk = null; show(false); close(one);
    return say(error.name === "NotAllowedError"
      ? "The microphone was not allowed: allow it in the browser, or upload a recording."
      : "No microphone was found: connect one, or upload a recording.");
  }
  one.node = new AudioWorkletNode(one.context, "take");
  one.node.port.onmessage = event => {
    one.blocks.push(event.data);
    one.level = Math.max(0.9 * (one.level || 0), ...event.data.map(Math.abs));
    button.style.setProperty("--level", Math.min(1, one.level).toFixed(2));
  };
  one.context.createMediaStreamSource(one.stream).connect(one.node);
  one.timer = setInterval(() => send(one), TICK);
  if (talk !== one) close(one);  // stopped before the microphone was there
};

const close = one => {
  clearInterval(one.timer);
  if (one.stream) one.stream.getTracks().forEach(track => track.stop());
  if (one.context && one.context.state !== "closed") one.context.close();
  button.style.setProperty("--level", 0);
};

const stop = async () => {
  const one = talk;
  talk = null;
  label.textContent = "…";
  await new Promise(done => setTimeout(done, 120));  // what the worklet still has
  close(one);
  while (one.sending || one.blocks.length) await send(one);
  show(false);
  trigger("submit", {id: one.id});
};

button.addEventListener("click", () => talk ? stop() : start());
""".replace("TICK", str(TICK))

# the transcript has taken the place of the text so far
DONE = """() => document.querySelectorAll(".sb-live").forEach(live => { live.innerHTML = ""; })"""
CHOOSE = "name => { document.body.dataset.recognizer = name; }"  # of the recogniser, for the next recording


def place(speakers: Speakers, elem_id: str) -> gr.HTML:
    """The button; its `submit` has the `id` of a recording that has ended, see `Speakers.take`."""

    def listen(data: Any) -> dict[str, Any]:
        """Called by the browser, several times a second -> the text so far; stop: nothing more is heard."""
        try:
            one = speakers.feed(data)
        except UserError as error:
            return {"html": markup.note(str(error)), "stop": True}
        if one.is_full:
            return {"html": markup.note(f"{LONGEST:.0f} seconds are full."), "stop": True}
        return {"html": markup.listening(one.partial), "stop": False}

    return gr.HTML(
        MARKUP, elem_id=elem_id, elem_classes="sb-mic", js_on_load=SCRIPT, server_functions=[listen]
    )
