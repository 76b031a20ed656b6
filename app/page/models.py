"""What a page can use: the models and sets that are there, opened when first asked for, a few of them kept."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from app.page.usage import Usage
from core.errors import UserError, suggest
from core.files import read_json
from core.model_registry import PAINTER, RECOGNIZER, find_folder, model_name

if TYPE_CHECKING:
    from pipeline import SpeechToImage
    from search.finder import Finder

LONGEST_WAIT = 90.0  # seconds that a call waits for the others
LONGEST_NAME = 60  # letters; others come from requests that are not the page's
KEPT = 2  # of each, painters, recognisers and sets, in memory, the ones used last
PAINTED = "painted_birds"  # the set that is made where it is missing
WHERE = ("weights/*", "runs/*", "runs/*/model")  # of model folders
LONGEST_CARD = 20_000  # characters


class Choice(NamedTuple):
    """A model that can be chosen. source: its folder, or the name of a recogniser that is not ours."""

    name: str
    source: Path | str
    card: str  # Markdown

    @property
    def is_ours(self) -> bool:
        return isinstance(self.source, Path)


def painters(root: Path) -> dict[str, Choice]:
    """The painters in weights/ and runs/ of a checkout by their names, the released one first."""
    return model_folders(root, "painter", find_folder(PAINTER))


def recognizers(root: Path, first: Path | str = RECOGNIZER) -> dict[str, Choice]:
    """The recognisers in weights/ and runs/ of a checkout by their names, and others where they are installed; `first`,
    as `SpeechToImage.load` takes it, leads."""
    from asr.recognizers.registry import external, installed

    found = {}
    for name in dict.fromkeys([*([str(first)] if external(first) else []), *installed()]):
        found[name] = Choice(name, name, "A recogniser of another project, with confidences of its own.")
    if external(first):
        return found | model_folders(root, "recognizer", find_folder(RECOGNIZER))
    folder = find_folder(first)
    named = Choice(model_name(folder), folder, read_card(folder))
    return {named.name: named} | model_folders(root, "recognizer", folder) | found


def model_folders(root: Path, kind: str, first: Path) -> dict[str, Choice]:
    """The models of a kind in weights/ and runs/ of a checkout by their names; that of the name of `first` leads."""
    found = {}
    for folder in sorted({path for pattern in WHERE for path in root.glob(pattern)}):
        if not (folder / "model.safetensors").is_file():
            continue
        try:
            is_kind = read_json(folder / "config.json").get("kind") == kind
        except (
            UserError,
            AttributeError,
        ):  # a run that has just begun, or a damaged folder: nothing to choose
            continue
        if is_kind:
            found[model_name(folder)] = Choice(model_name(folder), folder, read_card(folder))
    name = model_name(first)
    return dict(sorted(found.items(), key=lambda item: item[0] != name))


def read_card(folder: Path) -> str:
    """A model's card without its front matter; "" without one."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8", errors="replace")[:LONGEST_CARD] if path.is_file() else ""
    return text.split("\n---\n", 1)[-1].strip() if text.startswith("---\n") else text.strip()


def sets(folder: Path) -> list[str]:
    """Names of the sets in datasets/; that of painted birds is always among them."""
    there = (path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ()
    return [PAINTED, *sorted(name for name in there if name != PAINTED and name[0] != ".")]


def chosen(among: dict[str, Choice], name: Any, what: str) -> Choice:
    """Raises UserError for a name that is not there, or anything else that a request may hold."""
    name = str(name)[:LONGEST_NAME]
    if name not in among:
        raise UserError(f'no {what} "{name}"{suggest(name, among)}; choose one of {", ".join(among)}')
    return among[name]


@dataclass
class Kept:
    """The values used last, at most KEPT, made when they are first asked for."""

    make: Callable[[str], Any]
    values: "OrderedDict[str, Any]" = field(default_factory=OrderedDict)

    def __getitem__(self, name: str) -> Any:
        if name not in self.values:
            while len(self.values) >= KEPT:
                self.values.popitem(last=False)
            self.values[name] = self.make(name)
        self.values.move_to_end(name)
        return self.values[name]


class Models:
    """All that the page's visitors share. Nobody but the holder of its `turn` calls a model."""

    def __init__(self, root: Path, datasets: Path | None = None, recognizer: Path | str = RECOGNIZER) -> None:
        """root: the checkout; recognizer: as `SpeechToImage.load` takes it. Raises UserError without a painter."""
        self.painters = painters(root)
        if not self.painters:
            raise UserError(f"no painter in {root}/weights or {root}/runs; train one: python train_gan.py")
        self.recognizers = recognizers(root, recognizer)
        self.datasets = datasets or root / "datasets"
        self.usage = Usage()
        self._lock, self._opening = threading.RLock(), threading.Lock()
        self._hearing = Kept(self._load_recognizer)
        self._painting, self._finding = Kept(self._load_painter), Kept(self._open_set)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One model call at a time: several would take the cores from each other and all end later.

        Raises UserError where the others take too long.
        """
        began = time.monotonic()
        there = self._lock.acquire(timeout=LONGEST_WAIT)
        self.usage.add("waiting_seconds", "models", time.monotonic() - began)
        if not there:
            raise UserError("many people are here and the machine is busy; try it again in a minute")
        try:
            yield
        finally:
            self._lock.release()

    def recognizer(self, name: str = "") -> Choice:
        """The recogniser of that name, the first for "". Raises UserError for a name that is not among them."""
        return chosen(self.recognizers, name or next(iter(self.recognizers)), "recogniser")

    def hearing(self, name: str = "") -> "SpeechToImage":
        """Raises UserError as `recognizer` does, or where it cannot be loaded."""
        choice = self.recognizer(name)
        with self._lock:
            return self._hearing[choice.name]

    def painting(self, name: str) -> "SpeechToImage":
        """Raises UserError for a name that is not among `painters`."""
        choice = chosen(self.painters, name, "model")
        with self._lock:
            return self._painting[choice.name]

    def finding(self, name: str) -> "Finder":
        """The index of a set, which is made the first time. Raises UserError for a name that is not in `sets`."""
        name = str(name)[:LONGEST_NAME]
        if name not in (there := sets(self.datasets)):
            raise UserError(f'no set "{name}"{suggest(name, there)}; choose one of {", ".join(there)}')
        with self._opening:  # not the turn of the models: an index takes minutes, and others go on meanwhile
            return self._finding[name]

    def vocabulary(self, name: str) -> tuple[list[str] | None, int]:
        """The words that a painter knows, the commonest first, or None where it reads letters; its longest caption."""
        encoder = self.painting(name).painter.encoder  # type: ignore[union-attr]
        return encoder.vocabulary_words, encoder.max_words

    def _load_painter(self, name: str) -> "SpeechToImage":
        from pipeline import SpeechToImage

        return SpeechToImage.load(None, self.painters[name].source)

    def _load_recognizer(self, name: str) -> "SpeechToImage":
        from pipeline import SpeechToImage

        return SpeechToImage.load(self.recognizers[name].source, None)

    def _open_set(self, name: str) -> "Finder":
        from app.finding import locate
        from search.finder import Finder

        args: Any = SimpleNamespace(data=name, root=self.datasets, split=None)
        return Finder.open(locate(args))
