"""retrieval: of real pictures and captions, both ways; a measure of the encoder, no generator takes part.

With --from transcript one caption a picture is spoken, and what the recogniser hears takes its place.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evaluation.registry import Metric
from evaluation.result import Result, Row, percent, scored

if TYPE_CHECKING:
    import numpy as np

    from evaluation.evaluator import Evaluator
    from metrics.retrieval import Retrieval

KS = (1, 5, 10)


def measure(evaluator: "Evaluator") -> Result:
    import numpy as np

    from evaluation.batches import collect
    from evaluation.pairs import draw_pairs

    options, encoder = evaluator.options, evaluator.encoder
    pictures = evaluator.captioned(options.split, encoder.config.image_size)
    pairs = draw_pairs(pictures, min(options.samples or len(pictures), len(pictures)), options.seed)
    indices, spoken = pairs.indices, options.source == "transcript"
    images = collect(evaluator.image_encoder.function, evaluator.pictures_of(pictures, indices))
    protocol: dict[str, Any] = {"set": evaluator.set_name, "split": options.split, "pictures": len(indices)}
    if spoken:
        heard, told = evaluator.spoken(pairs.captions)
        of_each = np.arange(len(indices))
        written = _rows("caption", found_of(evaluator, images, pairs.captions, of_each))
        rows = _rows("transcript", found_of(evaluator, images, heard, of_each))
        rows += [Row(f"as written: {row.name}", row.value) for row in written]
        protocol |= {
            "captions": len(indices),
            "text": "one caption a picture, drawn by the seed and spoken",
        } | told
    else:
        captions = [caption for i in indices for caption in pictures.captions[i]]
        of_each = np.repeat(np.arange(len(indices)), [len(pictures.captions[i]) for i in indices])
        rows = _rows("caption", found_of(evaluator, images, captions, of_each), "a caption of its own")
        protocol["captions"] = len(captions)
    protocol |= {
        "ranked by": "cosine of global features, all of them candidates",
        "encoder": evaluator.model_entry("encoder"),
    }
    return Result(rows, None, protocol, chance=1 / len(indices), parts=_chances(of_each))


def found_of(
    evaluator: "Evaluator", images: "np.ndarray", texts: Sequence[str], picture_of: "np.ndarray"
) -> "Retrieval":
    from metrics.retrieval import retrieval

    return scored(retrieval, images, evaluator.sentence_features(texts), picture_of, KS)


def _rows(what: str, found: "Retrieval", own: str = "") -> list[Row]:
    ways = (
        (f"{what} finds its picture", found.text_to_picture),
        (f"picture finds {own or f'its {what}'}", found.picture_to_text),
    )
    return [Row(f"{way}, recall@{k}", value) for way, of_way in ways for k, value in of_way.items()]


def _chances(picture_of: "np.ndarray") -> dict[str, dict[str, float]]:
    from metrics.retrieval import chance

    ways = zip(("to the picture", "from the picture"), chance(picture_of, KS), strict=True)
    return {f"chance, {way}": {f"recall@{k}": value for k, value in of_way.items()} for way, of_way in ways}


TITLE = "retrieval of real pictures and captions (higher is better)"
METRIC = Metric("retrieval", TITLE, percent, ("encoder", "texts"), measure)
