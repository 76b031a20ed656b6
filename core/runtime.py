"""Settings of the process: threads, allocator, device, random numbers."""

import ctypes
import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

from core.errors import UserError


def set_up(threads: int = 0, device: str = "auto") -> torch.device:
    """Prepare the process before its first tensor and return the device to work on.

    threads: CPU threads, 0 for OMP_NUM_THREADS where that is set, else one a core.
    device: "auto", "cpu", "cuda" or "cuda:<n>".
    """
    keep_freed_memory()
    if threads or "OMP_NUM_THREADS" not in os.environ:  # which torch has read
        torch.set_num_threads(
            threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads or 1
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device}, but this torch sees no GPU; use device=cpu")
    return torch.device(device)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory, which halves the time of CPU training.

    By default glibc returns every large tensor to the kernel and faults it in again at the next use.
    Does nothing where the C library is not glibc.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def seed_step(seed: int, step: int) -> None:
    """Make torch's random numbers of a step (dropout, noise) a function of (seed, step), so that a resumed run
    draws what the uninterrupted one would have drawn."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1))


def code_revision() -> str:
    """The commit of the code, with "+changes" where the tree differs from it, or "unknown"."""
    root = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout

    try:
        return git("rev-parse", "--short", "HEAD").strip() + (
            "+changes" if git("status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
