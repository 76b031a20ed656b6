"""Painted birds: pictures of birds drawn by code, so that the colour of every part is known.

A *species* is a colour for each of the six parts, and its marks: bill shape, wing bars, eye ring, streaks, crest. A
*scene* is everything else about one picture: pose, facing, size, proportions, light and background. `draw(colours,
scene)` is a pure function of the two, and a scene is a pure function of (seed, species, picture), so any picture can
be made alone and comes out the same.

Birds are built in their own coordinates (the body about one unit long, x towards the bill, y down), painted larger
than the picture, reduced, and lit by the slope of their blurred silhouette, which makes them look round. A frame is
WIDTH x HEIGHT whatever its size in pixels: every length below is in pixels of `scale` 1, and multiplied at the end.
To add a part, add a `_stroke` to the function of `_anatomy` that owns the place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data.painted_birds.grammar import BILLS, COLOURS, PARTS, Marks, mark_colour

WIDTH, HEIGHT = 208, 176  # pixels at scale 1; CUB's crop of 1.5 times the box is then about 160 pixels wide
SCALES = (1, 2, 4)  # for training at up to 128, 256 and 512 px
BIRD = (102.0, 113.0)  # pixels, range of the longer side of the bounding box
FINE = 4  # the bird is painted this many times larger and reduced, half as many at larger scales

VERSION = 4  # raised when a change of this file or of captions.py changes a set

POSES = ("perched", "standing", "swimming", "flying")
RGB = {
    "red": (208, 32, 36),
    "orange": (245, 128, 24),
    "yellow": (252, 218, 50),
    "green": (48, 150, 66),
    "blue": (42, 96, 208),
    "purple": (124, 50, 164),
    "pink": (248, 146, 184),
    "brown": (118, 74, 42),
    "black": (32, 31, 36),
    "white": (246, 245, 240),
    "grey": (138, 141, 147),
}

Colours = Mapping[str, str]  # part -> colour name


# --- species ---------------------------------------------------------------------------------------------------


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
    """The marks of a species: independent of its colours, and of each other. `stream` as of `scene`."""
    rng = np.random.default_rng([seed, 30 + stream, species])
    return Marks(
        bill=str(rng.choice(BILLS, p=(0.4, 0.2, 0.2, 0.2))),
        long_tail=bool(rng.random() < 0.4),
        wing_bars=bool(rng.random() < 0.35),
        eye_ring=bool(rng.random() < 0.3),
        streaks=bool(rng.random() < 0.25),
        crest=bool(rng.random() < 0.25),
    )


# --- scenes ----------------------------------------------------------------------------------------------------


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


def scene(seed: int, stream: int, species: int, picture: int) -> Scene:
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


# --- anatomy ---------------------------------------------------------------------------------------------------


@dataclass
class _Stroke:
    """One thing to paint: a filled outline, a line or a dot, in the bird's coordinates, later in pixels."""

    kind: str  # "fill", "line", "dot"
    ink: str  # a part, or "eye", "shine", "ring", "bar", "leg"
    points: np.ndarray  # (N, 2)
    shade: float = 1.0  # of the ink
    width: float = 0.0  # of a line or dot, in units
    layer: str = ""  # of the relief: "wing", "head" or "" for the rest
    outlined: bool = True


def _anatomy(scene: Scene, rng: np.random.Generator) -> tuple[list[_Stroke], float]:
    """Strokes in painting order, in units, turned by the tilt; and the height of the ground or water line."""
    s, marks = scene.shape, scene.marks
    flying, swimming = scene.pose == "flying", scene.pose == "swimming"
    plump = s.get("plump", 1.0)
    tail_length = s.get("tail", 1.0) * (1.24 if marks.long_tail else 0.84)
    tail = _tail(tail_length, spread=1.7 if flying else 1.0, lift=0.16 if swimming else 0.0)
    trunk = _trunk(plump, marks.streaks, rng)
    head = _head(s, marks, rng)
    far_wing, near_wing = [], _folded_wing(plump, marks.wing_bars, rng)
    if flying:
        raised = rng.uniform(54, 78)
        far_wing = _raised_wing(raised + 27, far=True, bars=marks.wing_bars)
        near_wing = _raised_wing(raised, far=False, bars=marks.wing_bars)
    body_turn = -scene.tilt
    head_turn = body_turn * 0.35  # a bird keeps its head level
    for stroke in tail + trunk + far_wing + near_wing:
        stroke.points = _turn(stroke.points, body_turn, (0.0, 0.0))
    neck = np.array((0.33, -0.27))
    shift = _turn(neck[None], body_turn, (0.0, 0.0))[0] - neck
    for stroke in head:
        stroke.points = _turn(stroke.points, head_turn, neck) + shift
    ground = 0.0
    legs: list[_Stroke] = []
    if scene.pose in ("perched", "standing"):
        legs, ground = _legs(body_turn, plump, 0.11 if scene.pose == "perched" else 0.2, rng)
    elif swimming:
        ground = max(float(stroke.points[:, 1].max()) for stroke in trunk) - 0.08
    else:
        legs = _tucked_legs(body_turn, plump)
    return far_wing + tail + legs + trunk + near_wing + head, ground


