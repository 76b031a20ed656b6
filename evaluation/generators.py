"""What makes the images that are measured: a trained painter, the nearest photographs, or a folder of images.

Each has `size`, the side of its images in px; `checksum`, of its weights; `encoder`, the checksum of the encoder that
it was trained with, None where that is not known; `known(text)`, the words that it reads; `about`, for the protocol;
and `generate(pairs, rows)`, the images (B, 3, S, S) in [-1, 1] of some rows of the pairs.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.errors import UserError
from core.model_registry import model_name

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from data.captioned_images import CaptionedImages
    from evaluation.pairs import Pairs
    from t2i.encoders.damsm import Damsm

SUFFIXES = (".png", ".jpg", ".jpeg")
MOST_PIXELS = 64_000_000  # of an image
EVERY_WORD = 10**6  # the words of a caption that are read, however long it is


class Generator(Protocol):
    size: int
    checksum: str
    encoder: str | None
    about: dict[str, Any]

    def known(self, text: str) -> list[str]: ...

    def generate(self, pairs: "Pairs", rows: slice) -> "Tensor": ...


class TrainedPainter:
    def __init__(self, folder: Path, device: "torch.device", precision: str) -> None:
        from pipeline import load_painter

        self.painter = load_painter(folder).to(device)
        self.painter.precision = precision
        self.size, self.checksum = self.painter.resolutions[-1], self.painter.checksum
        self.encoder = self.painter.training_info.get("encoder")
        self.about = {"model": {"name": model_name(folder), "sha256": self.checksum}, "precision": precision}

    def known(self, text: str) -> list[str]:
        return self.painter.known(text)

    def generate(self, pairs: "Pairs", rows: slice) -> "Tensor":
        return self.stages(pairs, rows)[-1]

    def stages(self, pairs: "Pairs", rows: slice) -> "tuple[Tensor, ...]":
        """The images of every stage, (B, 3, S, S) in [-1, 1] each."""
        return self.painter.paint(pairs.texts[rows], pairs.noise[rows]).images


class NearestPhotographs:
    """In place of a painter, the baseline of all: the training photograph that a DAMSM finds for a sentence."""

    def __init__(
        self, encoder: "Damsm", images: "CaptionedImages", seen: "np.ndarray", device: "torch.device"
    ) -> None:
        """seen: global features (M, E) of the training split's photographs."""
        import torch

        self.damsm, self.photographs, self.device = encoder, images, device
        self.size, self.checksum = images.size, encoder.checksum
        self.encoder: str | None = encoder.checksum
        self.seen = torch.nn.functional.normalize(torch.from_numpy(seen).float(), dim=1)
        self.about = {
            "model": {"name": "photographs", "sha256": self.checksum},
            "images": f"of {len(images)} training photographs the one nearest to the caption by DAMSM's cosine",
        }

    def known(self, text: str) -> list[str]:
        return self.damsm.vocabulary.known(text, limit=EVERY_WORD)

    def generate(self, pairs: "Pairs", rows: slice) -> "Tensor":
        """The photographs of these texts, whatever the noise."""
        from data.sampling import to_unit

        found = (self.damsm.encode(pairs.texts[rows]).sentence.cpu() @ self.seen.T).argmax(dim=1)
        return to_unit(self.photographs.batch(found.tolist(), None)).to(self.device)


class ImageFolder:
    """Images made elsewhere, the k-th by name that of the k-th pair; cut to a square and resized where they differ."""

    def __init__(self, folder: Path, size: int | None, device: "torch.device") -> None:
        import hashlib

        self.device = device
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if len(self.paths) < 2:
            raise UserError(
                f"{folder} holds {len(self.paths)} PNG or JPEG files; at least 2 are needed for --pictures"
            )
        self.size = size or min(_open(self.paths[0]).size)
        self.encoder: str | None = None
        listed = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in self.paths)
        self.checksum = hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()
        self.about = {
            "model": {"name": folder.resolve().name, "sha256": self.checksum},
            "images": f"{len(self.paths)} files of {folder}, the checksum one of their names and sizes; the centre "
            f"square, resized to {self.size} px with antialiasing where it differs",
        }

    def known(self, text: str) -> list[str]:
        return [text]

    def generate(self, pairs: "Pairs", rows: slice) -> "Tensor":
        import numpy as np
        import torch

        from data.sampling import to_unit

        pictures = [_square(path, self.size) for path in self.paths[rows]]
        return to_unit(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)).to(self.device)


def _open(path: Path) -> Any:
    """A picture upright and without transparency, RGB."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            if file.width * file.height > MOST_PIXELS:
                raise UserError(
                    f"{path} has {file.width} x {file.height} pixels, at most {MOST_PIXELS} are read"
                )
            image = ImageOps.exif_transpose(file)
            if (
                "A" in image.getbands() or "transparency" in image.info
            ):  # what lies under it is not to be seen
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except UserError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise UserError(
            f"cannot read the picture {path} ({str(error)[:80]}); restore or remove it"
        ) from error


def _square(path: Path, size: int) -> "np.ndarray":
    """(size, size, 3) uint8."""
    import numpy as np
    from PIL import Image

    image = _open(path)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side != size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
