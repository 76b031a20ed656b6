"""Estimating n-gram models from texts: interpolated Kneser-Ney with three discounts.

Kneser and Ney 1995; Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1998, Sec. 3.
"""

from collections.abc import Sequence

import numpy as np

from asr.language_model import SMALLEST, Table


def estimate(
    texts: Sequence[Sequence[int]], items: int, order: int, base: np.ndarray, threshold: float = 0.0
) -> list[Table]:
    """Texts of items 1 to `items` - 1 (0 is a text's beginning and end) -> the tables of `asr.language_model.Ngrams`.

    base (items,): what the order below the first gives to each; only pruning asks for it. An n-gram is left out where
    it adds less than `threshold` nats to the log probability of all texts (Seymore and Rosenfeld, "Scalable backoff
    language models", 1996).
    """
    rows, counts, adjusted, suffixes, parents = _count(texts, items, order)
    probabilities: list[np.ndarray] = []  # of every n-gram, by order
    discounted: list[np.ndarray] = []
    keep = [np.ones(items, bool)]
    for n in range(order):
        kept = np.maximum(adjusted[n] - _discounts(adjusted[n]), 0.0)
        total = np.bincount(parents[n], adjusted[n])
        own = kept / np.maximum(total, 1.0)[parents[n]]
        rest = 1.0 - np.bincount(parents[n], own)
        lower = rest[parents[n]] * (base if n == 0 else probabilities[n - 1][suffixes[n]])
        probabilities.append(own + lower)
        discounted.append(own)
        if n:
            gain = counts[n] * np.log(np.maximum(own + lower, SMALLEST) / np.maximum(lower, SMALLEST))
            keep.append((own > 0) & (gain >= threshold))
    for n in range(order - 1, 1, -1):  # what a longer one continues stays
        keep[n - 1][parents[n][keep[n]]] = True
    tables = [(np.arange(items), discounted[0], np.array([items]))]
    for n in range(1, order):
        followers = np.bincount(parents[n][keep[n]], minlength=len(keep[n - 1]))[keep[n - 1]]
        tables.append((rows[n][keep[n]], discounted[n][keep[n]], followers))
    return tables


def _count(texts: Sequence[Sequence[int]], items: int, order: int) -> tuple[list[np.ndarray], ...]:
    """By order, a row for each n-gram, sorted: its last item, how often it occurs, the count that Kneser-Ney estimates
    from, the row of order n - 1 of all but its first item, and that of all but its last."""
    stream = np.concatenate([[0, *text, 0] for text in texts]).astype(np.int64)
    lengths = np.array([len(text) + 2 for text in texts])
    ends = np.cumsum(lengths)
    begins, end = np.zeros(len(stream), bool), np.repeat(ends, lengths)
    begins[ends - lengths] = True
    row = stream  # of the n-gram that begins at each place
    last, counts = [np.arange(items)], [np.bincount(stream, minlength=items)]
    adjusted, suffixes, parents = [], [np.zeros(0, np.int64)], [np.zeros(items, np.int64)]
    first_places = [np.zeros(0, np.int64)]
    for n in range(1, order):
        places = np.flatnonzero(np.arange(len(stream)) + n < end)
        unique, first, inverse, count = np.unique(
            row[places] * items + stream[places + n],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        first = places[first]
        suffix = row[first + 1]
        # a lower order counts the different items before it, and only those at a text's beginning as they are
        before = np.bincount(suffix, minlength=len(last[-1]))
        at_start = begins[first_places[-1]]
        before[: len(at_start)][at_start] = counts[-1][: len(at_start)][at_start]
        adjusted.append(before)
        last.append(unique % items)
        parents.append(unique // items)
        suffixes.append(suffix)
        counts.append(count)
        first_places.append(first)
        row = np.full(len(stream), -1)
        row[places] = inverse
    return last, counts, [*adjusted, counts[-1]], suffixes, parents


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken of each count: three values, for 1, 2 and more, from how many n-grams occur once to four times."""
    once, twice, thrice, four = (max(int((counts == k).sum()), 1) for k in (1, 2, 3, 4))
    y = once / (once + 2 * twice)
    values = np.array([0, 1 - 2 * y * twice / once, 2 - 3 * y * thrice / twice, 3 - 4 * y * four / thrice])
    # small or artificial texts may give values out of range
    return np.clip(values, [0, 0.1, 0.1, 0.1], [0, 1, 2, 3])[np.minimum(counts, 3)]