def _trunk(plump: float, streaks: bool, rng: np.random.Generator) -> list[_Stroke]:
    # clockwise from the nape: along the breast and belly to the vent, and back over the rump
    back = [(-0.52, -0.04), (-0.36, -0.17), (-0.1, -0.28), (0.16, -0.34)]
    front = [
        (0.34, -0.32),
        (0.47, -0.12),
        (0.47, 0.06),
        (0.33, 0.23),
        (0.08, 0.31),
        (-0.2, 0.25),
        (-0.45, 0.09),
    ]
    outline = np.array(front + back) * (1, plump)
    body = _smooth(outline)
    # the belly follows the lower outline and closes with a line along the flank
    flank = [(-0.41, 0.08), (-0.22, 0.13), (0.03, 0.13), (0.24, 0.07), (0.37, -0.02)]
    lower = _smooth(outline)[8 * 1 + 5 : 8 * 6 + 3] * (0.995, 0.995)
    belly = np.concatenate([lower, _curve(np.array(flank) * (1, plump))])
    strokes = [_Stroke("fill", "body", body), *_down("body", body, 34, 0.045, rng)]
    strokes += [_Stroke("fill", "belly", belly), *_down("belly", belly, 22, 0.04, rng)]
    if streaks:
        for x, y in ((0.36, 0.08), (0.25, 0.12), (0.29, 0.2), (0.15, 0.17), (0.18, 0.25), (0.04, 0.19), (0.07, 0.27),
                     (-0.07, 0.18), (-0.05, 0.26), (-0.18, 0.17), (-0.17, 0.235), (-0.28, 0.14)):  # fmt: skip
            at = np.array((x, y)) * (1, plump) + rng.normal(0, 0.008, 2)
            drop = np.array([(0.012, -0.03), (0.0, 0.0), (-0.016, 0.03)])
            strokes.append(_Stroke("line", "belly", at + drop, 0.5, 0.026, outlined=False))
    return strokes


def _down(ink: str, area: np.ndarray, count: int, size: float, rng: np.random.Generator) -> list[_Stroke]:
    """Small feather tips strewn over an area."""
    middle = area.mean(axis=0)
    where = middle + (area[rng.integers(len(area), size=count)] - middle) * np.sqrt(
        rng.uniform(0.02, 0.74, (count, 1))
    )
    arc = np.array([(0.35, -0.5), (-0.3, -0.4), (-0.5, 0.0), (-0.3, 0.4), (0.35, 0.5)])
    tones = np.where(rng.random(count) < 0.55, 0.87, 1.11)
    return [
        _Stroke("line", ink, w + size * arc, t, 0.012, outlined=False)
        for w, t in zip(where, tones, strict=True)
    ]


_BILL = {  # length, height, and how far the tip turns down
    "straight": (1.0, 1.0, 0.0),
    "cone": (0.74, 1.3, 0.0),
    "dagger": (1.42, 0.84, 0.0),
    "hooked": (0.95, 1.12, 0.085),
}


def _head(shape: Mapping[str, float], marks: Marks, rng: np.random.Generator) -> list[_Stroke]:
    longer, higher, hook = _BILL[marks.bill]
    k, long, high = (
        shape.get("head", 1.0),
        shape.get("bill", 1.0) * longer,
        shape.get("bill_height", 1.0) * higher,
    )
    c = np.array((0.36, -0.36))
    face = [(0.585, -0.37), (0.53, -0.52), (0.38, -0.6), (0.21, -0.53), (0.12, -0.36), (0.1, -0.22)]
    bib = [(0.2, -0.15), (0.36, -0.11), (0.5, -0.17), (0.565, -0.27)]
    skull = c + (_smooth(np.array(face + bib)) - c) * k
    root, tip = np.array((0.53, -0.375)), np.array((0.545 + 0.32 * long, -0.33))
    h = 0.122 * high
    upper = _curve(
        np.array([root + (0, -h), root + (0.12 * long, -0.92 * h), tip + (-0.07, -0.45 * h), tip + (0, hook)])
    )
    lower = _curve(
        np.array([tip + (-0.05, 0.1 * h + 0.4 * hook), tip + (-0.11 * long, 0.62 * h), root + (0.03, h)])
    )
    gape = np.array([tip + (-0.04, 0.0), root + (0.12, 0.015), root + (0.02, 0.01)])
    strokes = [
        _Stroke("fill", "bill", np.concatenate([upper, lower, root[None]])),
        _Stroke("line", "bill", _curve(gape), 0.62, 0.016, outlined=False),
        *(_crest(k) if marks.crest else []),
        _Stroke("fill", "head", skull, layer="head"),
    ]
    strokes += _down("head", skull, 12, 0.035, rng)
    eye = c + np.array((0.1, -0.055)) * k
    strokes += [
        _Stroke("dot", "ring", eye[None], 1.0, 0.084 if marks.eye_ring else 0.056),
        _Stroke("dot", "eye", eye[None], 1.0, 0.046),
        _Stroke("dot", "shine", eye[None] + (0.014, -0.017), 1.0, 0.015),
    ]
    return strokes


def _crest(size: float) -> list[_Stroke]:
    tips = ((-0.02, -0.62), (0.05, -0.72), (0.15, -0.78))
    roots = ((0.2, -0.46), (0.26, -0.5), (0.33, -0.52))
    return [
        _feather("head", np.array(root), np.array(root) + (np.array(tip) - root) * size, 0.05, -0.03, 0.9 + 0.05 * i,
                 "head")
        for i, (root, tip) in enumerate(zip(roots, tips, strict=True))
    ]  # fmt: skip


def _tail(long: float, spread: float, lift: float) -> list[_Stroke]:
    root = np.array((-0.38, -0.05))
    strokes = []
    for turn, shade in ((7.0, 0.88), (-7.0, 0.94), (0.0, 1.0)):
        tip = _turn(np.array([(-0.38 - 0.52 * long, 0.1 - lift)]), turn * spread, root)[0]
        strokes.append(_feather("tail", root, tip, 0.088, bend=0.02, shade=shade))
        strokes.append(
            _Stroke("line", "tail", np.array([root * 0.4 + tip * 0.6, root * 0.05 + tip * 0.95]), 0.8, 0.01)
        )
    return strokes


def _folded_wing(plump: float, bars: bool, rng: np.random.Generator) -> list[_Stroke]:
    droop = rng.uniform(-0.02, 0.03)
    strokes = []
    # flight feathers from below upwards, so that each covers the one beneath
    for i in range(5):
        root = np.array((0.1 - 0.05 * i, -0.02 - 0.035 * i))
        tip = np.array((-0.24 - 0.085 * i, 0.145 - 0.035 * i + droop))
        strokes.append(_feather("wings", root, tip, 0.062, bend=-0.03, shade=0.9 + 0.035 * i, layer="wing"))
    coverts = [
        (0.3, -0.06),
        (0.24, 0.05),
        (0.1, 0.105),
        (-0.03, 0.07),
        (-0.13, 0.06),
        (-0.21, 0.0),
        (-0.31, -0.03),
    ]
    coverts += [(-0.28, -0.1), (-0.1, -0.17), (0.1, -0.2), (0.25, -0.16)]
    strokes.append(_Stroke("fill", "wings", _smooth(np.array(coverts)) * (1, plump), 1.03, layer="wing"))
    for x, y, n in ((0.17, -0.1, 3), (0.06, -0.125, 4), (-0.06, -0.125, 4)):
        for i in range(n):
            strokes.append(_scallop("wings", (x - 0.03 * i, y + 0.058 * i), 0.062))
    if bars:
        for bar in (
            [(0.05, -0.17), (0.07, -0.06), (0.0, 0.065)],
            [(-0.13, -0.145), (-0.1, -0.05), (-0.15, 0.045)],
        ):
            strokes.append(_Stroke("line", "bar", _curve(np.array(bar)), 1.0, 0.05, "wing", outlined=False))
    for stroke in strokes:  # a little lower and further back, so that the back is well seen
        stroke.points = stroke.points * (0.9, 0.8) + (-0.04, 0.03)
    return strokes


def _scallop(ink: str, at: tuple[float, float], size: float) -> _Stroke:
    arc = np.array([(0.45, -0.5), (-0.2, -0.45), (-0.5, 0.0), (-0.2, 0.45), (0.45, 0.5)])
    return _Stroke("line", ink, np.array(at) + size * arc, 0.78, 0.014, layer="wing", outlined=False)


def _raised_wing(raised: float, far: bool, bars: bool) -> list[_Stroke]:
    """A wing held up, its arm `raised` degrees above the tail, and its flight feathers fanned backwards."""
    dim = 0.82 if far else 1.0
    shoulder = np.array((0.2, -0.17)) + ((0.1, -0.05) if far else (0.0, 0.0))
    arm = _turn(np.array([(-0.38, 0.0)]), raised, (0, 0))[0]
    wrist = shoulder + arm * (0.95 if far else 1.0)
    strokes = []
    count = 8
    for i in range(count):  # from the body outwards
        t = i / (count - 1)
        root = shoulder + (wrist - shoulder) * min(1.0, 0.15 + t * 1.05)
        angle = raised * (0.12 + 0.9 * t)
        long = 0.36 + 0.2 * t if far else 0.4 + 0.2 * t
        tip = root + _turn(np.array([(-long, 0.0)]), angle, (0, 0))[0]
        strokes.append(
            _feather("wings", root, tip, 0.068, 0.025, dim * (0.9 + 0.03 * (i % 2) + 0.06 * t), "wing")
        )
    along = (wrist - shoulder) / np.linalg.norm(wrist - shoulder)
    across = np.array((along[1], -along[0]))  # towards the trailing edge
    if (across @ np.array((-1.0, 0.3))) < 0:
        across = -across
    edge = [
        (-0.1, 0.05),
        (-0.02, 0.2),
        (0.14, 0.21),
        (0.3, 0.17),
        (0.46, 0.1),
        (0.44, 0.0),
        (0.3, -0.055),
        (0.05, -0.07),
    ]
    coverts = shoulder + np.array([a * along + b * across for a, b in edge])
    strokes.append(_Stroke("fill", "wings", _smooth(coverts), dim * 1.03, layer="wing"))
    for a in (0.06, 0.18, 0.3):
        at = shoulder + a * along + 0.1 * across
        arc = np.array(
            [at - 0.05 * along, at - 0.035 * along + 0.05 * across, at + 0.035 * along + 0.05 * across]
        )
        strokes.append(
            _Stroke("line", "wings", np.concatenate([arc, [at + 0.05 * along]]), dim * 0.78, 0.014, "wing")
        )
    for b in (0.09, 0.18) if bars else ():
        bar = np.array([shoulder + a * along + (b - 0.1 * a) * across for a in (0.0, 0.2, 0.4)])
        strokes.append(_Stroke("line", "bar", bar, dim, 0.045, "wing", outlined=False))
    return strokes


