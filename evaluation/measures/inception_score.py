"""is: Inception Score, of the colours that the part classifier knows or, in a --network, of species or ImageNet's."""

from typing import TYPE_CHECKING, Any

from evaluation.registry import Metric
from evaluation.result import Result, Row, fixed, scored

if TYPE_CHECKING:
    import numpy as np

    from evaluation.evaluator import Evaluator

SPLITS = 10


def measure(evaluator: "Evaluator") -> Result:
    from metrics.inception_score import inception_score

    generated, real, protocol = class_probabilities(evaluator)
    seed, count = evaluator.options.seed, len(generated)
    splits = min(SPLITS, count)
    rows = {}
    for name, probabilities in (("generated", generated), ("real", real)):
        mean, std = scored(inception_score, probabilities, splits, seed)
        rows[name] = Row(name, mean, {"std": std, "of": f"{splits} splits"})
        name = f"{name}, one split"
        rows[name] = Row(name, scored(inception_score, probabilities, 1, seed)[0])
    size, classes = count // splits, generated.shape[1]
    protocol |= {"splits": f"{splits} of {size} images; the score grows with the size of a split"}
    warnings = []
    if classes == 1:
        warnings.append("one class: the score is 1 whatever the images; measure a split of several classes")
    elif size < classes:
        warnings.append(
            f"splits of {size} images over {classes} classes: no split can score more than {size}; compare splits "
            "of this size only, or the rows of one split"
        )
    told = [rows["generated"], rows["generated, one split"], rows["real, one split"]]
    return Result(told, rows["real"], protocol, warnings=warnings)


def class_probabilities(evaluator: "Evaluator") -> tuple["np.ndarray", "np.ndarray", dict[str, Any]]:
    """Of the generated images and of the real ones of the same captions (N, K) each, and the protocol."""
    from evaluation.features import colour_classes, imagenet_classes, species_classes

    network = evaluator.network  # first, which may say that there is none
    pairs = evaluator.pairs()
    if network is not None and evaluator.options.classes != "imagenet":
        found = evaluator.feature_sets
        generated, of_all, told = species_classes(pairs.real, found.reference, found.generated)
        return generated, of_all[pairs.indices], pairs.protocol | evaluator.extractor.protocol | told
    extractor = colour_classes(evaluator.part_classifier) if network is None else imagenet_classes(network)
    return (
        evaluator.generated_features(pairs, extractor),
        evaluator.features_of_real(pairs, extractor),
        pairs.protocol | extractor.protocol,
    )


METRIC = Metric("is", "Inception Score (higher is better)", fixed(2), ("images", "feature_network"), measure)
