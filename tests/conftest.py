"""What every test shares: one thread a worker, the root on the path, and the real data sets where they lie."""

import os
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the root scripts are imported as modules

torch.set_num_threads(1)  # pytest-xdist runs one worker a core; more threads would only fight for them
# the scripts set their own number of threads when their main() is called in a test
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def one_thread():
    """A test that called a script's main() leaves no other number of threads behind."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of the real data sets (birds/, speech/, networks/), which are not part of the project.

    Beside the checkout as ../shared/realdata, or where SAYBIRD_REALDATA points; tests are skipped without it.
    """
    named = os.environ.get("SAYBIRD_REALDATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip(
            f"no real data at {folder}; set SAYBIRD_REALDATA to the folder that holds birds/ and speech/"
        )
    return folder
