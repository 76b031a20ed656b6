"""A browser's microphone: chunks of wav whose headers say nothing true about their length.

Gradio's recorder puts the first chunk's header before every later one, and sends several as one while the server is
busy. `asr.audio` refuses such files as cut short, or cuts them; here whatever follows the header is sound.
"""

import numpy as np

from asr.audio import LOWEST_RATE, MOST_CHANNELS, RATES
from core.errors import UserError

MOST_HEADER = 4096  # bytes before the samples
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags of wav


def read_chunk(content: bytes) -> tuple[int, np.ndarray]:
    """One chunk -> its rate in Hz and its samples (S, channels), int16 or float32; S may be 0.

    Headers in its midst are left out, and so is a last frame that is not whole. Raises UserError for what is no wav
    of 16-bit integers or 32-bit floats.
    """
    start, form = _header(content)
    tag, channels, rate = (int.from_bytes(form[i:j], "little") for i, j in ((0, 2), (2, 4), (4, 8)))
    bits = int.from_bytes(form[14:16], "little")
    if tag == EXTENSIBLE:
        tag = int.from_bytes(form[24:26], "little")
    if (tag, bits) not in ((PCM, 16), (FLOAT, 32)):
        raise UserError(
            f"the microphone sends {bits}-bit samples of format {tag}; 16-bit integers or 32-bit floats were expected"
        )
    if not 1 <= channels <= MOST_CHANNELS or not LOWEST_RATE <= rate <= RATES[1]:
        raise UserError(f"the microphone sends {channels} channels at {rate} Hz; choose another microphone")
    samples = content[start:].replace(content[:start], b"")  # a whole header is never sound by chance
    kind = np.dtype("<i2" if tag == PCM else "<f4")
    whole = len(samples) // (kind.itemsize * channels)
    return rate, np.frombuffer(samples, kind, whole * channels).reshape(whole, channels)


def _header(content: bytes) -> tuple[int, bytes]:
    """Where the samples begin, and what the format chunk holds."""
    form = b""
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        at = 12
        while at + 8 <= min(len(content), MOST_HEADER):
            name, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
            at += 8
            if name == b"data" and len(form) >= 16:
                return at, form
            if name == b"fmt ":
                form = content[at : at + length]
            at += length + length % 2
    raise UserError("the microphone sent no wav; reload the page, or upload a recording")