def _legs(turn: float, plump: float, long: float, rng: np.random.Generator) -> tuple[list[_Stroke], float]:
    hips = _turn(np.array([(-0.03, 0.24), (0.13, 0.25)]) * (1, plump), turn, (0.0, 0.0))
    ground = float(hips[:, 1].max()) + 0.05 + long
    strokes = []
    for i, hip in enumerate(hips):
        knee = hip + (-0.02, (ground - hip[1]) * 0.45)
        foot = np.array((hip[0] + 0.02 + rng.uniform(-0.02, 0.02), ground))
        shade = 0.85 if i else 1.0
        strokes.append(_Stroke("line", "leg", np.array([hip, knee, foot]), shade, 0.034))
        for toe in ((0.085, 0.012), (0.05, 0.03), (-0.05, 0.012)):
            strokes.append(_Stroke("line", "leg", np.array([foot, foot + toe]), shade, 0.026))
    return strokes, ground


def _tucked_legs(turn: float, plump: float) -> list[_Stroke]:
    legs = [np.array([(-0.2, 0.22), (-0.36, 0.24)]), np.array([(-0.14, 0.25), (-0.31, 0.28)])]
    return [_Stroke("line", "leg", _turn(leg * (1, plump), turn, (0.0, 0.0)), 0.9, 0.03) for leg in legs]


def _feather(
    ink: str, root: np.ndarray, tip: np.ndarray, half: float, bend: float, shade: float, layer: str = ""
) -> _Stroke:
    """A long rounded feather of half width `half`, its spine bent sideways by `bend`."""
    t = np.linspace(0, 1, 9)[:, None]
    along = (tip - root) / np.linalg.norm(tip - root)
    across = np.array((-along[1], along[0]))
    spine = root + (tip - root) * t + across * (4 * bend * t * (1 - t))
    profile = half * np.sqrt(np.clip(1 - ((t - 0.55) / 0.58) ** 2, 0, 1)) ** 0.9
    outline = np.concatenate([spine + across * profile, (spine - across * profile)[::-1]])
    return _Stroke("fill", ink, _smooth(outline, 3), shade, layer=layer)


def _leaf(root: np.ndarray, tip: np.ndarray, half: float) -> np.ndarray:
    """Outline (N, 2) of a leaf, pointed at its tip."""
    t = np.linspace(0, 1, 12)[:, None]
    across = np.array((root[1] - tip[1], tip[0] - root[0])) / np.linalg.norm(tip - root)
    spine, profile = root + (tip - root) * t, half * np.sin(np.pi * t**0.75)
    return np.concatenate([spine + across * profile, (spine - across * profile)[::-1]])


def _turn(points: np.ndarray, degrees: float, about: Sequence[float] | np.ndarray) -> np.ndarray:
    """Points (N, 2) turned clockwise on the screen (y down)."""
    a = np.deg2rad(degrees)
    c, s = np.cos(a), np.sin(a)
    return (points - about) @ np.array([(c, s), (-s, c)]) + about


def _smooth(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """A closed Catmull-Rom curve through points (N, 2) -> (N * steps, 2)."""
    p = np.stack([np.roll(points, 1 - i, axis=0) for i in range(4)])  # (4, N, 2)
    return np.einsum("sk,knd->nsd", _basis(steps), p).reshape(-1, 2)


def _curve(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """An open Catmull-Rom curve through points (N, 2) -> ((N - 1) * steps + 1, 2)."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    p = np.stack([padded[i : i + len(points) - 1] for i in range(4)])
    return np.concatenate([np.einsum("sk,knd->nsd", _basis(steps), p).reshape(-1, 2), points[-1:]])


def _basis(steps: int) -> np.ndarray:
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    matrix = 0.5 * np.array([(0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)])
    return np.concatenate([t**0, t, t**2, t**3], axis=1) @ matrix


# --- painting --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placed:
    """The strokes of a bird in pixels, its box (x, y, width, height) and the line of ground or water."""

    strokes: list[_Stroke]
    box: tuple[float, float, float, float]
    ground: float
    unit: float  # pixels of one unit


def _place(scene: Scene) -> _Placed:
    rng = np.random.default_rng([*scene.seed, 1])
    strokes, ground = _anatomy(scene, rng)
    solid = [s for s in strokes if s.kind != "dot"]
    points = np.concatenate([s.points for s in solid])
    if scene.faces_left:
        for s in strokes:
            s.points = s.points * (-1, 1)
        points = points * (-1, 1)
    low, high = points.min(axis=0), points.max(axis=0)
    if scene.pose == "swimming":
        high[1] = min(high[1], ground)
    unit = scene.size / float((high - low).max())
    offset = np.array(scene.centre) - (low + high) / 2 * unit
    for s in strokes:
        s.points = s.points * unit + offset
    corner = np.floor(low * unit + offset).clip(0)
    far = np.minimum(np.ceil(high * unit + offset), (WIDTH, HEIGHT))
    box = (float(corner[0]), float(corner[1]), float(far[0] - corner[0]), float(far[1] - corner[1]))
    return _Placed(strokes, box, ground * unit + float(offset[1]), unit)


def bounding_box(scene: Scene, scale: int = 1) -> tuple[float, float, float, float]:
    """x, y, width and height of the bird in pixels of a picture of this scale, without painting it."""
    return _scaled(_place(scene).box, scale)


def _scaled(box: tuple[float, float, float, float], scale: int) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x * scale, y * scale, width * scale, height * scale


def draw(
    colours: Colours, scene: Scene, scale: int = 1
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The picture (WIDTH * scale x HEIGHT * scale, RGB) and the bird's box (x, y, width, height) in its pixels."""
    placed = _place(scene)
    rng = np.random.default_rng([*scene.seed, 2])
    picture = _backdrop(scene, placed, scale, rng)  # (H, W, 3), 0 to 1
    inks = _inks(colours, rng)
    bird, alpha = _paint_bird(placed, inks, scale, rng)  # (H, W, 3) premultiplied, (H, W, 1)
    if scene.pose == "swimming":
        picture = _float_on_water(picture, bird, alpha, placed.ground, scale, rng)
    else:
        picture = picture * (1 - alpha) + bird
    picture = picture * np.array(scene.light, np.float32)
    return Image.fromarray((picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)), _scaled(placed.box, scale)


def _inks(colours: Colours, rng: np.random.Generator) -> dict[str, np.ndarray]:
    inks = {}
    for part in PARTS:
        base = np.array(RGB[colours[part]], np.float32)
        inks[part] = (base * (1 + rng.normal(0, 0.035)) + rng.normal(0, 4, 3)).clip(8, 252)
    inks["leg"] = np.array(((196, 130, 80), (110, 84, 74), (90, 90, 100))[rng.integers(3)], np.float32)
    inks["eye"] = np.array((24, 18, 18), np.float32)
    inks["shine"] = np.array((255, 255, 255), np.float32)
    for mark, part in (("ring", "head"), ("bar", "wings")):  # softened towards the part
        inks[mark] = 0.2 * inks[part] + 0.8 * np.array(RGB[mark_colour(colours[part])], np.float32)
    return inks


def _tone(ink: np.ndarray, shade: float) -> tuple[int, int, int]:
    """A shade of an ink; on black a darker shade would not show, so it is a lighter one."""
    if ink.mean() < 60 and shade != 1:
        value = ink + 75 * abs(1 - shade)
    elif shade > 1:
        value = ink + (255 - ink) * (shade - 1) * 1.6
    else:
        value = ink * shade
    return tuple(int(v) for v in value.clip(0, 255))  # type: ignore[return-value]


def _paint_bird(placed: _Placed, inks: dict[str, np.ndarray], scale: int, rng: np.random.Generator):
    """The lit bird (H, W, 3), premultiplied by its coverage (H, W, 1), both 0 to 1."""
    points = np.concatenate([s.points for s in placed.strokes])
    x0, y0 = np.floor(points.min(axis=0)).astype(int) - 4
    x1, y1 = np.ceil(points.max(axis=0)).astype(int) + 4
    fine = FINE if scale == 1 else FINE // 2
    zoom = fine * scale
    size = ((x1 - x0) * zoom, (y1 - y0) * zoom)
    colour, cover, relief = Image.new("RGB", size), Image.new("L", size), Image.new("L", size)
    pen, mask, raise_ = ImageDraw.Draw(colour), ImageDraw.Draw(cover), ImageDraw.Draw(relief)
    for s in placed.strokes:
        ink = inks[s.ink]
        tone = _tone(ink, s.shade)
        at = (s.points - (x0, y0)) * zoom
        width = max(zoom // 2, round(s.width * placed.unit * zoom))
        if s.kind == "dot":
            (x, y), r = at[0], s.width * placed.unit * zoom
            pen.ellipse((x - r, y - r, x + r, y + r), fill=tone)
            continue
        path = at.ravel().tolist()
        if s.kind == "line":
            pen.line(path, fill=tone, width=width, joint="curve" if s.ink in ("leg", "bar") else None)
            if s.ink == "leg":
                mask.line(path, fill=255, width=width)
            continue
        pen.polygon(path, fill=tone)
        mask.polygon(path, fill=255)
        raise_.polygon(path, fill={"wing": 200, "head": 170}.get(s.layer, 110))
        if s.outlined:
            edge = _tone(ink, 0.66)
            closed = path + path[:4]
            pen.line(closed, fill=edge, width=round(1.25 * zoom))
            mask.line(closed, fill=255, width=round(1.25 * zoom))
    bird = np.asarray(colour.reduce(fine), np.float32) / 255
    alpha = np.asarray(cover.reduce(fine), np.float32)[..., None] / 255
    bird = _light_up(bird, alpha, relief.reduce(fine), scale, rng)
    width, height = WIDTH * scale, HEIGHT * scale
    whole, coverage = np.zeros((height, width, 3), np.float32), np.zeros((height, width, 1), np.float32)
    x0, y0, x1, y1 = x0 * scale, y0 * scale, x1 * scale, y1 * scale
    top, left, bottom, right = max(y0, 0), max(x0, 0), min(y1, height), min(x1, width)
    whole[top:bottom, left:right] = bird[top - y0 : bottom - y0, left - x0 : right - x0]
    coverage[top:bottom, left:right] = alpha[top - y0 : bottom - y0, left - x0 : right - x0]
    return whole, coverage


def _light_up(
    bird: np.ndarray, alpha: np.ndarray, relief: Image.Image, scale: int, rng: np.random.Generator
) -> np.ndarray:
    """Light from above, one side a little: the slope of the blurred relief is taken for the bird's own."""
    wide = np.asarray(relief.filter(ImageFilter.GaussianBlur(6 * scale)), np.float32) * scale
    near = np.asarray(relief.filter(ImageFilter.GaussianBlur(2 * scale)), np.float32) * scale
    down = np.gradient(wide, axis=0) * 0.022 + np.gradient(near, axis=0) * 0.006
    across = np.gradient(wide, axis=1) * 0.022 + np.gradient(near, axis=1) * 0.006
    side = rng.uniform(-0.5, 0.5)
    lit = (down + side * across)[..., None]  # above zero where it faces the light
    lit = np.tanh(lit * 1.6)
    shaded = bird * (1 + 0.26 * lit)
    return (shaded + alpha * 0.05 * lit.clip(0)).clip(0, alpha)


# --- backgrounds -----------------------------------------------------------------------------------------------

_SKY: tuple = (
    ((150, 190, 228), (214, 228, 236)),
    ((176, 196, 214), (232, 226, 216)),
    ((168, 204, 222), (236, 238, 230)),
)
_SKY += (((198, 190, 216), (244, 222, 206)),)
_LEAVES: tuple = (
    ((92, 124, 84), (140, 160, 108)),
    ((104, 132, 110), (176, 190, 150)),
    ((132, 140, 96), (184, 182, 132)),
)
_LEAVES += (((84, 112, 100), (132, 158, 132)),)
_FIELD = (
    ((150, 166, 108), (112, 140, 84)),
    ((178, 172, 122), (138, 142, 90)),
    ((164, 176, 132), (120, 146, 100)),
)
_WATER = (
    ((168, 196, 206), (104, 148, 168)),
    ((160, 184, 182), (100, 136, 136)),
    ((186, 200, 214), (120, 148, 178)),
)


def _backdrop(scene: Scene, placed: _Placed, scale: int, rng: np.random.Generator) -> np.ndarray:
    """Everything behind the bird and what it stands on, (H, W, 3) from 0 to 1."""
    horizon = {
        "standing": placed.ground - rng.uniform(18, 45),
        "swimming": placed.ground - rng.uniform(22, 50),
    }
    line = horizon.get(scene.pose, HEIGHT + 40.0)
    if scene.backdrop == "meadow" and scene.pose in ("perched", "flying"):
        line = rng.uniform(0.5, 0.85) * HEIGHT
    # the far background is out of focus, so a quarter of the size is enough
    small = Image.fromarray(
        _gradient(_choose(rng, _SKY if scene.backdrop in ("sky", "meadow") else _LEAVES), rng)
    )
    pen = ImageDraw.Draw(small, "RGBA")
    if scene.backdrop == "sky":
        _clouds(pen, rng)
    elif scene.backdrop == "meadow":
        _hills(pen, line / 4, rng)
    else:
        _foliage(pen, rng)
    small = small.filter(ImageFilter.GaussianBlur(rng.uniform(1.2, 2.6)))
    small = small.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BICUBIC)
    if scene.backdrop in ("leaves", "meadow") or rng.random() < 0.3:
        _bokeh(ImageDraw.Draw(small, "RGBA"), rng)
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 1.6)))
    picture = (
        np.asarray(small.resize((WIDTH * scale, HEIGHT * scale), Image.Resampling.BICUBIC), np.float32) / 255
    )
    if line < HEIGHT:
        tones = _WATER if scene.pose == "swimming" else _FIELD
        picture = _plain(picture, line, _choose(rng, tones), scene.pose, scale, rng)
    if scene.pose == "perched":
        picture = _branch(picture, placed, scale, rng)
    elif scene.pose == "standing":
        picture = _shadow(picture, placed, scale)
    return picture


