"""A metric in one file: how sharp images are, as the variance of their Laplacian (Pech-Pacheco et al., ICPR 2000).

    from evaluation import command
    import examples.metric_sharpness  # which registers it

    command.main(["--metric", "sharpness", "--samples", "100"])

A metric of the project is the same in two files: the score as a pure function in `metrics/`, the declaration in
`evaluation/measures/`, and its line there in `__init__.py`.
"""

import numpy as np

from evaluation.evaluator import Evaluator
from evaluation.registry import Metric, register
from evaluation.result import Result, Row, fixed


def laplacian_variance(images: np.ndarray) -> np.ndarray:
    """images (N, 3, H, W) in [-1, 1] -> (N,), the variance of the second differences of the grey image."""
    grey = images.mean(axis=1)  # (N, H, W)
    centre = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (around - 4 * centre).var(axis=(1, 2))


def measure(evaluator: Evaluator) -> Result:
    pairs = evaluator.pairs()
    rows = []
    for name, batches in (
        ("generated", evaluator.generated_images(pairs)),
        ("real", evaluator.real_images(pairs)),
    ):
        values = np.concatenate([laplacian_variance(batch.cpu().double().numpy()) for batch in batches])
        rows.append(
            Row(name, float(values.mean()), {"std": float(values.std()), "of": f"{len(values)} images"})
        )
    return Result(rows[:1], rows[1], pairs.protocol)


register(Metric("sharpness", "sharpness (as real ones is best)", fixed(4), ("images",), measure))
