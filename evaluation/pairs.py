"""What `evaluate.py` measures: pairs of a test picture and a caption, clips, and the sets that they come from.

Every function takes the options of `evaluate.py`; what it returns is a function of these and of the files they name.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError, suggest
from core.files import write_atomically
from core.model_registry import model_name

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from data.captioned_images import CaptionedImages
    from t2i.painter import Painter, Paintings

# torch and the models are imported once the command is known to be right: --help and mistakes answer at once

PAINTED, SPOKEN = "painted_birds", "spoken_captions"
PHOTOGRAPHS_SIZE = 64  # px
FEATURES_VERSION = 1  # raised when the same network would give other features
PHOTOGRAPHS = "photographs"  # a --model that paints nothing: the nearest training photograph
CLIPS_AT_ONCE = 64
LONGEST = 60.0  # seconds of a clip that is heard


# --- pairs of a test picture and one of its captions -------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """N pairs: indices (N,) of pictures, a caption of each, what is painted for it, and the seed of its noise."""

    birds: "CaptionedImages"
    painter: "Painter | Photographs"
    indices: "np.ndarray"
    captions: list[str]
    texts: list[str]
    noise: list[int]
    protocol: dict[str, Any]

    @property
    def class_ids(self) -> "np.ndarray":
        return self.birds.class_ids[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def only(self, rows: "Sequence[int] | np.ndarray") -> "Sample":
        """The pairs of these rows, which may repeat."""

        def of(values: list[Any]) -> list[Any]:
            return [values[row] for row in rows]

        return replace(
            self,
            indices=self.indices[rows],
            captions=of(self.captions),
            texts=of(self.texts),
            noise=of(self.noise),
        )


def draw_sample(args: argparse.Namespace) -> Sample:
    """The pairs that a metric measures, a function of the set, --samples and --seed."""
    import numpy as np

    from pipeline import load_painter

    root = bird_folder(args)
    painter: Painter | Photographs
    if args.model == Path(PHOTOGRAPHS):
        painter = Photographs(args, root)
    else:
        painter = trained = load_painter(args.model).to(args.device)
        trained.bf16 = args.precision == "bf16"
    birds = open_birds(args, root, painter.resolutions[-1])
    indices = choose(len(birds), args.samples, args.seed)
    captions, noise = [], []
    for pair, i in enumerate(indices):
        rng = np.random.default_rng([args.seed, pair, 1])
        captions.append(birds.captions[i][rng.integers(len(birds.captions[i]))])
        noise.append(int(rng.integers(2**31)))
    protocol: dict[str, Any] = {
        "set": set_name(root),
        "split": args.split,
        "pictures in the split": len(birds),
        "samples": len(indices),
        "text": "one caption a picture, drawn by the seed",
        "model": model_entry(args.model, painter.checksum),
        "image size": birds.size,
        "precision": args.precision,
        "real pictures": "those of the same captions, cut to 1.5 times the bird's box, its centre, not flipped",
    }
    spoken = captions
    if args.source == "transcript":
        spoken, speech = transcripts(args, captions)
        protocol |= speech | {"text": "transcript of one spoken caption a picture, drawn by the seed"}
    texts = with_known_words(spoken, painter.known)
    protocol["texts without a known word"] = sum(a != b for a, b in zip(spoken, texts, strict=True))
    return Sample(birds, painter, indices, captions, texts, noise, protocol)


class Photographs:
    """In place of a painter, the baseline of all of them: the training photograph that a DAMSM finds for a sentence."""

    def __init__(self, args: argparse.Namespace, root: Path) -> None:
        import torch

        from t2i.encoders.damsm import Damsm

        self.encoder = Damsm.load(args.finder or args.encoder).to(args.device)
        self.checksum, self.device = self.encoder.checksum, args.device
        self.training_info = {"encoder": self.checksum}
        self.resolutions = [args.size or PHOTOGRAPHS_SIZE]
        if args.data == PAINTED:
            from data.painted_birds.build import ensure_painted_birds

            ensure_painted_birds(args.root, splits=("train",))
        train = argparse.Namespace(**vars(args) | {"split": "train"})
        self.birds = open_birds(train, root, self.resolutions[0])
        entry = {"encoder": self.checksum}
        seen = real_features(args, self.birds, lambda part: self.encoder.encode_images(part)[1], entry)
        self.seen = torch.nn.functional.normalize(torch.from_numpy(seen).float(), dim=1)  # (N, E)

    def known(self, text: str, limit: int | None = None) -> list[str]:
        return self.encoder.vocabulary.known(text, limit=limit)

    def paint(self, texts: Sequence[str], seeds: Sequence[int]) -> "Paintings":
        """B sentences -> their photographs, whatever the seeds."""
        from data.sampling import to_unit
        from t2i.painter import Paintings

        found = (self.encoder.encode_texts(texts).sentence.cpu() @ self.seen.T).argmax(dim=1)
        return Paintings((to_unit(self.birds.batch(found.tolist(), None)).to(self.device),), (), [])


def choose(count: int, samples: int | None, seed: int) -> "np.ndarray":
    """`samples` of `count` items (all of them once, in order, for None), in shuffled passes over the set."""
    import numpy as np

    if samples is None:
        return np.arange(count)
    passes = [np.random.default_rng([seed, n]).permutation(count) for n in range(-(-samples // count))]
    return np.concatenate(passes)[:samples]


def with_known_words(texts: Sequence[str], known: Callable[[str], list[str]]) -> list[str]:
    """The texts; one of which nothing is known (nothing was heard, say) becomes a word that says nothing."""
    nothing = next(iter([*known("bird"), *(word for text in texts for word in known(text))]), "bird")
    return [text if known(text) else nothing for text in texts]


def painted(args: argparse.Namespace, sample: Sample) -> Iterator["Tensor"]:
    """The painter's pictures of a sample, batch by batch: (B, 3, S, S) in [-1, 1]."""
    for start in progress(range(0, len(sample), args.batch), "painting", len(sample), args.batch):
        part = slice(start, start + args.batch)
        yield sample.painter.paint(sample.texts[part], sample.noise[part]).images[-1]


def rendered(
    args: argparse.Namespace, sample: Sample, indices: "np.ndarray | None" = None
) -> Iterator["Tensor"]:
    """The real pictures of a sample, or those of `indices`, batch by batch: (B, 3, S, S) in [-1, 1]."""
    yield from pictures(args, sample.birds, sample.indices if indices is None else indices)


def pictures(args: argparse.Namespace, birds: "CaptionedImages", indices: "np.ndarray") -> Iterator["Tensor"]:
    """Pictures of a set, batch by batch: (B, 3, S, S) in [-1, 1]."""
    from data.sampling import to_unit

    for start in progress(range(0, len(indices), args.batch), "real pictures", len(indices), args.batch):
        yield to_unit(birds.batch(indices[start : start + args.batch].tolist(), None).to(args.device))


# --- data sets -------------------------------------------------------------------------------------------------


def bird_folder(args: argparse.Namespace) -> Path:
    """The set named or located by --data; painted birds are made where they are missing."""
    if args.data == PAINTED:
        from data.painted_birds.build import ensure_painted_birds

        return ensure_painted_birds(
            args.root, splits=(check_split(args.split, ("train", "test"), args.data),)
        )
    return located(args.data, args.root, "--data", PAINTED)


def check_split(split: str, splits: Sequence[str], where: str) -> str:
    if split not in splits:
        raise UserError(
            f'no split "{split}" in {where}{suggest(split, splits)}: there are {", ".join(splits)}'
        )
    return split


def located(given: str, root: Path, option: str, made_here: str) -> Path:
    """A folder, or the name of one under `root`."""
    for folder in (Path(given), root / given):
        if folder.is_dir():
            return folder
    there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    known = sorted({made_here, *there})
    raise UserError(
        f"no set {given}{suggest(given, known)}: {option} takes a folder, or one of {', '.join(known)}"
    )


def open_birds(args: argparse.Namespace, root: Path, size: int) -> "CaptionedImages":
    from data.captioned_images import load_images

    return load_images(root, args.split, size, cache_of(args, root), "skip" if args.skip_damaged else "error")


def cache_of(args: argparse.Namespace, root: Path) -> Path:
    """--cache, or the folder that trainers use, in the set."""
    from data.packed import cache_folder

    return cache_folder(root, args.cache or "")


def has_part_truth(args: argparse.Namespace) -> bool:
    """Whether the pictures of --data are painted birds; asked before they are made."""
    return args.data == PAINTED or (bird_folder(args) / "parts.csv").is_file()


def set_name(root: Path) -> str:
    return root.resolve().name


