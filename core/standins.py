"""Stand-ins for heavy packages, so that `--help` and `--dry-run` answer at once.

Such a command reads which settings there are and computes nothing; importing torch alone takes seconds. The classes of
a stand-in can be inherited from, its functions called and its decorators applied, as in Sphinx's mock imports.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

HEAVY = {
    "torch", "torchvision", "torchaudio", "tensorboard", "torchmetrics", "numpy", "scipy", "pandas", "sklearn",
    "matplotlib", "PIL", "soundfile", "safetensors", "jiwer", "nltk", "tqdm",
}  # fmt: skip
# The words of a command that only asks
QUESTIONS = {"-h", "--help", "--dry-run", "-c", "--cfg", "-i", "--info", "--hydra-help"}


def stand_in_for_heavy_packages() -> None:
    """From now on every import of HEAVY that has not happened yet gives a stand-in; for a process that soon ends."""
    sys.meta_path.insert(0, _Finder())


class _StandIn:
    """Anything that a module may be asked for while it is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _StandIn()

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_Base,)

    def __call__(self, *values: Any, **more: Any) -> Any:
        decorated = (
            len(values) == 1 and not more and callable(values[0]) and not isinstance(values[0], _StandIn)
        )
        return values[0] if decorated else _StandIn()

    def __getitem__(self, key: Any) -> Any:
        return _StandIn()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __float__(self) -> float:
        return 0.0

    def __int__(self) -> int:
        return 0

    def __index__(self) -> int:
        return 0

    def _binary(self, other: Any) -> Any:
        return _StandIn()

    __or__ = __ror__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _binary
    __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __mod__ = __lt__ = __gt__ = __le__ = __ge__ = _binary

    def __neg__(self) -> Any:
        return _StandIn()


class _Base:
    """What a class inherits from in place of nn.Module and the like."""

    def __init_subclass__(cls, **more: Any) -> None:
        pass


class _Module(ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _StandIn()


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in HEAVY else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass
