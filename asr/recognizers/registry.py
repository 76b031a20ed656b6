"""Recognisers by name: a model folder is one of ours; "whisper:tiny.en" and "pocketsphinx" are others.

A further one is a file beside this one, with a `SpeechRecognizer` and `open_recognizer(which, device)`, and a line of
EXTERNAL. Imports nothing heavy, so that commands can check their options first.
"""

import importlib
import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core.errors import UserError, suggest
from core.model_registry import find_folder, model_name

if TYPE_CHECKING:
    import torch

    from asr.recognizer import Recognizer
    from asr.transcript import SpeechRecognizer

BEAM, WHISPER_BEAM = 8, 5  # hypotheses kept, unless told otherwise: by ours, by Whisper's authors
KNOWN = "a model folder, whisper:tiny.en, whisper:FOLDER or pocketsphinx"


class External(NamedTuple):
    """module: under asr.recognizers; package: what it needs, by its name in Python; extra: of this project, which
    installs that; beam: hypotheses kept unless told, None where the number cannot be set; which: what stands after the
    colon of its name, "" for nothing."""

    module: str
    package: str
    extra: str
    beam: int | None
    which: str


EXTERNAL = {
    "whisper": External(
        "whisper", "faster_whisper", "whisper", WHISPER_BEAM, "tiny.en, or a folder of weights"
    ),
    "pocketsphinx": External("sphinx", "pocketsphinx", "pocketsphinx", None, ""),
}


def external(name: Path | str) -> External | None:
    """The recogniser of that name where it is not ours; None for a model folder."""
    return EXTERNAL.get(str(name).partition(":")[0])


def default_beam(name: Path | str) -> int:
    """Hypotheses kept unless told; 0 where the number cannot be set."""
    other = external(name)
    return BEAM if other is None else other.beam or 0


def check_recognizer(
    name: Path | str, beam: int | None = None, language_model: Path | str = "auto", favour: str = ""
) -> None:
    """Raises UserError, before anything is loaded, where another recogniser lacks its package or part of its name, or
    is given what guides the search of ours alone. favour: the option that names words, where there is one."""
    kind, _, which = str(name).partition(":")
    other = external(name)
    if other is None:
        if (near := suggest(kind, EXTERNAL)) and not find_folder(name).exists():
            raise UserError(f"--recognizer {name}: no such recogniser{near}; it is {KNOWN}")
        return
    if which and not other.which:
        raise UserError(f'--recognizer {name}: {kind} has one model; leave out ":{which}"')
    if other.which and not which:
        raise UserError(f"--recognizer {kind}: name its weights after a colon: {other.which}")
    if importlib.util.find_spec(other.package) is None:
        package = other.package.replace("_", "-")
        raise UserError(
            f'--recognizer {name} needs {package}, which is not installed: pip install "saybird[{other.extra}]"'
        )
    given = favour or ("--language-model" if str(language_model) != "auto" else "")
    if given:
        raise UserError(
            f"{given} guides the search of this project's recognisers; {name} has its own: leave it out"
        )
    if beam is not None and other.beam is None:
        raise UserError(f"--beam: {kind} keeps as many hypotheses as it likes; leave it out")


def open_recognizer(
    name: Path | str, device: "torch.device | str" = "cpu", language_model: Path | str = "auto"
) -> "SpeechRecognizer":
    """Load a recogniser by its name. language_model: of ours, as in `Recognizer.load`.

    Raises UserError as `check_recognizer` does, or where the weights are missing or damaged.
    """
    import torch

    check_recognizer(name, language_model=language_model)
    other = external(name)
    if other is None:
        from asr.recognizer import Recognizer

        return Recognizer.load(find_folder(name), device, language_model)
    module = importlib.import_module(f"asr.recognizers.{other.module}")
    return module.open_recognizer(str(name).partition(":")[2], torch.device(device))


def installed() -> list[str]:
    """The names of others that can be opened here without fetching anything."""
    names = []
    for kind, other in EXTERNAL.items():
        if importlib.util.find_spec(other.package) is None:
            continue
        if other.which:
            module = importlib.import_module(f"asr.recognizers.{other.module}")
            names += [f"{kind}:{which}" for which in module.weights_here()]
        else:
            names.append(kind)
    return names


def own(recognizer: "SpeechRecognizer", what: str) -> "Recognizer":
    """The recogniser, where it is one of ours. Raises UserError where it is not; what: needs one of ours."""
    from asr.recognizer import Recognizer

    if not isinstance(recognizer, Recognizer):
        raise UserError(f"{what} needs one of this project's recognisers; name a model folder")
    return recognizer


def weights_folder(name: Path | str) -> Path:
    """Where the weights lie; a name that is no folder where they are in a package."""
    which = str(name).partition(":")[2]
    return Path(os.path.expanduser(which)) if external(name) and which else Path(name)


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that the system refuses
        return False


def recognizer_name(name: Path | str) -> str:
    """What results and files call it: recognizer, whisper-tiny.en, pocketsphinx."""
    kind, _, which = str(name).partition(":")
    if external(name) is None:
        return model_name(Path(name))
    folder = weights_folder(name)
    called = model_name(folder) if is_folder(folder) else which
    return re.sub(r"[^\w.-]+", "-", f"{kind}-{called}" if which else kind)
