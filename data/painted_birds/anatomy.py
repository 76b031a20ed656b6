"""Anatomy of a painted bird: the strokes that draw it, in painting order, and its place in the picture.

Birds are built in their own coordinates: the body about one unit long, x towards the bill, y down. To add a part, add
a `Stroke` to the function that owns the place.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.painted_birds.curves import curve, rotate, smooth
from data.painted_birds.grammar import Marks
from data.painted_birds.scene import HEIGHT, WIDTH, Scene


@dataclass
class Stroke:
    """One thing to paint: a filled outline, a line or a dot, in the bird's coordinates, later in pixels."""

    kind: str  # "fill", "line", "dot"
    ink: str  # a part, or "eye", "shine", "ring", "bar", "leg"
    points: np.ndarray  # (N, 2)
    shade: float = 1.0  # of the ink
    width: float = 0.0  # of a line or dot, in units
    layer: str = ""  # of the relief: "wing", "head" or "" for the rest
    outlined: bool = True


def anatomy(scene: Scene, rng: np.random.Generator) -> tuple[list[Stroke], float]:
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
        stroke.points = rotate(stroke.points, body_turn, (0.0, 0.0))
    neck = np.array((0.33, -0.27))
    shift = rotate(neck[None], body_turn, (0.0, 0.0))[0] - neck
    for stroke in head:
        stroke.points = rotate(stroke.points, head_turn, neck) + shift
    ground = 0.0
    legs: list[Stroke] = []
    if scene.pose in ("perched", "standing"):
        legs, ground = _legs(body_turn, plump, 0.11 if scene.pose == "perched" else 0.2, rng)
    elif swimming:
        ground = max(float(stroke.points[:, 1].max()) for stroke in trunk) - 0.08
    else:
        legs = _tucked_legs(body_turn, plump)
    return far_wing + tail + legs + trunk + near_wing + head, ground


def _trunk(plump: float, streaks: bool, rng: np.random.Generator) -> list[Stroke]:
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
    body = smooth(outline)
    # the belly follows the lower outline and closes with a line along the flank
    flank = [(-0.41, 0.08), (-0.22, 0.13), (0.03, 0.13), (0.24, 0.07), (0.37, -0.02)]
    lower = smooth(outline)[8 * 1 + 5 : 8 * 6 + 3] * (0.995, 0.995)
    belly = np.concatenate([lower, curve(np.array(flank) * (1, plump))])
    strokes = [Stroke("fill", "body", body), *_down("body", body, 34, 0.045, rng)]
    strokes += [Stroke("fill", "belly", belly), *_down("belly", belly, 22, 0.04, rng)]
    if streaks:
        for x, y in ((0.36, 0.08), (0.25, 0.12), (0.29, 0.2), (0.15, 0.17), (0.18, 0.25), (0.04, 0.19), (0.07, 0.27),
                     (-0.07, 0.18), (-0.05, 0.26), (-0.18, 0.17), (-0.17, 0.235), (-0.28, 0.14)):  # fmt: skip
            at = np.array((x, y)) * (1, plump) + rng.normal(0, 0.008, 2)
            drop = np.array([(0.012, -0.03), (0.0, 0.0), (-0.016, 0.03)])
            strokes.append(Stroke("line", "belly", at + drop, 0.5, 0.026, outlined=False))
    return strokes


def _down(ink: str, area: np.ndarray, count: int, size: float, rng: np.random.Generator) -> list[Stroke]:
    """Small feather tips strewn over an area."""
    middle = area.mean(axis=0)
    where = middle + (area[rng.integers(len(area), size=count)] - middle) * np.sqrt(
        rng.uniform(0.02, 0.74, (count, 1))
    )
    arc = np.array([(0.35, -0.5), (-0.3, -0.4), (-0.5, 0.0), (-0.3, 0.4), (0.35, 0.5)])
    tones = np.where(rng.random(count) < 0.55, 0.87, 1.11)
    return [
        Stroke("line", ink, w + size * arc, t, 0.012, outlined=False)
        for w, t in zip(where, tones, strict=True)
    ]


_BILL = {  # length, height, and how far the tip turns down
    "straight": (1.0, 1.0, 0.0),
    "cone": (0.74, 1.3, 0.0),
    "dagger": (1.42, 0.84, 0.0),
    "hooked": (0.95, 1.12, 0.085),
}


