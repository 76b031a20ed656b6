"""Settings of the process: threads, allocator, device, random numbers."""

import ctypes
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from core.errors import UserError, suggest


def set_up(threads: int = 0, device: str = "auto") -> torch.device:
    """`prepare_process` and `choose_device`, for the commands at the root; a library call does the latter alone."""
    prepare_process(threads)
    return choose_device(device)


def prepare_process(threads: int = 0) -> None:
    """Choose the process's CPU threads and how it keeps memory, before its first tensor.

    threads: 0 for OMP_NUM_THREADS where that is set, else one for each core that this process may use.
    """
    keep_freed_memory()
    torch.set_num_threads(threads or usable_threads())


@contextmanager
def one_thread() -> Iterator[None]:
    """For commands: one CPU thread inside, the former number after. A sentence's products are small; on a busy machine
    threads that wait for each other take many times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def usable_threads() -> int:
    """OMP_NUM_THREADS where it is a number; else the cores that the kernel and the control group allow."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, control_group_cores())))


def control_group_cores(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores' worth of processor time that the control group allows (containers, batch systems); inf without a limit."""
    try:
        if (root / "cpu.max").exists():  # version 2
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota, period = (
                (root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # not Linux, or "max"
        return math.inf


def choose_device(device: str) -> torch.device:
    """ "auto" (the first GPU where there is one), "cpu", "cuda" or "cuda:<n>". Raises UserError for others."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    known = ["auto", "cpu", "cuda", *(f"cuda:{number}" for number in range(max(count, 1)))]
    if not re.fullmatch(r"cpu|cuda(:\d{1,4})?", device):
        meant = f"cuda:{device}" if device.isdecimal() else "cuda" if device in ("gpu", "mps", "rocm") else ""
        near = f' (did you mean "{meant}"?)' if meant else suggest(device, known)
        raise UserError(f'device "{device}" is unknown{near}; choose one of {", ".join(known)}')
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device}, but this torch sees no GPU; use device=cpu")
    if ":" in device and int(device[5:]) >= count:
        raise UserError(f"device={device}, but there are {count} GPUs; the first is cuda:0")
    return torch.device(device)


def memory_mb(which: str) -> float:
    """Resident memory of this process, MB: "VmRSS" now, "VmHWM" the largest so far; 0 where the system does not say.

    Of getrusage the largest would count the parent, of which a new process begins as a copy.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{which}:")), 0.0)


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
