"""What the metrics of one command measure, each part made once, when it is first asked for, and shared by all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import UserError
from core.model_registry import model_name
from core.precision import resolve_precision
from evaluation import features, sets, spoken
from evaluation.batches import ImageStore, collect, keep_features, progress
from evaluation.features import Extractor
from evaluation.generators import EVERY_WORD, Generator, ImageFolder, NearestPhotographs, TrainedPainter
from evaluation.options import NEAREST_SIZE, Options
from evaluation.pairs import Pairs, draw_pairs, with_known_words

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from asr.transcript import SpeechRecognizer
    from data.captioned_images import CaptionedImages
    from evaluation.part_classifier import PartClassifier
    from evaluation.part_locator import PartLocator
    from t2i.encoders.damsm import Damsm
    from vision.feature_networks import FeatureNetwork

FEATURES_VERSION = 1  # raised when the same network would give other features


class FeatureSets(NamedTuple):
    """Features of generated images (N, D) and of all real ones of the split (M, D); and, for rows that can be compared,
    n of the generated and two sets of n real ones that share none, where n is the smaller of N and M / 2."""

    generated: "np.ndarray"
    reference: "np.ndarray"
    equal: tuple[
        "np.ndarray", "np.ndarray", "np.ndarray"
    ]  # generated, reference, other real ones, (n, D) each
    protocol: dict[str, Any]


class Transcripts(NamedTuple):
    """What a recogniser heard in a split's clips; counts: for the protocol."""

    references: list[str]
    hypotheses: list[str]
    speakers: list[str]
    counts: dict[str, Any]


