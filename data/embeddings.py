"""Published sentence features of a bird set: StackGAN's `<root>/<split>/char-CNN-RNN-embeddings.pickle`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import UserError
from data.cub import SPLITS, read_all_captions, read_split
from data.pickles import load_pickle

FILE = "char-CNN-RNN-embeddings.pickle"
CAPTIONS = 10  # a picture
WIDTH = 1024  # E, of char-CNN-RNN's sentence features


def has_embeddings(root: Path | str) -> bool:
    """Whether a folder is a set with published sentence features, of one split at least."""
    try:
        return any((Path(root) / split / FILE).is_file() for split in SPLITS)
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def read_sentences(root: Path | str) -> tuple[list[str], np.ndarray]:
    """The K captions of both splits of a set (<root>/text) and their features (K, 1024) float32.

    Pictures without ten captions are left out. Raises UserError as `read_embeddings` does, or where a split has none.
    """
    root = Path(root)
    texts: list[str] = []
    features = []
    for split in SPLITS:
        embeddings = read_embeddings(root, split)  # (N, 10, 1024)
        names, _ = read_split(root, split)
        captions, problems = read_all_captions(root / "text", names, CAPTIONS)
        sound = [i for i, name in enumerate(names) if name not in problems]
        if not sound:
            raise UserError(
                f"{root}/text has the captions of no {split} picture, which {FILE} is in the order of; restore it"
            )
        texts += [caption for i in sound for caption in captions[names[i]]]
        features.append(embeddings[sound].reshape(-1, WIDTH))
    return texts, np.concatenate(features)


def read_embeddings(root: Path | str, split: str, names: Sequence[str] | None = None) -> np.ndarray:
    """Sentence features (N, 10, 1024) float32 of a split's pictures, each row in the order of its captions.

    N are the pictures of `filenames.pickle` in its order, or those of `names` ("class/name"), for a
    set whose damaged pictures are left out. Raises UserError where a file is missing or damaged, where it holds
    anything but ten features of 1024 finite numbers for each picture, or where a name is not among them.
    """
    root = Path(root)
    path, listed_in = (root / split / name for name in (FILE, "filenames.pickle"))
    if not path.is_file():
        raise UserError(f"no {path}; take it from StackGAN's data of this set, or train an encoder instead")
    if not listed_in.is_file():
        raise UserError(f"no {listed_in}, which says whose features {path.name} holds; restore it")
    listed, _ = read_split(root, split)
    value = load_pickle(path)
    if not isinstance(value, list | tuple | np.ndarray) or (isinstance(value, np.ndarray) and not value.ndim):
        found = type(value).__name__
        raise UserError(f"{path} holds a {found}, a list of one array per picture was expected")
    if len(value) != len(listed):
        raise UserError(
            f"{path} has the features of {len(value)} pictures, {listed_in.name} lists {len(listed)}; restore both"
        )
    rows = {name: row for row, name in enumerate(listed)}
    chosen = listed if names is None else names
    strangers = [name for name in chosen if name not in rows]
    if strangers:
        raise UserError(f"{path} has no features of {strangers[0]}: {listed_in.name} does not list it")
    embeddings = np.empty((len(chosen), CAPTIONS, WIDTH), np.float32)
    for i, name in enumerate(chosen):
        embeddings[i] = _of_picture(value[rows[name]], name, path)
    return embeddings


def _of_picture(features: object, name: str, path: Path) -> np.ndarray:
    expected = f"an array ({CAPTIONS}, {WIDTH}) of finite numbers was expected; restore the file"
    if not isinstance(features, np.ndarray):
        raise UserError(f"{path}: the features of {name} are a {type(features).__name__}, {expected}")
    if features.dtype.kind != "f":
        raise UserError(f"{path}: the features of {name} are of type {features.dtype}, {expected}")
    if features.shape != (CAPTIONS, WIDTH):
        raise UserError(f"{path}: the features of {name} have the shape {features.shape}, {expected}")
    if not np.isfinite(features).all():
        raise UserError(f"{path}: the features of {name} are not all finite, {expected}")
    return features
