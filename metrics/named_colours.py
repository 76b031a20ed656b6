"""Colours in CIELAB, where distances are about as people see them, and the nearest of some that have names."""

import numpy as np

# IEC 61966-2-1 for sRGB; CIE 1931 2 degrees, white D65
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])

# sRGB of the eleven basic terms where no photographs have taught others; birds are duller than paints
BASIC = {
    "red": (190, 40, 40), "orange": (225, 130, 40), "yellow": (225, 200, 60), "green": (90, 125, 60),
    "blue": (60, 95, 165), "purple": (105, 65, 130), "pink": (220, 150, 160), "brown": (110, 80, 55),
    "black": (25, 25, 25), "white": (235, 235, 230), "grey": (130, 130, 130),
}  # fmt: skip


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (..., 3) in [0, 1] -> L in [0, 100], a, b (..., 3)."""
    rgb = np.asarray(rgb, np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def disc_colours(images: np.ndarray, places: np.ndarray, radius: float) -> np.ndarray:
    """The median L, a, b (N, K, 3) of discs in images (N, 3, H, W), sRGB in [0, 1], about places (N, K, 2).

    Places x, y and the radius are in shares of the side; the pixels of a disc are those whose centres it holds, and
    the pixel of its own centre. What lies outside of the picture does not count; centres are moved into it.
    """
    _, _, H, W = images.shape
    lab = to_lab(np.moveaxis(images, 1, -1))  # (N, H, W, 3)
    rows, columns = (np.arange(H)[:, None] + 0.5) / H, (np.arange(W)[None] + 0.5) / W
    found = np.empty((*places.shape[:2], 3))
    for i in range(len(places)):
        for k, (x, y) in enumerate(places[i]):
            inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
            inside[int(np.clip(y * H, 0, H - 1)), int(np.clip(x * W, 0, W - 1))] = True
            found[i, k] = np.median(lab[i][inside], axis=0)
    return found


def nearest(lab: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """L, a, b (..., 3) -> the number of the nearest colour of a palette (C, 3), Euclidean (CIE 1976)."""
    return ((lab[..., None, :] - palette) ** 2).sum(-1).argmin(-1)
