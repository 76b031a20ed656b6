"""Stage agreement: does each stage of a painter keep what the stages before it have decided?"""

from typing import NamedTuple

import numpy as np

from metrics.bootstrap import Interval, ratio_interval


class StageAgreement(NamedTuple):
    """Of every stage before the last, first to last."""

    values: list[float]  # named parts that are read alike in its picture and in the last one
    intervals: list[Interval]  # 95 %, over pictures
    named: int


def stage_agreement(read: np.ndarray, named: np.ndarray, seed: int = 0) -> StageAgreement:
    """read: colour ids in the pictures of each stage (S, N, P); named: (N, P) bool, the parts that the captions name.

    Raises ValueError for shapes that do not fit, a single stage, or where nothing is named.
    """
    read, named = np.asarray(read), np.asarray(named, bool)
    if read.ndim != 3 or len(read) < 2 or read.shape[1:] != named.shape:
        raise ValueError(f"readings of shape {read.shape} of parts {named.shape}: two stages or more expected")
    if not named.any():
        raise ValueError("no caption names the colour of a part")
    alike = named & (read[:-1] == read[-1])  # (S - 1, N, P)
    return StageAgreement(
        [float(stage.sum() / named.sum()) for stage in alike],
        [ratio_interval(stage.sum(axis=1), named.sum(axis=1), "pictures", seed=seed) for stage in alike],
        int(named.sum()),
    )