class Evaluator:
    """Everything is a function of the options and of the files that they name, whoever asks first.

    images are batches (B, 3, S, S) in [-1, 1], features NumPy arrays (N, D) in float64.
    """

    def __init__(self, options: Options, device: "torch.device"):
        precision = resolve_precision(device, options.precision)
        self.options, self.device = replace(options, precision=precision), device
        self._captioned: dict[tuple[str, int], CaptionedImages] = {}
        self._pairs: dict[int | None, Pairs] = {}
        self._images: dict[int, ImageStore] = {}
        self._features: dict[tuple[str, ...], np.ndarray] = {}
        self._transcripts: dict[str, Transcripts] = {}

    # --- models --------------------------------------------------------------------------------------------------

    @cached_property
    def encoder(self) -> "Damsm":
        return self._damsm(self.options.encoder)

    def _damsm(self, folder: Path) -> "Damsm":
        from t2i.encoders.damsm import Damsm

        return Damsm.load(folder).to(self.device)

    @cached_property
    def part_classifier(self) -> "PartClassifier":
        from evaluation.part_classifier import PartClassifier

        return PartClassifier.load(self.options.classifier).to(self.device)

    @cached_property
    def part_locator(self) -> "PartLocator":
        from evaluation.part_locator import PartLocator

        return PartLocator.load(self.options.locator).to(self.device)

    @cached_property
    def recognizer(self) -> "SpeechRecognizer":
        from asr.recognizers.registry import open_recognizer

        options = self.options
        recognizer = open_recognizer(options.recognizer, self.device, options.language_model)
        if not options.favour and options.vocabulary == "any":
            return recognizer
        from pipeline import favoured_words, favouring, load_painter

        painters = [load_painter(options.model)] if options.vocabulary == "painter" else []
        return favouring(recognizer, favoured_words(options.favour, painters))

    @cached_property
    def generator(self) -> Generator:
        options = self.options
        if options.pictures:
            return ImageFolder(options.pictures, options.size, self.device)
        if not options.nearest:
            return TrainedPainter(options.model, self.device, options.precision)
        finder = self._damsm(options.finder) if options.finder else self.encoder
        images = self.captioned("train", options.size or NEAREST_SIZE)
        seen = self.real_features(images, self._image_features(finder))
        return NearestPhotographs(finder, images, seen, self.device)

    @cached_property
    def network(self) -> "FeatureNetwork | None":
        """The network of --network; None where painted birds are measured in the part classifier's features."""
        if self.options.network is None:
            if not self.has_part_truth:
                raise UserError(
                    f"the part classifier reads painted birds only; measure {self.options.data} in another network: "
                    "--network mobilenet_v2.safetensors"
                )
            return None
        from vision.feature_networks import load_feature_network

        return load_feature_network(self.options.network).to(self.device)

    @cached_property
    def extractor(self) -> Extractor:
        """The features of FID, KID, coverage and variety."""
        if self.network is None:
            return features.classifier_features(self.part_classifier)
        return features.network_features(self.network)

    @cached_property
    def has_part_truth(self) -> bool:
        return sets.has_part_truth(self.options)

    def model_entry(self, option: str) -> dict[str, str]:
        """Name and checksum of a model, for the protocol; option: encoder, part_classifier,
        part_locator or recognizer."""
        from asr.recognizers.registry import recognizer_name

        folder = getattr(self.options, option.removeprefix("part_"))
        name = recognizer_name(folder) if option == "recognizer" else model_name(folder)
        return {"name": name, "sha256": getattr(self, option).checksum}

    @property
    def search(self) -> dict[str, Any]:
        """How clips are decoded, for the protocol."""
        from asr.recognizers.registry import external

        options, other = self.options, external(self.options.recognizer)
        if other:
            return {"beam": "its own" if other.beam is None else options.beam, "language model": "its own"}
        model = getattr(self.recognizer, "language_model", None)
        return {
            "beam": options.beam,
            "language model": model.checksum if model else "none",
            "favoured words": options.favour or options.vocabulary,
        }

    # --- pictures and captions -----------------------------------------------------------------------------------

    def captioned(self, split: str, size: int) -> "CaptionedImages":
        if (split, size) not in self._captioned:
            self._captioned[split, size] = sets.open_images(self.options, split, size)
        return self._captioned[split, size]

    @cached_property
    def set_name(self) -> str:
        return sets.set_name(sets.bird_folder(self.options, self.options.split))

    def pairs(self, samples: int | None = None) -> Pairs:
        """The pairs of --samples or, without that option, `samples` of them (every picture once for None)."""
        count = self.options.samples or samples
        if isinstance(self.generator, ImageFolder) and count is None and not self._needs_captions():
            count = len(self.generator.paths)  # as many of anything as there are images
        if count not in self._pairs:
            self._pairs[count] = self._draw(count)
        return self._pairs[count]

    def _needs_captions(self) -> bool:
        from evaluation.registry import find

        return any("captions" in find(name).needs for name in self.options.metrics)

    def _draw(self, count: int | None) -> Pairs:
        options, generator = self.options, self.generator
        images = self.captioned(options.split, generator.size)
        pairs = draw_pairs(images, count, options.seed)
        if isinstance(generator, ImageFolder) and len(generator.paths) != len(pairs):
            raise UserError(
                f"{options.pictures} holds {len(generator.paths)} images for {len(pairs)} captions; give as many "
                "(--captions FILE lists them), or measure fewer with --samples"
            )
        protocol: dict[str, Any] = {
            "set": self.set_name,
            "split": options.split,
            "pictures in the split": len(images),
            "samples": len(pairs),
            "text": "one caption a picture, drawn by the seed",
            **generator.about,
            "image size": images.size,
            "real pictures": "those of the same captions, cut to 1.5 times the bird's box, its centre, not flipped",
        }
        texts = pairs.captions
        if options.source == "transcript":
            texts, told = self.spoken(texts)
            protocol |= told | {"text": "transcript of one spoken caption a picture, drawn by the seed"}
        known = with_known_words(texts, generator.known)
        protocol["texts without a known word"] = sum(a != b for a, b in zip(texts, known, strict=True))
        return replace(pairs, texts=known, protocol=protocol)

    @cached_property
    def training_captions(self) -> set[str] | None:
        return sets.training_captions(self.options)

    def seen_in_training(self, pairs: Pairs) -> "np.ndarray | None":
        """Whether each pair's caption stands, word for word, among the captions of the set's training split (N,); None
        where that split is not here."""
        import numpy as np

        if self.training_captions is None:
            return None
        return np.array([sets.caption_words(text) in self.training_captions for text in pairs.captions])

    def caption_protocol(self, pairs: Pairs) -> dict[str, Any]:
        seen = self.seen_in_training(pairs)
        told = "unknown, the set's training split is not here"
        if seen is not None:
            told = f"{seen.sum()} of {len(seen)} ({100 * seen.mean():.1f} %) stand word for word in the training split"
        return {"captions seen in training": told}

    # --- images and their features -------------------------------------------------------------------------------

    def generated_images(self, pairs: Pairs) -> Iterator["Tensor"]:
        """Batches of the generator's images. Those of `pairs()` are made once where several metrics look at them."""
        shared = self._is_shared(pairs)
        if shared and id(pairs) in self._images:
            yield from self._images[id(pairs)].batches(self.device)
            return
        keep = shared and len(self.options.metrics) > 1
        store = ImageStore((len(pairs), 3, pairs.real.size, pairs.real.size)) if keep else None
        for rows in self._batches(len(pairs), "generating"):
            images = self.generator.generate(pairs, rows).float()
            if store is not None:
                store.add(images)
            yield images
        if store is not None:
            self._images[id(pairs)] = store

    def stage_images(self, pairs: Pairs) -> Iterator["tuple[Tensor, ...]"]:
        """Batches of the images of every stage, first to last; of a generator that is a `TrainedPainter`."""
        assert isinstance(self.generator, TrainedPainter)
        for rows in self._batches(len(pairs), "generating"):
            yield self.generator.stages(pairs, rows)

    def real_images(self, pairs: Pairs) -> Iterator["Tensor"]:
        return self.pictures_of(pairs.real, pairs.indices)

    def pictures_of(self, images: "CaptionedImages", indices: "np.ndarray") -> Iterator["Tensor"]:
        from data.sampling import to_unit

        for rows in self._batches(len(indices), "real images"):
            yield to_unit(images.batch(indices[rows].tolist(), None).to(self.device))

    def generated_features(self, pairs: Pairs, extractor: Extractor) -> "np.ndarray":
        return self._once("generated", pairs, extractor, self.generated_images)

    def features_of_real(self, pairs: Pairs, extractor: Extractor) -> "np.ndarray":
        """Of the pairs' own pictures, (N, D)."""
        return self._once("real", pairs, extractor, self.real_images)

    def real_features(self, images: "CaptionedImages", extractor: Extractor) -> "np.ndarray":
        """Of all pictures of a split (M, D), kept beside its packed pictures for the next command too."""
        import numpy as np

        from data.packed import fingerprint

        packed = images.pictures
        mark = fingerprint(FEATURES_VERSION, packed.index["fingerprint"], packed.kept, extractor.protocol)
        path = packed.path.with_name(f"{packed.path.stem}-features-{mark[:16]}.npy")
        if (key := (mark, str(path))) in self._features:
            return self._features[key]
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # not there, or not whole
            found = collect(extractor.function, self.pictures_of(images, np.arange(len(images))))
            keep_features(path, found)
        self._features[key] = found
        return found

    @cached_property
    def feature_sets(self) -> FeatureSets:
        import numpy as np

        extractor = self.extractor  # first, which may say that there is none
        pairs = self.pairs()
        generated = self.generated_features(pairs, extractor)
        reference = self.real_features(pairs.real, extractor)
        order = np.random.default_rng(self.options.seed).permutation(len(reference))
        n = min(len(generated), len(reference) // 2)
        some = np.random.default_rng([self.options.seed, 1]).permutation(len(generated))[:n]
        equal = (generated[some], reference[order[::2][:n]], reference[order[1::2][:n]])
        protocol = pairs.protocol | extractor.protocol | {
            "reference": f"all {len(reference)} pictures of the split",
            "real pictures": f"{n} of the reference against {n} others, drawn at random",
            "equal counts": f"{n} generated images against the same {n} real ones; compare this row with that of real "
            "pictures, since a distance also depends on how many are compared",
        }  # fmt: skip
        return FeatureSets(generated, reference, equal, protocol)

    # --- DAMSM ---------------------------------------------------------------------------------------------------

    @property
    def image_encoder(self) -> Extractor:
        """images -> global features (B, E) of the encoder."""
        return self._image_features(self.encoder)

    def _image_features(self, encoder: "Damsm") -> Extractor:
        return Extractor(
            f"DAMSM {encoder.checksum}",
            lambda images: encoder.encode_images(images)[1],
            {"encoder": encoder.checksum},
        )

    def sentence_features(self, captions: Sequence[str]) -> "np.ndarray":
        """Sentence features (N, E) of the encoder; every word of a caption counts, however long it is."""
        texts = with_known_words(captions, partial(self.encoder.known, limit=EVERY_WORD))
        parts = (texts[i : i + self.options.batch] for i in range(0, len(texts), self.options.batch))
        return collect(lambda part: self.encoder.encode(part).sentence, parts)

    # --- speech --------------------------------------------------------------------------------------------------

    def heard(self, split: str) -> Transcripts:
        """What the recogniser hears in the clips of a split, or in --samples of them."""
        if split not in self._transcripts:
            speech = sets.clips_to_hear(self.options, split)
            hypotheses = spoken.hear(speech.samples, self.recognizer, self.options.beam, progress)
            self._transcripts[split] = Transcripts(speech.texts, hypotheses, speech.speakers, speech.counts)
        return self._transcripts[split]

    def spoken(self, captions: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
        """What the recogniser hears when the captions are spoken in --voices, and how that was done."""
        options = self.options
        cache = sets.cache_of(options, sets.bird_folder(options, options.split))
        heard, told = spoken.transcripts(
            captions,
            options.voices,
            options.seed,
            options.beam,
            self.recognizer,
            progress,
            options.root,
            cache,
        )
        return heard, told | {"recognizer": self.model_entry("recognizer"), **self.search}

    # --- what these share ----------------------------------------------------------------------------------------

    def _batches(self, count: int, what: str) -> Iterator[slice]:
        batch = self.options.batch
        for start in progress(range(0, count, batch), what, count, batch):
            yield slice(start, start + batch)

    def _is_shared(self, pairs: Pairs) -> bool:
        """Whether these are the pairs that `pairs()` returns to every metric, not some that one derived from them."""
        return any(known is pairs for known in self._pairs.values())

    def _once(
        self, kind: str, pairs: Pairs, extractor: Extractor, images: "Callable[[Pairs], Iterator[Tensor]]"
    ) -> "np.ndarray":
        if not self._is_shared(pairs):
            return collect(extractor.function, images(pairs))
        key = (kind, extractor.name, str(id(pairs)))
        if key not in self._features:
            self._features[key] = collect(extractor.function, images(pairs))
        return self._features[key]
