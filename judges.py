"""The networks that `evaluate.py` lets read pictures: features for distances, classes for the Inception Score.

Every function takes the options of `evaluate.py`, and says in the protocol which network it was.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from measured import Sample, collect, has_part_truth, real_features, rendered
from storage.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from t2i.part_classifier import PartClassifier

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
) -> tuple[Callable[["Tensor"], "Tensor"], "np.ndarray", dict[str, Any]]:
    """images (B, 3, S, S) -> class probabilities (B, K); those (N, K) of the sample's real pictures; and which network
    and classes these are."""
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
        return joint, collect(joint, rendered(args, sample)), {
            "network": entry,
            "classes": f"{count**2}: colour of the {' x colour of the '.join(IS_HEADS)}, the product of two heads",
        }  # fmt: skip
    from t2i.feature_networks import load_feature_network

    network = load_feature_network(args.network).to(args.device)
    entry = {"network": network_entry(network.name, network.checksum, network.size)}
    if args.classes != "imagenet":
        return species_classifier(args, sample, network.features, entry)

    def of_imagenet(images: "Tensor") -> "Tensor":
        return network.probabilities(images).double()

    return of_imagenet, collect(of_imagenet, rendered(args, sample)), entry | {
        "classes": "1000 of ImageNet; not comparable with published scores, which use classes of birds"
    }  # fmt: skip


def species_classifier(
    args: argparse.Namespace,
    sample: Sample,
    features: Callable[["Tensor"], "Tensor"],
    network: dict[str, Any],
) -> tuple[Callable[["Tensor"], "Tensor"], "np.ndarray", dict[str, Any]]:
    """As `probability_network`, for the split's species, learnt from one half of its photographs.

    Each half of the photographs themselves is read by what was learnt from the other.
    """
    import numpy as np
    import torch

    from metrics.linear_classifier import fit

    labels = sample.birds.class_ids
    seen = real_features(args, sample.birds, features, network)
    halves = [slice(0, None, 2), slice(1, None, 2)]  # pictures of a species stand together: half of each
    learnt = [fit(seen[half], labels[half], np.unique(labels)) for half in halves]
    of_real = np.empty((len(labels), len(learnt[0].classes)))
    for half, other in zip(halves, reversed(learnt), strict=True):
        of_real[half] = other.probabilities(seen[half])
    right = (learnt[0].classes[of_real.argmax(axis=1)] == labels).mean()

    def of_species(images: "Tensor") -> "Tensor":
        return torch.from_numpy(learnt[0].probabilities(features(images).cpu().numpy()))

    return of_species, of_real[sample.indices], network | {
        "classes": f"{len(learnt[0].classes)} species of the split, softmax regression on the features of half of its "
        "photographs; not comparable with published scores, whose network was tuned as a whole",
        "accuracy of the classes": f"{100 * right:.1f} % on the other half; real pictures are read by what was learnt "
        "from the half that they are not in",
    }  # fmt: skip


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
