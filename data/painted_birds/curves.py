"""Smooth outlines through a few points (N, 2), x to the right, y down."""

from collections.abc import Sequence

import numpy as np


def leaf_outline(root: np.ndarray, tip: np.ndarray, half: float) -> np.ndarray:
    """Outline (N, 2) of a leaf, pointed at its tip."""
    t = np.linspace(0, 1, 12)[:, None]
    across = np.array((root[1] - tip[1], tip[0] - root[0])) / np.linalg.norm(tip - root)
    spine, profile = root + (tip - root) * t, half * np.sin(np.pi * t**0.75)
    return np.concatenate([spine + across * profile, (spine - across * profile)[::-1]])


def rotate(points: np.ndarray, degrees: float, about: Sequence[float] | np.ndarray) -> np.ndarray:
    """Points (N, 2) turned clockwise on the screen (y down)."""
    a = np.deg2rad(degrees)
    c, s = np.cos(a), np.sin(a)
    return (points - about) @ np.array([(c, s), (-s, c)]) + about


def smooth(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """A closed Catmull-Rom curve through points (N, 2) -> (N * steps, 2)."""
    p = np.stack([np.roll(points, 1 - i, axis=0) for i in range(4)])  # (4, N, 2)
    return np.einsum("sk,knd->nsd", _basis(steps), p).reshape(-1, 2)


def curve(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """An open Catmull-Rom curve through points (N, 2) -> ((N - 1) * steps + 1, 2)."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    p = np.stack([padded[i : i + len(points) - 1] for i in range(4)])
    return np.concatenate([np.einsum("sk,knd->nsd", _basis(steps), p).reshape(-1, 2), points[-1:]])


def _basis(steps: int) -> np.ndarray:
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    matrix = 0.5 * np.array([(0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)])
    return np.concatenate([t**0, t, t**2, t**3], axis=1) @ matrix
