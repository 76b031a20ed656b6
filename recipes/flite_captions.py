"""Speak unseen captions with another engine, flite: `python -m recipes.flite_captions`.

Writes datasets/flite_captions in LJSpeech's layout, for `python evaluate.py --metric wer --speech flite_captions`: the
sentences of the test split of datasets/spoken_captions, in the four voices of flite that are sampled at 16 kHz. Needs
the program flite (`apt install flite`), which the project does not bring along.
"""

from functools import partial
from pathlib import Path

import soundfile
from tqdm import tqdm

from core.errors import UserError, run_cli
from core.files import make_folder, write_atomically
from data.painted_birds.recordings import ensure_spoken_captions, write_speech_lists
from data.synthesis.engines import find_engine
from data.synthesis.flite import synthesize

VOICES = ("awb", "kal16", "rms", "slt")
CLIPS = 200


def main() -> int:
    root = Path("datasets")
    if not find_engine("flite").is_there(root):
        raise UserError("found no program flite on the PATH; install it, e.g. apt install flite")
    source, folder = ensure_spoken_captions(root, splits=("test",)), root / "flite_captions"
    texts = dict(
        line.split("|")[:2] for line in (source / "metadata.csv").read_text(encoding="utf-8").splitlines()
    )
    names = (source / "splits" / "test.txt").read_text(encoding="utf-8").split()[:CLIPS]
    make_folder(folder / "wavs")
    rows = [(f"flite-{name}", VOICES[i % len(VOICES)], texts[name]) for i, name in enumerate(names)]
    for name, voice, text in tqdm(rows, desc="speaking captions", unit="clip"):
        if not (folder / "wavs" / f"{name}.wav").exists():
            write_atomically(folder / "wavs" / f"{name}.wav", partial(speak, text, voice))
    write_speech_lists(folder, [("test", name, text, voice) for name, voice, text in rows])
    print(f"{folder}: {len(rows)} clips of {len(VOICES)} voices")
    return 0


def speak(text: str, voice: str, path: Path) -> None:
    soundfile.write(path, *synthesize(text, voice), format="WAV", subtype="PCM_16")


if __name__ == "__main__":
    run_cli(main)
