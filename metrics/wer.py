"""Word error rate of a corpus."""

from collections.abc import Sequence

import jiwer

from metrics.error_rates import ErrorRate, error_rate


def word_error_rate(
    references: Sequence[str],
    hypotheses: Sequence[str],
    seed: int = 0,
    speakers: Sequence[str] | None = None,
) -> ErrorRate:
    """Texts, one hypothesis a reference, both normalised -> corpus WER, its interval over `speakers` where they are
    told. Raises ValueError without a word of reference."""
    return error_rate(
        references, hypotheses, jiwer.process_words, lambda text: len(text.split()), seed, speakers
    )
