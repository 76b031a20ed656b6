"""How likely each moment of a stream is speech: Silero's voice activity network, in NumPy.

The network and its weights are those of silero-vad 6.2.3 (https://github.com/snakers4/silero-vad, MIT: the text is in
silero_vad.LICENSE). Its package takes 1.2 ms for a window of 32 ms and keeps the stream's state in the network; here
windows go through in groups, which takes a tenth of that, and a stream has its own state: threads share the weights.
"""

import functools
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from asr.audio import QUIET, SAMPLE_RATE

STEP = 512  # samples of a window, 32 ms; one probability each
CONTEXT = 64  # samples of the window before, which the network sees too
GROUP = 8  # windows that go through the network together, whatever blocks they come in: so the numbers are the same
WEIGHTS = Path(__file__).with_name("silero_vad.safetensors")
STRIDES = (1, 2, 2, 1)  # of the convolutions
SPECTRUM = 256  # samples of a spectrum; four a window

# The network misses speech that is quiet: one in seven clips at a hundredth of their level.
LOUD = 0.1  # RMS to which the loudest window so far is brought up, where it is below ...
MOST_GAIN = LOUD / QUIET  # ... by so much at most
FORGOTTEN = 0.5 ** (STEP / SAMPLE_RATE / 10.0)  # the loudest window counts half after ten seconds


class Activity(Protocol):
    """The speech of one stream at 16 kHz."""

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The next samples (S,) -> the probability of speech (N,) in each window of STEP samples that can be told now,
        in order; N >= 0."""
        ...

    def finish(self) -> np.ndarray:
        """The probabilities (N,) of what is left, the last window filled up with silence; the stream ends."""
        ...


class State(NamedTuple):
    hidden: np.ndarray  # (128,)
    cell: np.ndarray  # (128,)
    loudest: float  # RMS of the loudest window so far


class VoiceActivityNetwork:
    """Magnitudes of four short spectra a window, four convolutions, an LSTM over the windows."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SPECTRUM) / SPECTRUM)).astype(np.float32)
        self.convolutions = [
            (
                np.ascontiguousarray(w.transpose(2, 1, 0).reshape(-1, len(w))),
                weights[f"convolutions.{i}.bias"],
                stride,
            )
            for i, stride in enumerate(STRIDES)
            for w in [weights[f"convolutions.{i}.weight"]]
        ]
        # of the gates input, forget, new, output; a sigmoid is a tanh of half, so one tanh serves all four
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), 128)
        self.from_input, self.from_hidden = (
            np.ascontiguousarray(weights[f"lstm.weight_{name}_l0"].T * half) for name in ("ih", "hh")
        )
        self.bias = (weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]) * half
        self.to_logit, self.logit_bias = weights["to_logit.weight"][0], weights["to_logit.bias"][0]

    def __call__(self, sound: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """sound (CONTEXT + N * STEP,), the first being the end of what came before -> probabilities (N,), state."""
        x = np.lib.stride_tricks.sliding_window_view(sound, CONTEXT + STEP)[::STEP]  # (N, 576)
        hidden, cell, loudest = state
        gains = np.ones((len(x), 1), np.float32)
        for i, level in enumerate(np.sqrt(np.square(x[:, CONTEXT:], dtype=np.float64).mean(axis=1)).tolist()):
            loudest = max(level, loudest * FORGOTTEN)
            gains[i] = min(max(LOUD / max(loudest, 1e-9), 1.0), MOST_GAIN)
        x = np.concatenate([x, x[:, -2 : -CONTEXT - 2 : -1]], axis=1) * gains  # its end mirrored
        x = np.lib.stride_tricks.sliding_window_view(x, SPECTRUM, axis=1)[:, :: SPECTRUM // 2]  # (N, 4, 256)
        x = np.abs(np.fft.rfft(x * self.window))  # (N, 4, 129)
        for weight, bias, stride in self.convolutions:  # over the four spectra
            edge = np.zeros_like(x[:, :1])
            x = np.concatenate([edge, x, edge], axis=1)
            x = np.stack(
                [x[:, t : t + 3].reshape(len(x), -1) for t in range(0, x.shape[1] - 2, stride)], axis=1
            )
            x = np.maximum(x @ weight + bias, 0.0)
        gates = x[:, 0] @ self.from_input + self.bias  # (N, 512)
        outputs = np.empty((len(x), 128), np.float32)
        for i in range(len(x)):
            turned = np.tanh(gates[i] + hidden @ self.from_hidden)
            opened = 0.5 * turned + 0.5
            cell = opened[128:256] * cell + opened[:128] * turned[256:384]
            outputs[i] = hidden = opened[384:] * np.tanh(cell)
        logits = np.maximum(outputs, 0.0) @ self.to_logit + self.logit_bias
        return 0.5 * np.tanh(0.5 * logits) + 0.5, State(hidden, cell, loudest)


@functools.cache
def network() -> VoiceActivityNetwork:
    from safetensors.numpy import load_file

    return VoiceActivityNetwork(load_file(WEIGHTS))


class VoiceActivity:
    """`Activity` by the network. The numbers do not depend on the blocks in which a stream comes."""

    def __init__(self) -> None:
        self._sound = np.zeros(CONTEXT, np.float32)  # the end of what was seen, and what is to be seen
        self._state = State(np.zeros(128, np.float32), np.zeros(128, np.float32), 0.0)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        self._sound = np.concatenate([self._sound, samples])
        groups = (len(self._sound) - CONTEXT) // (GROUP * STEP)
        return self._see([GROUP] * groups)

    def finish(self) -> np.ndarray:
        left = len(self._sound) - CONTEXT
        windows = -(-left // STEP)
        self._sound = np.pad(self._sound, (0, windows * STEP - left))
        return self._see([GROUP] * (windows // GROUP) + [windows % GROUP] * (windows % GROUP > 0))

    def _see(self, groups: list[int]) -> np.ndarray:
        found, at = [np.zeros(0, np.float32)], 0
        for windows in groups:
            sound = self._sound[at : at + CONTEXT + windows * STEP]
            probabilities, self._state = network()(sound, self._state)
            found.append(probabilities)
            at += windows * STEP
        self._sound = self._sound[at:]
        return np.concatenate(found)


def speech_probability(samples: np.ndarray) -> np.ndarray:
    """Samples (S,) at 16 kHz -> the probability of speech (N,) in each window of STEP samples, the last filled up."""
    activity = VoiceActivity()
    return np.concatenate([activity.feed(samples), activity.finish()])
