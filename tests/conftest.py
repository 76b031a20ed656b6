"""What every test shares: one thread a worker, the root on the path, and the real data sets where they lie."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the root scripts are imported as modules

if sys.dont_write_bytecode:
    # Compiling torch takes ten seconds of every process that a test starts: once is enough, in a place of our own.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(ROOT / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)  # pytest-xdist runs one worker a core; more threads would only fight for them
# the scripts set their own number of threads when their main() is called in a test
os.environ.setdefault("OMP_NUM_THREADS", "1")


SLOWEST = ("test_parallel", "test_resume", "test_experiments", "test_families")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest first: what is left to the end must be short for two workers to end together."""
    ranks = {name: rank for rank, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(autouse=True)
def one_thread():
    """A test that called a script's main() leaves no other number of threads behind."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def killed_after() -> Callable[[int, Callable[[], None]], None]:
    """killed_after(steps, training): call it in a fork of this process, which kill -9 ends once it logged the steps."""

    def start(steps: int, training: Callable[[], None]) -> None:
        from training.run import Run

        log = Run.log

        def log_and_die(self: Run, step: int, **values: Any) -> None:
            log(self, step, **values)
            if step + 1 == steps:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            signal.alarm(300)  # nobody waits for ever
            Run.log = log_and_die  # type: ignore[method-assign]
            try:
                training()
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status

    return start


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


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few painted birds, spoken captions and an untrained DAMSM: painted_birds/, spoken_captions/, damsm/."""
    from dataclasses import asdict

    from core.model_folder import save_model
    from data.captioned_images import load_images
    from data.painted_birds.build import ensure_painted_birds
    from data.painted_birds.recordings import ensure_spoken_captions
    from t2i.encoders.damsm import Damsm, DamsmConfig
    from t2i.vocabulary import Vocabulary

    folder = tmp_path_factory.mktemp("world")
    sizes = {"train_species": 12, "train_pictures": 2, "test_species": 6, "test_pictures": 1}
    birds = ensure_painted_birds(folder, settings=sizes)
    ensure_spoken_captions(folder, settings={"train": 24, "val": 4, "test": 4, "test_voices": 4})
    captions = [c for cs in load_images(birds, "train", 64, birds / "cache").captions for c in cs]
    config = DamsmConfig(embedding=16, word_width=8, image_width=4, image_size=64)
    torch.manual_seed(0)
    model = Damsm(config, Vocabulary.build(captions))
    save_model(
        folder / "damsm", model.kind, model.state_dict(), asdict(config), "# card", model.vocabulary.words
    )
    return folder


@pytest.fixture(scope="session")
def real_birds(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training and twelve test photographs of CUB with their captions, in its layout; links to the real ones."""
    import pickle

    source, folder = realdata / "birds", tmp_path_factory.mktemp("cub") / "birds"
    for split, classes in (("train", ("001.*", "002.*", "003.*")), ("test", ("004.*", "009.*", "014.*"))):
        names = [
            f"{pictures.name}/{path.stem}"
            for pattern in classes
            for pictures in (source / "CUB_200_2011" / "images").glob(pattern)
            for path in sorted(pictures.iterdir())[:4]
        ]
        for name in names:
            for part in (f"CUB_200_2011/images/{name}.jpg", f"text/{name}.txt"):
                (folder / part).parent.mkdir(parents=True, exist_ok=True)
                (folder / part).symlink_to(source / part)
        (folder / split).mkdir()
        (folder / split / "filenames.pickle").write_bytes(pickle.dumps(names, protocol=2))
        (folder / split / "class_info.pickle").write_bytes(
            pickle.dumps([int(n[:3]) for n in names], protocol=2)
        )
    for file in ("images.txt", "bounding_boxes.txt"):
        (folder / "CUB_200_2011" / file).symlink_to(source / "CUB_200_2011" / file)
    return folder