def _head(shape: Mapping[str, float], marks: Marks, rng: np.random.Generator) -> list[Stroke]:
    longer, higher, hook = _BILL[marks.bill]
    k, long, high = (
        shape.get("head", 1.0),
        shape.get("bill", 1.0) * longer,
        shape.get("bill_height", 1.0) * higher,
    )
    c = np.array((0.36, -0.36))
    face = [(0.585, -0.37), (0.53, -0.52), (0.38, -0.6), (0.21, -0.53), (0.12, -0.36), (0.1, -0.22)]
    bib = [(0.2, -0.15), (0.36, -0.11), (0.5, -0.17), (0.565, -0.27)]
    skull = c + (smooth(np.array(face + bib)) - c) * k
    root, tip = np.array((0.53, -0.375)), np.array((0.545 + 0.32 * long, -0.33))
    h = 0.122 * high
    upper = curve(
        np.array([root + (0, -h), root + (0.12 * long, -0.92 * h), tip + (-0.07, -0.45 * h), tip + (0, hook)])
    )
    lower = curve(
        np.array([tip + (-0.05, 0.1 * h + 0.4 * hook), tip + (-0.11 * long, 0.62 * h), root + (0.03, h)])
    )
    gape = np.array([tip + (-0.04, 0.0), root + (0.12, 0.015), root + (0.02, 0.01)])
    strokes = [
        Stroke("fill", "bill", np.concatenate([upper, lower, root[None]])),
        Stroke("line", "bill", curve(gape), 0.62, 0.016, outlined=False),
        *(_crest(k) if marks.crest else []),
        Stroke("fill", "head", skull, layer="head"),
    ]
    strokes += _down("head", skull, 12, 0.035, rng)
    eye = c + np.array((0.1, -0.055)) * k
    strokes += [
        Stroke("dot", "ring", eye[None], 1.0, 0.084 if marks.eye_ring else 0.056),
        Stroke("dot", "eye", eye[None], 1.0, 0.046),
        Stroke("dot", "shine", eye[None] + (0.014, -0.017), 1.0, 0.015),
    ]
    return strokes


def _crest(size: float) -> list[Stroke]:
    tips = ((-0.02, -0.62), (0.05, -0.72), (0.15, -0.78))
    roots = ((0.2, -0.46), (0.26, -0.5), (0.33, -0.52))
    return [
        _feather("head", np.array(root), np.array(root) + (np.array(tip) - root) * size, 0.05, -0.03, 0.9 + 0.05 * i,
                 "head")
        for i, (root, tip) in enumerate(zip(roots, tips, strict=True))
    ]  # fmt: skip


def _tail(long: float, spread: float, lift: float) -> list[Stroke]:
    root = np.array((-0.38, -0.05))
    strokes = []
    for turn, shade in ((7.0, 0.88), (-7.0, 0.94), (0.0, 1.0)):
        tip = rotate(np.array([(-0.38 - 0.52 * long, 0.1 - lift)]), turn * spread, root)[0]
        strokes.append(_feather("tail", root, tip, 0.088, bend=0.02, shade=shade))
        strokes.append(
            Stroke("line", "tail", np.array([root * 0.4 + tip * 0.6, root * 0.05 + tip * 0.95]), 0.8, 0.01)
        )
    return strokes


def _folded_wing(plump: float, bars: bool, rng: np.random.Generator) -> list[Stroke]:
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
    strokes.append(Stroke("fill", "wings", smooth(np.array(coverts)) * (1, plump), 1.03, layer="wing"))
    for x, y, n in ((0.17, -0.1, 3), (0.06, -0.125, 4), (-0.06, -0.125, 4)):
        for i in range(n):
            strokes.append(_scallop("wings", (x - 0.03 * i, y + 0.058 * i), 0.062))
    if bars:
        for bar in (
            [(0.05, -0.17), (0.07, -0.06), (0.0, 0.065)],
            [(-0.13, -0.145), (-0.1, -0.05), (-0.15, 0.045)],
        ):
            strokes.append(Stroke("line", "bar", curve(np.array(bar)), 1.0, 0.05, "wing", outlined=False))
    for stroke in strokes:  # a little lower and further back, so that the back is well seen
        stroke.points = stroke.points * (0.9, 0.8) + (-0.04, 0.03)
    return strokes


def _scallop(ink: str, at: tuple[float, float], size: float) -> Stroke:
    arc = np.array([(0.45, -0.5), (-0.2, -0.45), (-0.5, 0.0), (-0.2, 0.45), (0.45, 0.5)])
    return Stroke("line", ink, np.array(at) + size * arc, 0.78, 0.014, layer="wing", outlined=False)


