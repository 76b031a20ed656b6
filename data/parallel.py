"""The same function for many items, on all cores."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from core.errors import UserError


def in_parallel(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    what: str,
    sizes: Sequence[int],
    unit: str,
    workers: int | None = None,
) -> list[Any]:
    """function(task) for every task, in order, on all cores or `workers`, with a progress bar that counts `sizes`.

    Raises UserError where a worker was killed from outside, as the kernel does when memory runs out.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = max(1, min(workers or cores, len(tasks)))
    # the workers use no torch, so forking a program that has loaded it is safe and saves loading it again
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    results = []
    try:
        every = 0.1 if sys.stderr.isatty() else 5.0  # seconds; a log needs fewer lines
        with tqdm(total=sum(sizes), desc=what, unit=unit, dynamic_ncols=True, mininterval=every) as bar:
            # no pool.map: it cancels what is left when a worker dies, at which Python 3.11's pool hangs
            for future, size in zip([pool.submit(function, task) for task in tasks], sizes, strict=True):
                results.append(future.result())
                bar.update(size)
    except BrokenProcessPool as error:
        raise UserError(
            f"{what}: a worker process was killed, perhaps for want of memory; what is made is kept, the same command "
            "goes on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the parent alone
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(
            1, signal.SIGKILL
        )  # PR_SET_PDEATHSIG: a killed parent leaves no worker behind