def _choose(rng: np.random.Generator, options: Sequence):
    return options[int(rng.integers(len(options)))]


def _gradient(tones: tuple, rng: np.random.Generator) -> np.ndarray:
    """(H / 4, W / 4, 3) uint8, from one tone to another with soft patches of light."""
    h, w = HEIGHT // 4, WIDTH // 4
    top, bottom = (np.array(t, np.float32) + rng.normal(0, 6, 3) for t in tones)
    t = np.linspace(0, 1, h)[:, None, None] + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, w)[None, :, None]
    patches = Image.fromarray(rng.normal(0, 9, (4, 5)).astype(np.float32)).resize(
        (w, h), Image.Resampling.BICUBIC
    )
    return (top + (bottom - top) * t + np.asarray(patches)[..., None]).clip(0, 255).astype(np.uint8)


def _clouds(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, WIDTH / 4), rng.uniform(2, HEIGHT / 4)
        for _ in range(6):
            dx, dy, r = rng.normal(0, 7), rng.normal(0, 1.6), rng.uniform(2, 5)
            pen.ellipse(
                (x + dx - 1.6 * r, y + dy - r, x + dx + 1.6 * r, y + dy + r), fill=(250, 250, 250, 90)
            )


def _hills(pen: ImageDraw.ImageDraw, line: float, rng: np.random.Generator) -> None:
    for depth in (1.0, 0.5):
        x = np.arange(-2, WIDTH // 4 + 3)
        y = line - depth * (4 + 4 * np.sin(x / rng.uniform(5, 12) + rng.uniform(0, 6)))
        tone = np.array((128, 152, 132)) * (0.9 + 0.25 * depth) + rng.normal(0, 6, 3)
        ring = [*zip(x.tolist(), y.tolist(), strict=True), (WIDTH, HEIGHT), (-2, HEIGHT)]
        pen.polygon(ring, fill=(*(int(v) for v in tone.clip(0, 255)), 200))


def _foliage(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(26):
        x, y, r = rng.uniform(0, WIDTH / 4), rng.uniform(0, HEIGHT / 4), rng.uniform(2, 7)
        tone = np.array((112, 140, 92)) * rng.uniform(0.7, 1.35) + rng.normal(0, 8, 3)
        turn = rng.uniform(0, np.pi)
        along = np.array((np.cos(turn), np.sin(turn))) * r
        across = np.array((-along[1], along[0])) * 0.5
        leaf = np.array((x, y)) + np.stack([along, across, -along, -across])
        pen.polygon(_smooth(leaf, 4).ravel().tolist(), fill=(*(int(v) for v in tone.clip(0, 255)), 120))


def _bokeh(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(3, 9))):
        x, y, r = rng.uniform(0, WIDTH / 2), rng.uniform(0, HEIGHT / 2), rng.uniform(3, 10)
        tone = tuple(int(v) for v in (np.array((232, 236, 200)) + rng.normal(0, 14, 3)).clip(0, 255))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(*tone, int(rng.integers(40, 100))))