def _raised_wing(raised: float, far: bool, bars: bool) -> list[Stroke]:
    """A wing held up, its arm `raised` degrees above the tail, and its flight feathers fanned backwards."""
    dim = 0.82 if far else 1.0
    shoulder = np.array((0.2, -0.17)) + ((0.1, -0.05) if far else (0.0, 0.0))
    arm = rotate(np.array([(-0.38, 0.0)]), raised, (0, 0))[0]
    wrist = shoulder + arm * (0.95 if far else 1.0)
    strokes = []
    count = 8
    for i in range(count):  # from the body outwards
        t = i / (count - 1)
        root = shoulder + (wrist - shoulder) * min(1.0, 0.15 + t * 1.05)
        angle = raised * (0.12 + 0.9 * t)
        long = 0.36 + 0.2 * t if far else 0.4 + 0.2 * t
        tip = root + rotate(np.array([(-long, 0.0)]), angle, (0, 0))[0]
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
    strokes.append(Stroke("fill", "wings", smooth(coverts), dim * 1.03, layer="wing"))
    for a in (0.06, 0.18, 0.3):
        at = shoulder + a * along + 0.1 * across
        arc = np.array(
            [at - 0.05 * along, at - 0.035 * along + 0.05 * across, at + 0.035 * along + 0.05 * across]
        )
        strokes.append(
            Stroke("line", "wings", np.concatenate([arc, [at + 0.05 * along]]), dim * 0.78, 0.014, "wing")
        )
    for b in (0.09, 0.18) if bars else ():
        bar = np.array([shoulder + a * along + (b - 0.1 * a) * across for a in (0.0, 0.2, 0.4)])
        strokes.append(Stroke("line", "bar", bar, dim, 0.045, "wing", outlined=False))
    return strokes


def _legs(turn: float, plump: float, long: float, rng: np.random.Generator) -> tuple[list[Stroke], float]:
    hips = rotate(np.array([(-0.03, 0.24), (0.13, 0.25)]) * (1, plump), turn, (0.0, 0.0))
    ground = float(hips[:, 1].max()) + 0.05 + long
    strokes = []
    for i, hip in enumerate(hips):
        knee = hip + (-0.02, (ground - hip[1]) * 0.45)
        foot = np.array((hip[0] + 0.02 + rng.uniform(-0.02, 0.02), ground))
        shade = 0.85 if i else 1.0
        strokes.append(Stroke("line", "leg", np.array([hip, knee, foot]), shade, 0.034))
        for toe in ((0.085, 0.012), (0.05, 0.03), (-0.05, 0.012)):
            strokes.append(Stroke("line", "leg", np.array([foot, foot + toe]), shade, 0.026))
    return strokes, ground


def _tucked_legs(turn: float, plump: float) -> list[Stroke]:
    legs = [np.array([(-0.2, 0.22), (-0.36, 0.24)]), np.array([(-0.14, 0.25), (-0.31, 0.28)])]
    return [Stroke("line", "leg", rotate(leg * (1, plump), turn, (0.0, 0.0)), 0.9, 0.03) for leg in legs]


def _feather(
    ink: str, root: np.ndarray, tip: np.ndarray, half: float, bend: float, shade: float, layer: str = ""
) -> Stroke:
    """A long rounded feather of half width `half`, its spine bent sideways by `bend`."""
    t = np.linspace(0, 1, 9)[:, None]
    along = (tip - root) / np.linalg.norm(tip - root)
    across = np.array((-along[1], along[0]))
    spine = root + (tip - root) * t + across * (4 * bend * t * (1 - t))
    profile = half * np.sqrt(np.clip(1 - ((t - 0.55) / 0.58) ** 2, 0, 1)) ** 0.9
    outline = np.concatenate([spine + across * profile, (spine - across * profile)[::-1]])
    return Stroke("fill", ink, smooth(outline, 3), shade, layer=layer)


@dataclass(frozen=True)
class Placed:
    """The strokes of a bird in pixels, its box (x, y, width, height) and the line of ground or water."""

    strokes: list[Stroke]
    box: tuple[float, float, float, float]
    ground: float
    unit: float  # pixels of one unit


def place(scene: Scene) -> Placed:
    rng = np.random.default_rng([*scene.seed, 1])
    strokes, ground = anatomy(scene, rng)
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
    return Placed(strokes, box, ground * unit + float(offset[1]), unit)
