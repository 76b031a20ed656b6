"""The lists that most work on LJSpeech uses: 12,500 clips for training, 100 for validation, 500 for test.

They come from Tacotron 2's implementation by NVIDIA, not with the recordings, and mix the books' chapters: the reader
and the books are known, the sentences are not.
"""

from pathlib import Path

from core.files import read_json, write_text
from data.speech_layouts import read_metadata

LISTS = Path(__file__).with_suffix(".json")  # ids of val and test, in their order; train is the rest


def write_published_splits(root: Path | str) -> None:
    """Write <root>/splits/{train,val,test}.txt, unless there are lists already. Raises UserError where metadata.csv
    cannot be read."""
    folder = Path(root) / "splits"
    if folder.is_dir():
        return
    published: dict[str, list[str]] = read_json(LISTS)
    held_out = {id for ids in published.values() for id in ids}
    there = read_metadata(Path(root))  # all of it, or a part of the recordings with its own metadata.csv
    lists = {split: [id for id in ids if id in there] for split, ids in published.items()}
    lists["train"] = [id for id in there if id not in held_out]
    for split, ids in lists.items():
        write_text(folder / f"{split}.txt", "".join(f"{id}\n" for id in ids))
