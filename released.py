"""Which models are released, where they lie, and what a model folder is called. Imports nothing heavy."""

from pathlib import Path

RECOGNIZER = Path("weights/painted-recognizer")
DAMSM = Path("weights/painted-damsm")
PARTS = Path("weights/painted-parts")
PAINTERS = {"painted": Path("weights/painted-attngan"), "real": Path("weights/real-projected")}
PAINTER = PAINTERS["painted"]


def find_folder(folder: Path | str) -> Path:
    """`folder` as it is given; where it is not here, the released painter of that name, or the one beside this file."""
    folder = Path(folder)
    if folder.exists():
        return folder
    beside = Path(__file__).resolve().parent / PAINTERS.get(str(folder), folder)
    return beside if beside.exists() else PAINTERS.get(str(folder), folder)


def model_name(folder: Path) -> str:
    """ "painted-attngan" of weights/painted-attngan, "cub" of runs/cub/model, "cub-001000" of runs/cub/kept/001000."""
    folder = folder.resolve()
    if folder.parent.name == "kept":
        return f"{folder.parent.parent.name}-{folder.name}"
    return folder.parent.name if folder.name == "model" else folder.name
