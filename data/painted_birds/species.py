"""Species of painted birds: a colour for each of the six parts, and marks that are independent of the colours."""

import numpy as np

from data.painted_birds.grammar import BILLS, COLOURS, PARTS, Marks


def species_list(seed: int, train: int, test: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Part colours of `train` training and `test` test species, every combination once.

    A test species depends on the seed and its index alone, so another number of training species changes no test
    picture.
    """
    seen: set[tuple[str, ...]] = set()
    splits = []
    for stream, count in ((1, test), (0, train)):
        species = []
        for index in range(count):
            rng = np.random.default_rng([seed, 10 + stream, index])
            colours = _combination(rng)
            while tuple(colours.values()) in seen:
                colours = _combination(rng)
            seen.add(tuple(colours.values()))
            species.append(colours)
        splits.append(species)
    return splits[1], splits[0]


def _combination(rng: np.random.Generator) -> dict[str, str]:
    """Six part colours from a palette of three to five, as plumage has; every colour is equally likely anywhere."""
    size = int(rng.choice((3, 4, 5), p=(0.35, 0.4, 0.25)))
    palette = rng.permutation(len(COLOURS))[:size]
    while True:
        colours = {part: COLOURS[palette[rng.integers(size)]] for part in PARTS}
        # neighbours mostly differ, or the parts could not be told apart
        alike = (colours["wings"] == colours["body"]) + (colours["belly"] == colours["body"])
        alike += colours["bill"] == colours["head"]
        if alike == 0 or (alike == 1 and rng.random() < 0.3):
            return colours


def species_marks(seed: int, stream: int, species: int) -> Marks:
    """The marks of a species: independent of its colours, and of each other. `stream` as of `make_scene`."""
    rng = np.random.default_rng([seed, 30 + stream, species])
    return Marks(
        bill=str(rng.choice(BILLS, p=(0.4, 0.2, 0.2, 0.2))),
        long_tail=bool(rng.random() < 0.4),
        wing_bars=bool(rng.random() < 0.35),
        eye_ring=bool(rng.random() < 0.3),
        streaks=bool(rng.random() < 0.25),
        crest=bool(rng.random() < 0.25),
    )