def _plain(
    picture: np.ndarray, line: float, tones: tuple, pose: str, scale: int, rng: np.random.Generator
) -> np.ndarray:
    """Grass or water from `line` down to the lower edge."""
    y = np.arange(HEIGHT * scale, dtype=np.float32)[:, None] / scale
    cover = (0.5 + 0.5 * np.tanh((y - line) / (2.0 if pose == "swimming" else 5.0)))[..., None]
    depth = ((y - line) / (HEIGHT - line)).clip(0, 1)[..., None]
    far, near = (np.array(t, np.float32) + rng.normal(0, 5, 3) for t in tones)
    ground = (far + (near - far) * depth) / 255
    stretch = (14, 3) if pose == "swimming" else (3, 9) if pose == "standing" else (6, 6)
    coarse = Image.fromarray(rng.normal(0, 1, (HEIGHT // stretch[1], WIDTH // stretch[0])).astype(np.float32))
    grain = np.asarray(coarse.resize((WIDTH * scale, HEIGHT * scale), Image.Resampling.BICUBIC))[..., None]
    ground = ground * (1 + grain * (0.05 if pose == "swimming" else 0.045) * (0.3 + 0.7 * depth))
    return (picture * (1 - cover) + ground * cover).astype(np.float32)


def _branch(picture: np.ndarray, placed: _Placed, scale: int, rng: np.random.Generator) -> np.ndarray:
    """A branch under the feet, with a few leaves."""
    fine = 3 if scale == 1 else 2
    k = fine * scale
    colour, cover = Image.new("RGB", (WIDTH * k, HEIGHT * k)), Image.new("L", (WIDTH * k, HEIGHT * k))
    pen, mask = ImageDraw.Draw(colour), ImageDraw.Draw(cover)
    thick = rng.uniform(3.2, 5.0)
    x = np.linspace(-10, WIDTH + 10, 14)
    middle = placed.box[0] + placed.box[2] / 2
    slope = rng.uniform(-0.06, 0.06)
    y = placed.ground + thick * 0.8 + slope * (x - middle) + rng.normal(0, 0.8, 14)
    bark = np.array(((104, 80, 62), (122, 100, 80), (92, 84, 74))[rng.integers(3)]) + rng.normal(0, 5, 3)

    def tone(shade: float) -> tuple[int, ...]:
        return tuple(int(v) for v in (bark * shade).clip(0, 255))

    half = thick * rng.uniform(0.85, 1.15, 14)
    upper, lower = np.stack([x, y - half], 1), np.stack([x, y + half], 1)
    whole = (np.concatenate([_curve(upper, 3), _curve(lower, 3)[::-1]]) * k).ravel().tolist()
    for _ in range(int(rng.integers(4, 9))):
        at = float(
            rng.choice((rng.uniform(0, placed.box[0]), rng.uniform(placed.box[0] + placed.box[2], WIDTH)))
        )
        root = np.array((at, float(np.interp(at, x, y))))
        turn, long = rng.uniform(-2.6, -0.5) * rng.choice((1, -1)), rng.uniform(12, 22)
        leaf = _leaf(root, root + long * np.array((np.cos(turn), np.sin(turn))), long * 0.24)
        green = (np.array((92, 134, 70)) * rng.uniform(0.8, 1.25) + rng.normal(0, 8, 3)).clip(0, 255)
        ring = (leaf * k).ravel().tolist()
        pen.polygon(ring, fill=tuple(int(v) for v in green), outline=tuple(int(v * 0.75) for v in green))
        mask.polygon(ring, fill=255)
    pen.polygon(whole, fill=tone(1.0))
    mask.polygon(whole, fill=255)
    pen.line(
        (_curve(lower - (0, thick * 0.5), 3) * k).ravel().tolist(),
        fill=tone(0.72),
        width=int(thick * k * 0.8),
    )
    pen.line(
        (_curve(upper + (0, thick * 0.35), 3) * k).ravel().tolist(),
        fill=tone(1.28),
        width=int(thick * k * 0.35),
    )
    front = np.asarray(colour.reduce(fine), np.float32) / 255
    alpha = np.asarray(cover.reduce(fine), np.float32)[..., None] / 255
    return picture * (1 - alpha) + front


def _shadow(picture: np.ndarray, placed: _Placed, scale: int) -> np.ndarray:
    x, y = np.arange(WIDTH * scale)[None, :] / scale, np.arange(HEIGHT * scale)[:, None] / scale
    left, _, wide, _ = placed.box
    d = ((x - left - wide * 0.5) / (wide * 0.36)) ** 2 + ((y - placed.ground - 1) / 5.0) ** 2
    return picture * (1 - 0.32 * np.exp(-1.2 * d)[..., None]).astype(np.float32)


def _float_on_water(
    picture: np.ndarray,
    bird: np.ndarray,
    alpha: np.ndarray,
    line: float,
    scale: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The bird down to the waterline, and its wavering reflection below."""
    y, x = np.mgrid[0 : HEIGHT * scale, 0 : WIDTH * scale] / scale
    wave = line + 0.9 * np.sin(x / rng.uniform(5, 9) + rng.uniform(0, 6))
    above = ((wave - y) * scale).clip(0, 1)[..., None].astype(np.float32)
    waver = 1.6 * np.sin(y / rng.uniform(1.6, 2.4) + 0.05 * x)
    source_y = ((2 * wave - y) * scale - 1).astype(int).clip(0, HEIGHT * scale - 1)
    source_x = ((x + waver) * scale).astype(int).clip(0, WIDTH * scale - 1)
    fade = 0.42 * np.exp(-((y - line).clip(0) / 38.0))[..., None].astype(np.float32) * (1 - above)
    mirrored, mirrored_alpha = bird[source_y, source_x], alpha[source_y, source_x]
    picture = picture * (1 - fade * mirrored_alpha) + fade * mirrored * 0.92
    picture = picture * (1 - alpha * above) + bird * above
    rim = np.exp(-(((y - wave) / 1.1) ** 2))[..., None].astype(np.float32)
    near = np.asarray(
        Image.fromarray((alpha[..., 0] * above[..., 0] * 255).astype(np.uint8)).filter(
            ImageFilter.GaussianBlur(4 * scale)
        ),
        np.float32,
    )[..., None]
    return picture + rim * near / 255 * 0.35
