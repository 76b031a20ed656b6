"""Backgrounds of painted birds: sky, leaves, meadow and water, and what the bird stands on."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data.painted_birds.anatomy import Placed
from data.painted_birds.curves import curve, leaf_outline, smooth
from data.painted_birds.scene import HEIGHT, WIDTH, Scene

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


def backdrop(scene: Scene, placed: Placed, scale: int, rng: np.random.Generator) -> np.ndarray:
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
        pen.polygon(smooth(leaf, 4).ravel().tolist(), fill=(*(int(v) for v in tone.clip(0, 255)), 120))


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


def _branch(picture: np.ndarray, placed: Placed, scale: int, rng: np.random.Generator) -> np.ndarray:
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
    whole = (np.concatenate([curve(upper, 3), curve(lower, 3)[::-1]]) * k).ravel().tolist()
    for _ in range(int(rng.integers(4, 9))):
        at = float(
            rng.choice((rng.uniform(0, placed.box[0]), rng.uniform(placed.box[0] + placed.box[2], WIDTH)))
        )
        root = np.array((at, float(np.interp(at, x, y))))
        turn, long = rng.uniform(-2.6, -0.5) * rng.choice((1, -1)), rng.uniform(12, 22)
        leaf = leaf_outline(root, root + long * np.array((np.cos(turn), np.sin(turn))), long * 0.24)
        green = (np.array((92, 134, 70)) * rng.uniform(0.8, 1.25) + rng.normal(0, 8, 3)).clip(0, 255)
        ring = (leaf * k).ravel().tolist()
        pen.polygon(ring, fill=tuple(int(v) for v in green), outline=tuple(int(v * 0.75) for v in green))
        mask.polygon(ring, fill=255)
    pen.polygon(whole, fill=tone(1.0))
    mask.polygon(whole, fill=255)
    pen.line(
        (curve(lower - (0, thick * 0.5), 3) * k).ravel().tolist(),
        fill=tone(0.72),
        width=int(thick * k * 0.8),
    )
    pen.line(
        (curve(upper + (0, thick * 0.35), 3) * k).ravel().tolist(),
        fill=tone(1.28),
        width=int(thick * k * 0.35),
    )
    front = np.asarray(colour.reduce(fine), np.float32) / 255
    alpha = np.asarray(cover.reduce(fine), np.float32)[..., None] / 255
    return picture * (1 - alpha) + front


def _shadow(picture: np.ndarray, placed: Placed, scale: int) -> np.ndarray:
    x, y = np.arange(WIDTH * scale)[None, :] / scale, np.arange(HEIGHT * scale)[:, None] / scale
    left, _, wide, _ = placed.box
    d = ((x - left - wide * 0.5) / (wide * 0.36)) ** 2 + ((y - placed.ground - 1) / 5.0) ** 2
    return picture * (1 - 0.32 * np.exp(-1.2 * d)[..., None]).astype(np.float32)


def float_on_water(
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