def speech_splits(args: argparse.Namespace) -> tuple[Path, list[str]]:
    """The set of --speech and the splits to hear: the one asked for, and voices never trained on beside test."""
    if args.speech == SPOKEN:
        from data.painted_birds.recordings import ensure_spoken_captions

        check_split(args.split, ("train", "val", "test", "test_voices"), args.speech)
        splits = ["test", "test_voices"] if args.split == "test" else [args.split]
        return ensure_spoken_captions(args.root, splits=tuple(splits)), splits
    root = located(args.speech, args.root, "--speech", SPOKEN)
    also = args.split == "test" and (root / "splits" / "test_voices.txt").is_file()
    return root, [args.split, "test_voices"] if also else [args.split]


def open_speech(args: argparse.Namespace, root: Path, split: str) -> Any:
    from data.speech import load_speech

    # a cache of its own: training leaves long clips out, a figure should not
    cache = cache_of(args, root) / "evaluation"
    return load_speech(
        root, split, cache, on_damaged="skip" if args.skip_damaged else "error", max_seconds=LONGEST
    )


# --- hearing ---------------------------------------------------------------------------------------------------


def transcripts(args: argparse.Namespace, captions: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """What the recogniser hears when the captions are spoken, and how that was done."""
    from asr.recognizer import Recognizer
    from data.painted_birds.voices import TRAIN_VOICES
    from metrics.error_rates import word_error_rate

    recognizer = Recognizer.load(args.recognizer, args.device)
    spoken = [speak(caption, args.seed, i) for i, caption in enumerate(captions)]
    heard = hear(spoken, recognizer, args.beam)
    return heard, {
        "voices": f"{len(TRAIN_VOICES)} of espeak-ng, those of the recogniser's training",
        "recognizer": model_entry(args.recognizer, recognizer.checksum),
        "beam": args.beam,
        "word error rate of the transcripts": word_error_rate(captions, heard, args.seed).value,
    }


def speak(caption: str, seed: int, index: int) -> "np.ndarray":
    """A caption in a voice, tempo and pitch drawn by (seed, index): samples (S,) float32 at 16 kHz."""
    import numpy as np

    from asr.audio import resample
    from data.painted_birds.voices import PITCHES, RATES, TRAIN_VOICES, Clip, record

    rng = np.random.default_rng([seed, index, 2])
    voice = TRAIN_VOICES[rng.integers(len(TRAIN_VOICES))]
    clip = Clip(caption, voice, rng.uniform(*RATES), rng.uniform(*PITCHES), silence=(0.1, 0.1), gain=0.6)
    samples, rate = record(clip)
    return resample(samples.astype(np.float32) / 32768, rate)


def hear(clips: Sequence["np.ndarray"], recognizer: Any, beam: int) -> list[str]:
    """Clips (S,) at 16 kHz -> transcripts, in their order."""
    heard: list[str] = []
    for start in progress(range(0, len(clips), CLIPS_AT_ONCE), "hearing", len(clips), CLIPS_AT_ONCE):
        heard += recognizer.transcribe_batch(list(clips[start : start + CLIPS_AT_ONCE]), beam=beam)
    return heard


# --- what all measures share ------------------------------------------------------------------------------------


def collect(function: Callable[[Any], "Tensor"], batches: Iterable[Any]) -> "np.ndarray":
    """function(batch) (B, ...) of every batch -> (N, ...), float64."""
    import numpy as np

    return np.concatenate([function(batch).double().cpu().numpy() for batch in batches])


def real_features(
    args: argparse.Namespace,
    birds: "CaptionedImages",
    features: Callable[["Tensor"], "Tensor"],
    network: dict[str, Any],
) -> "np.ndarray":
    """Features (N, D) of all pictures of a split, kept beside its packed pictures for the next measure."""
    import numpy as np

    from data.packed import fingerprint

    packed = birds.pictures
    mark = fingerprint(FEATURES_VERSION, packed.index["fingerprint"], packed.kept, network)
    path = packed.path.with_name(f"{packed.path.stem}-features-{mark[:16]}.npy")
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):  # not there, or not whole
        found = collect(features, pictures(args, birds, np.arange(len(birds))))

    def write(beside: Path) -> None:
        with open(beside, "wb") as file:
            np.save(file, found)

    with suppress(OSError):  # of a folder that cannot be written
        write_atomically(path, write)
    return found


def progress(starts: range, what: str, total: int, batch: int) -> Iterator[int]:
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="", dynamic_ncols=True, file=sys.stderr) as bar:
        for start in starts:
            yield start
            bar.update(min(batch, total - start))


@contextmanager
def few_samples() -> Iterator[None]:
    """A score's complaint about its arrays, told as a user's mistake."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{error}; measure more pictures (--samples) or a larger set") from error


def model_entry(folder: Path, checksum: str) -> dict[str, str]:
    return {"name": model_name(folder), "sha256": checksum}
