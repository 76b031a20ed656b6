"""The networks in which images are measured: features for distances, classes for the Inception Score."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from data.captioned_images import CaptionedImages
    from evaluation.part_classifier import PartClassifier
    from vision.feature_networks import FeatureNetwork

SCORED_PARTS = ("body", "wings")  # whose joint colour is the class of a painted bird in the Inception Score


class Extractor(NamedTuple):
    """A function of images (B, 3, S, S) in [-1, 1] -> (B, D), its name in caches, and what the protocol says of it."""

    name: str
    function: "Callable[[Tensor], Tensor]"
    protocol: dict[str, Any]


def network_entry(name: str, checksum: str, size: int, antialias: bool = True) -> dict[str, Any]:
    how = "with antialiasing" if antialias else "without antialiasing, as pytorch-fid does"
    return {"name": name, "sha256": checksum, "reads at": f"{size} px, resized bilinearly {how}"}


def classifier_features(classifier: "PartClassifier") -> Extractor:
    name = f"part classifier of painted birds, means of its maps, {4 * classifier.config.width}-d"
    entry = network_entry(name, classifier.checksum, classifier.size)
    return Extractor("features", classifier.features, {"network": entry})


def network_features(network: "FeatureNetwork") -> Extractor:
    entry = network_entry(network.name, network.checksum, network.size, network.antialias)
    return Extractor("features", network.features, {"network": entry})


def colour_classes(classifier: "PartClassifier") -> Extractor:
    """images -> (B, K * K), the joint colour of two parts."""
    heads = [classifier.parts.index(part) for part in SCORED_PARTS]
    count = len(classifier.colours)

    def joint(images: "Tensor") -> "Tensor":
        first, second = classifier(images)[:, heads].double().softmax(dim=2).unbind(dim=1)  # (B, K) each
        return (first[:, :, None] * second[:, None, :]).flatten(1)

    entry = network_entry("part classifier of painted birds", classifier.checksum, classifier.size)
    told = f"{count**2}: colour of the {' x colour of the '.join(SCORED_PARTS)}, the product of two heads"
    return Extractor("colour classes", joint, {"network": entry, "classes": told})


def imagenet_classes(network: "FeatureNetwork") -> Extractor:
    """images -> (B, 1000)."""
    entry = network_entry(network.name, network.checksum, network.size, network.antialias)
    told = "1000 of ImageNet; not comparable with published scores, which use classes of birds"
    return Extractor(
        "ImageNet classes",
        lambda images: network.probabilities(images).double(),
        {"network": entry, "classes": told},
    )


def species_classes(
    images: "CaptionedImages", seen: "np.ndarray", generated: "np.ndarray"
) -> tuple["np.ndarray", "np.ndarray", dict[str, Any]]:
    """Features (M, D) of a split's photographs and (N, D) of generated images -> probabilities (N, K) of generated and
    (M, K) of real ones, of the split's K species, learnt from one half of its photographs; and the protocol.

    Each half of the photographs themselves is read by what was learnt from the other.
    """
    import numpy as np

    from metrics.linear_classifier import fit

    images.require_classes("the Inception Score by species")
    labels = images.class_ids
    halves = [slice(0, None, 2), slice(1, None, 2)]  # pictures of a species stand together: half of each
    learnt = [fit(seen[half], labels[half], np.unique(labels)) for half in halves]
    of_real = np.empty((len(labels), len(learnt[0].classes)))
    for half, other in zip(halves, reversed(learnt), strict=True):
        of_real[half] = other.probabilities(seen[half])
    right = (learnt[0].classes[of_real.argmax(axis=1)] == labels).mean()
    return learnt[0].probabilities(generated), of_real, {
        "classes": f"{len(learnt[0].classes)} species of the split, softmax regression on the features of half of its "
        "photographs; not comparable with published scores, whose network was tuned as a whole",
        "accuracy of the classes": f"{100 * right:.1f} % on the other half; real pictures are read by what was learnt "
        "from the half that they are not in",
    }  # fmt: skip
