"""The metrics of `evaluate.py`, a file each: what it needs, how it is shown, and how it is measured.

The score itself is a pure function in `metrics/`. A new metric is a new file here and its line below.
"""

from evaluation.measures import (
    cer,
    colour_edits,
    confidence,
    coverage,
    fid,
    inception_score,
    invented,
    kid,
    part_colours,
    r_precision,
    real_part_colours,
    retrieval,
    stage_agreement,
    variety,
    wer,
    whole_birds,
)

BUILT_IN = (
    inception_score.METRIC,
    fid.METRIC,
    kid.METRIC,
    coverage.METRIC,
    r_precision.METRIC,
    retrieval.METRIC,
    part_colours.METRIC,
    colour_edits.METRIC,
    stage_agreement.METRIC,
    whole_birds.METRIC,
    real_part_colours.METRIC,
    variety.METRIC,
    wer.METRIC,
    cer.METRIC,
    confidence.METRIC,
    invented.METRIC,
)
