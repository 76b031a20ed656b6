"""retrieval: of real pictures and captions, both ways; a measure of the encoder, no generator takes part."""

from typing import TYPE_CHECKING

from evaluation.registry import Metric
from evaluation.result import Result, Row, percent, scored

if TYPE_CHECKING:
    from evaluation.evaluator import Evaluator


def measure(evaluator: "Evaluator") -> Result:
    import numpy as np

    from evaluation.batches import collect
    from evaluation.pairs import choose
    from metrics.retrieval import retrieval

    options, encoder = evaluator.options, evaluator.encoder
    pictures = evaluator.captioned(options.split, encoder.config.image_size)
    indices = choose(len(pictures), min(options.samples or len(pictures), len(pictures)), options.seed)
    captions = [caption for i in indices for caption in pictures.captions[i]]
    picture_of = np.repeat(np.arange(len(indices)), [len(pictures.captions[i]) for i in indices])
    images = collect(evaluator.image_encoder.function, evaluator.pictures_of(pictures, indices))
    found = scored(retrieval, images, evaluator.sentence_features(captions), picture_of)
    rows = [
        Row(f"{way}, recall@{k}", value)
        for way, of_way in (
            ("caption finds its picture", found.text_to_picture),
            ("picture finds a caption of its own", found.picture_to_text),
        )
        for k, value in of_way.items()
    ]
    protocol = {
        "set": evaluator.set_name,
        "split": options.split,
        "pictures": len(indices),
        "captions": len(captions),
        "ranked by": "cosine of global features, all of them candidates",
        "encoder": evaluator.model_entry("encoder"),
    }
    return Result(rows, None, protocol, chance=1 / len(indices))


TITLE = "retrieval of real pictures and captions (higher is better)"
METRIC = Metric("retrieval", TITLE, percent, ("encoder",), measure)
