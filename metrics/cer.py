"""Character error rate of a corpus."""

from collections.abc import Sequence

import jiwer

from metrics.error_rates import ErrorRate, error_rate


def character_error_rate(
    references: Sequence[str],
    hypotheses: Sequence[str],
    seed: int = 0,
    speakers: Sequence[str] | None = None,
) -> ErrorRate:
    """As `word_error_rate`, of characters; a space counts as one."""
    return error_rate(references, hypotheses, jiwer.process_characters, len, seed, speakers)
