"""The networks that `evaluate.py` lets read pictures: features for distances, classes for the Inception Score.

Every function takes the options of `evaluate.py`, and says in the protocol which network it was.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import UserError
from evaluation.pairs import Sample, collect, draw_sample, has_part_truth, painted, real_features, rendered

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from evaluation.part_classifier import PartClassifier

IS_HEADS = ("body", "wings")  # whose joint colour is the class of a painted bird


def feature_network(args: argparse.Namespace) -> tuple[Callable[["Tensor"], "Tensor"], dict[str, Any]]:
    """images (B, 3, S, S) -> (B, D), and which network that is."""
    if args.network is None:
        classifier = painted_classifier(args)
        name = f"part classifier of painted birds, means of its maps, {4 * classifier.config.width}-d"
        return classifier.features, {"network": network_entry(name, classifier.checksum, classifier.size)}
    from vision.feature_networks import load_feature_network

    network = load_feature_network(args.network).to(args.device)
    return network.features, {"network": network_entry(network.name, network.checksum, network.size)}


class Reading(NamedTuple):
    """What a network reads in a sample's painted pictures (N, D) and in real ones (M, D), and which network that is."""

    sample: Sample
    generated: "np.ndarray"
    real: "np.ndarray"
    network: dict[str, Any]


def feature_sets(args: argparse.Namespace) -> Reading:
    """Features, the real ones of the whole split; the metrics of one command share them: pictures are read once."""
    if args.sets is None:
        features, network = feature_network(args)
        sample = draw_sample(args)
        generated = collect(features, painted(args, sample))
        args.sets = Reading(sample, generated, real_features(args, sample.birds, features, network), network)
    return args.sets


def class_probabilities(args: argparse.Namespace) -> Reading:
    """Of the sample's pictures, painted and real, (N, K) each: of the colours that the part classifier knows or, in a
    --network, of the split's species or ImageNet's classes."""
    if args.network and args.classes != "imagenet":
        return of_species(feature_sets(args))
    probabilities, network = of_imagenet(args) if args.network else of_colours(args)
    sample = draw_sample(args)
    generated, real = (
        collect(probabilities, images) for images in (painted(args, sample), rendered(args, sample))
    )
    return Reading(sample, generated, real, network)


def of_colours(args: argparse.Namespace) -> tuple[Callable[["Tensor"], "Tensor"], dict[str, Any]]:
    """images (B, 3, S, S) -> (B, K), and which network and classes these are."""
    classifier = painted_classifier(args)
    heads = [classifier.parts.index(part) for part in IS_HEADS]
    count = len(classifier.colours)

    def joint(images: "Tensor") -> "Tensor":
        first, second = classifier(images)[:, heads].double().softmax(dim=2).unbind(dim=1)  # (B, K) each
        return (first[:, :, None] * second[:, None, :]).flatten(1)

    return joint, {
        "network": network_entry("part classifier of painted birds", classifier.checksum, classifier.size),
        "classes": f"{count**2}: colour of the {' x colour of the '.join(IS_HEADS)}, the product of two heads",
    }  # fmt: skip


def of_imagenet(args: argparse.Namespace) -> tuple[Callable[["Tensor"], "Tensor"], dict[str, Any]]:
    """images (B, 3, S, S) -> (B, 1000), and which network and classes these are."""
    from vision.feature_networks import load_feature_network

    network = load_feature_network(args.network).to(args.device)
    return lambda images: network.probabilities(images).double(), {
        "network": network_entry(network.name, network.checksum, network.size),
        "classes": "1000 of ImageNet; not comparable with published scores, which use classes of birds",
    }  # fmt: skip


def of_species(sets: Reading) -> Reading:
    """Of the split's species, learnt from one half of its photographs.

    Each half of the photographs themselves is read by what was learnt from the other.
    """
    import numpy as np

    from metrics.linear_classifier import fit

    sample, seen = sets.sample, sets.real
    labels = sample.birds.class_ids
    halves = [slice(0, None, 2), slice(1, None, 2)]  # pictures of a species stand together: half of each
    learnt = [fit(seen[half], labels[half], np.unique(labels)) for half in halves]
    of_real = np.empty((len(labels), len(learnt[0].classes)))
    for half, other in zip(halves, reversed(learnt), strict=True):
        of_real[half] = other.probabilities(seen[half])
    right = (learnt[0].classes[of_real.argmax(axis=1)] == labels).mean()
    generated = learnt[0].probabilities(sets.generated)
    return Reading(sample, generated, of_real[sample.indices], sets.network | {
        "classes": f"{len(learnt[0].classes)} species of the split, softmax regression on the features of half of its "
        "photographs; not comparable with published scores, whose network was tuned as a whole",
        "accuracy of the classes": f"{100 * right:.1f} % on the other half; real pictures are read by what was learnt "
        "from the half that they are not in",
    })  # fmt: skip


def painted_classifier(args: argparse.Namespace) -> "PartClassifier":
    """The part classifier, where the pictures are such that its answers mean something."""
    if not has_part_truth(args):
        raise UserError(
            f"the part classifier reads painted birds only; measure {args.data} in another network: "
            "--network mobilenet_v2.safetensors"
        )
    return load_classifier(args)


def load_classifier(args: argparse.Namespace) -> "PartClassifier":
    from evaluation.part_classifier import PartClassifier

    return PartClassifier.load(args.classifier).to(args.device)


def network_entry(name: str, checksum: str, size: int) -> dict[str, Any]:
    return {"name": name, "sha256": checksum, "reads at": f"{size} px, resized bilinearly with antialiasing"}
