"""Festival (Edinburgh, BSD-like) as a command: `apt install festival`, and a package for each voice."""

import json
import tempfile
from pathlib import Path

import numpy as np

from core.errors import UserError
from data.synthesis.command import read_wav, run

VOICES = {  # and the Debian package of each
    "kal_diphone": "festvox-kallpc16k",
    "cmu_us_slt_arctic_hts": "festvox-us-slt-hts",
    "ked_diphone": "festvox-kdlpc16k",
}


def synthesize(text: str, voice: str, tempo: float = 1.0) -> tuple[np.ndarray, int]:
    """Speak `text`: samples (S,) int16 and the rate in Hz. slt keeps its own tempo.

    Raises UserError where Festival or the voice is not there.
    """
    if voice not in VOICES:
        raise UserError(f'no voice "{voice}" of Festival; there are: {", ".join(VOICES)}')
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder) / "clip.wav", Path(folder) / "clip.scm"
        script.write_text(
            f"(voice_{voice})\n(Parameter.set 'Duration_Stretch {1 / tempo:.4f})\n"
            f"(set! said (Utterance Text {_quoted(text)}))\n(utt.synth said)\n"
            f"(utt.save.wave said {_quoted(str(path))} 'riff)\n",
            encoding="utf-8",
        )
        run(["festival", "-b", str(script)], f"apt install festival {VOICES[voice]}")
        return read_wav(path)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # Scheme escapes quotes and backslashes in the same way
