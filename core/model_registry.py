"""Which models are released, where they lie, and what a model folder is called. Imports nothing heavy."""

from pathlib import Path

from core.errors import UserError

RECOGNIZER = Path("weights/recognizer")
DAMSM = Path("weights/painted-damsm")
REAL_DAMSM = Path("weights/real-damsm")
PARTS = Path("weights/painted-parts")
PART_LOCATOR = Path("weights/real-part-locator")  # not released yet: train_locator.py makes it
PAINTERS = {"painted": Path("weights/painted-attngan"), "real": Path("weights/real-projected")}
PAINTER = PAINTERS["painted"]
ENCODERS = {"painted": DAMSM, "real": REAL_DAMSM}  # that compare pictures with texts


def find_folder(folder: Path | str, released: dict[str, Path] = PAINTERS) -> Path:
    """`folder` as it is given; where it is not here, the released model of that name, or the one beside this file."""
    folder = Path(folder)
    beside = Path(__file__).resolve().parents[1] / released.get(str(folder), folder)
    try:
        return next((path for path in (folder, beside) if path.exists()), folder)
    except (OSError, ValueError) as error:  # a name that the system refuses
        raise UserError(f"no model at {str(folder)[:100]}: {getattr(error, 'strerror', error)}") from error


def model_name(folder: Path) -> str:
    """painted-attngan for weights/painted-attngan, cub for runs/cub/model, cub-001000 for runs/cub/snapshots/001000."""
    folder = folder.resolve()
    if folder.parent.name in ("snapshots", "kept"):
        return f"{folder.parent.parent.name}-{folder.name}"
    return folder.parent.name if folder.name == "model" else folder.name
