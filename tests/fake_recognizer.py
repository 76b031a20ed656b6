"""A recogniser of a line for a process of its own, where a test's patches do not reach."""

import os
from types import SimpleNamespace

import numpy as np


class Fake:
    checksum = "0" * 64

    def transcribe(self, samples: np.ndarray, beam: int) -> SimpleNamespace:
        if samples[0] < 0:
            os._exit(3)  # as a process that the system ends
        return SimpleNamespace(text=f"a gray bird {beam}")


def open_fake(name: str, language_model: str = "auto") -> Fake:
    return Fake()
