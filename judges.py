"""The networks that `evaluate.py` lets read pictures: features for distances, classes for the Inception Score.

Every function takes the options of `evaluate.py`, and says in the protocol which network it was.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measured import Sample, collect, has_part_truth, pictures
from storage.errors import UserError
from storage.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from data.cub import Birds
    from t2i.part_classifier import PartClassifier

FEATURES_VERSION = 1  # raised when the same network would give other features
IS_HEADS = ("body", "wings")  # whose joint colour is the class of a painted bird


def feature_network(args: argparse.Namespace) -> tuple[Callable[["Tensor"], "Tensor"], dict[str, Any]]:
    """images (B, 3, S, S) -> (B, D), and which network that is."""
    if args.network is None:
        classifier = painted_classifier(args)
        name = f"part classifier of painted birds, means of its maps, {4 * classifier.config.width}-d"
        return classifier.features, {"network": network_entry(name, classifier.checksum, classifier.size)}
    from t2i.feature_networks import load_feature_network

    network = load_feature_network(args.network).to(args.device)
    return network.features, {"network": network_entry(network.name, network.checksum, network.size)}


def probability_network(
    args: argparse.Namespace, sample: Sample
) -> tuple[Callable[["Tensor"], "Tensor"], dict[str, Any]]:
    """images (B, 3, S, S) -> class probabilities (B, K), and which network and classes these are."""
    if args.network is None:
        classifier = painted_classifier(args)
        heads = [classifier.parts.index(part) for part in IS_HEADS]
        count = len(classifier.colours)

        def joint(images: "Tensor") -> "Tensor":
            first, second = (classifier(images)[:, heads].double().softmax(dim=2)).unbind(
                dim=1
            )  # (B, K) each
            return (first[:, :, None] * second[:, None, :]).flatten(1)

        entry = network_entry("part classifier of painted birds", classifier.checksum, classifier.size)
        return joint, {"network": entry, "classes": f"{count**2}: colour of the {' x colour of the '.join(IS_HEADS)}, "
                       "the product of two heads"}  # fmt: skip
    from t2i.feature_networks import load_feature_network

    network = load_feature_network(args.network).to(args.device)
    entry = {"network": network_entry(network.name, network.checksum, network.size)}
    if args.classes == "imagenet":
        return lambda images: network.probabilities(images).double(), entry | {
            "classes": "1000 of ImageNet; not comparable with published scores, which use classes of birds"
        }
    of_species, told = species_classifier(args, sample, network.features, entry)
    return lambda images: of_species(network.features(images)), entry | told


def species_classifier(
    args: argparse.Namespace,
    sample: Sample,
    features: Callable[["Tensor"], "Tensor"],
    network: dict[str, Any],
) -> tuple[Callable[["Tensor"], "Tensor"], dict[str, Any]]:
    """features (B, D) -> probabilities (B, K) of the split's species, learnt from its own photographs."""
    import torch

    from metrics.linear_classifier import fit

    labels = sample.birds.class_ids
    seen = real_features(args, sample.birds, features, network)
    first, second = seen[::2], seen[1::2]  # pictures of a species stand together: half of each
    right = (
        fit(first, labels[::2]).accuracy(second, labels[1::2]),
        fit(second, labels[1::2]).accuracy(first, labels[::2]),
    )
    classifier = fit(seen, labels)
    return lambda x: torch.from_numpy(classifier.probabilities(x.cpu().numpy())), {
        "classes": f"{len(classifier.classes)} species of the split, softmax regression on the features of its "
        "photographs; not comparable with published scores, whose network was tuned as a whole",
        "accuracy of the classes": f"{100 * sum(right) / 2:.1f} %, learnt from one half of the photographs and "
        "measured on the other, both ways",
    }


def real_features(
    args: argparse.Namespace,
    birds: "Birds",
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
    except (OSError, ValueError):  # not there, or not whole
        found = collect(features, pictures(args, birds, np.arange(len(birds))))

    def write(beside: Path) -> None:
        with open(beside, "wb") as file:
            np.save(file, found)

    write_atomically(path, write)
    return found


def painted_classifier(args: argparse.Namespace) -> "PartClassifier":
    """The part classifier, where the pictures are such that its answers mean something."""
    if not has_part_truth(args):
        raise UserError(
            f"the part classifier reads painted birds only; measure {args.data} in another network: "
            "--network mobilenet_v2.safetensors"
        )
    return load_classifier(args)


def load_classifier(args: argparse.Namespace) -> "PartClassifier":
    from t2i.part_classifier import PartClassifier

    return PartClassifier.load(args.classifier).to(args.device)


def network_entry(name: str, checksum: str, size: int) -> dict[str, Any]:
    return {"name": name, "sha256": checksum, "reads at": f"{size} px, resized bilinearly with antialiasing"}
