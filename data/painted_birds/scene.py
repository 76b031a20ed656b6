"""Scenes of painted birds: everything about a picture but the colours of its bird.

A scene is a pure function of (seed, species, picture), so any picture can be made alone and comes out the same. A frame
is WIDTH x HEIGHT whatever its size in pixels: every length is in pixels of scale 1, and multiplied at the end.
"""

from dataclasses import dataclass, field

import numpy as np

from data.painted_birds.grammar import Marks
from data.painted_birds.species import species_marks

WIDTH, HEIGHT = 208, 176  # pixels at scale 1; CUB's crop of 1.5 times the box is then about 160 pixels wide
SCALES = (1, 2, 4)  # for training at up to 128, 256 and 512 px
BIRD = (102.0, 113.0)  # pixels, range of the longer side of the bounding box
POSES = ("perched", "standing", "swimming", "flying")


@dataclass(frozen=True)
class Scene:
    """Everything about a picture but the colours of its bird. Lengths in pixels, angles in degrees."""

    pose: str
    faces_left: bool
    tilt: float  # of the body, positive raises the bill
    size: float  # longer side of the bounding box
    centre: tuple[float, float]  # of the bounding box
    backdrop: str  # "sky", "leaves", "meadow" or "water"
    light: tuple[float, float, float]  # gain of red, green and blue
    shape: dict[str, float] = field(default_factory=dict)  # proportions of the bird, 1 is the middle
    marks: Marks = Marks()
    seed: tuple[int, ...] = (0,)  # of texture and of details of the background


def make_scene(seed: int, stream: int, species: int, picture: int) -> Scene:
    """The scene of one picture. `stream` is 0 for training and 1 for test species, so that both count from zero."""
    rng = np.random.default_rng([seed, stream, species, picture])
    pose = str(rng.choice(POSES, p=(0.4, 0.22, 0.16, 0.22)))
    backdrops = {
        "perched": ("leaves", "leaves", "sky", "meadow"),
        "standing": ("meadow", "meadow", "leaves", "sky"),
        "swimming": ("water",),
        "flying": ("sky", "sky", "leaves", "meadow"),
    }[pose]
    tilts = {"perched": (8, 26), "standing": (-2, 16), "swimming": (-2, 8), "flying": (-8, 20)}
    size = rng.uniform(*BIRD)
    warmth, gain = rng.normal(0, 0.02), rng.uniform(0.95, 1.04)
    kind = np.random.default_rng([seed, stream, species])  # the build of a species is its own, too
    shape = {
        name: float(np.clip(1 + kind.normal(0, wide) + rng.normal(0, 0.03), 1 - 2.2 * wide, 1 + 2.2 * wide))
        for name, wide in (
            ("bill", 0.1),
            ("bill_height", 0.08),
            ("tail", 0.05),
            ("plump", 0.05),
            ("head", 0.035),
        )
    }
    return Scene(
        pose=pose,
        faces_left=bool(rng.integers(2)),
        tilt=float(rng.uniform(*tilts[pose])),
        size=float(size),
        centre=(WIDTH / 2 + rng.uniform(-9, 9), HEIGHT / 2 + rng.uniform(-5, 5)),
        backdrop=backdrops[int(rng.integers(len(backdrops)))],
        light=(float(gain * (1 + warmth)), float(gain), float(gain * (1 - warmth))),
        shape=shape,
        marks=species_marks(seed, stream, species),
        seed=(seed, stream, species, picture),
    )
