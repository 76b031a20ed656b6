"""Painted birds: pictures of birds drawn by code, so that the colour of every part is known.

A species (species.py) is a colour for each of the six parts and its marks; a scene (scene.py) is everything else about
one picture. `draw(colours, scene)` is a pure function of the two. Birds are drawn from the strokes of anatomy.py,
larger than the picture, reduced, and lit by the slope of their blurred silhouette, which makes them look round.
"""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data.painted_birds.anatomy import Placed, place
from data.painted_birds.background import backdrop, float_on_water
from data.painted_birds.grammar import PARTS, mark_colour
from data.painted_birds.scene import HEIGHT, WIDTH, Scene

VERSION = 4  # raised when a change of this folder changes the pictures or captions of a set
FINE = 4  # the bird is painted this many times larger and reduced, half as many at larger scales

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


def bounding_box(scene: Scene, scale: int = 1) -> tuple[float, float, float, float]:
    """x, y, width and height of the bird in pixels of a picture of this scale, without painting it."""
    return _scaled(place(scene).box, scale)


def _scaled(box: tuple[float, float, float, float], scale: int) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x * scale, y * scale, width * scale, height * scale


def draw(
    colours: Colours, scene: Scene, scale: int = 1
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The picture (WIDTH * scale x HEIGHT * scale, RGB) and the bird's box (x, y, width, height) in its pixels."""
    placed = place(scene)
    rng = np.random.default_rng([*scene.seed, 2])
    picture = backdrop(scene, placed, scale, rng)  # (H, W, 3), 0 to 1
    inks = _inks(colours, rng)
    bird, alpha = _paint_bird(placed, inks, scale, rng)  # (H, W, 3) premultiplied, (H, W, 1)
    if scene.pose == "swimming":
        picture = float_on_water(picture, bird, alpha, placed.ground, scale, rng)
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


def _paint_bird(placed: Placed, inks: dict[str, np.ndarray], scale: int, rng: np.random.Generator):
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
