"""Pictures by a sentence, captions by a picture, and whatever is near in an encoder's space."""

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from core.errors import UserError
from core.model_registry import ENCODERS, find_folder, model_name
from core.runtime import choose_device
from data.packed import DamagedItem
from data.pictures import read_square
from data.sampling import to_unit
from search.approximate import ApproximateSearch, graph_path
from search.build import build_index, find_index, index_path, unit
from search.exact import ExactSearch, Found, Search
from search.sources import Source, content_mark, open_source
from search.storage import Index, Picture
from t2i.encoders.base import ConditionEncoder
from t2i.encoders.registry import load_encoder

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")  # of PIL's, which a file holds as they are
PICTURES, CAPTIONS = "pictures", "captions"  # what can be found


class Hit(NamedTuple):
    """rank: 1 for the nearest; score: cosine; caption: what was found, or of a picture the caption of its own that is
    nearest to the query, "" without any; source: the picture's path."""

    rank: int
    score: float
    caption: str
    source: str
    picture: Picture


class QueryEncoder:
    """The encoder of a model folder. The half that sees pictures, whose networks take seconds to import, is loaded when
    it is first needed."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device, self.name = folder, device, model_name(folder)
        self.loaded = load_encoder(folder, with_images=False).to(device)
        self.checksum = self.loaded.checksum

    def whole(self) -> ConditionEncoder:
        """With its image encoder. Raises UserError where it has none, or has changed since it was loaded."""
        if not self.loaded.sees_images:
            whole = load_encoder(self.folder).to(self.device)
            if not whole.sees_images:
                raise UserError(
                    f"{self.folder} compares no pictures with texts; name an encoder that does: painted, real or a "
                    "folder of train_encoder.py"
                )
            if whole.checksum != self.checksum:
                raise UserError(f"{self.folder} has changed meanwhile; open the index again")
            self.loaded = whole
        return self.loaded

    @torch.inference_mode()
    def encode(self, query: "Query") -> np.ndarray:
        """A sentence, or a picture, which is cut to its centre square -> a unit row (E,).

        Raises UserError for a sentence without a known word, and for what is no picture.
        """
        if isinstance(query, str):
            return unit(self.loaded.encode([query]).sentence)[0]
        encoder = self.whole()
        square = read_query(query, encoder.config.image_size)
        return unit(encoder.encode_images(to_unit(torch.from_numpy(square[None]).to(self.device)))[1])[0]


def load_reader(source: Source, encoder: Path | str | None = None, device: str = "cpu") -> QueryEncoder:
    """The encoder for a set, as `Finder.open` has it."""
    if encoder is None:
        encoder = "painted" if (source.root / "parts.csv").is_file() else "real"
    return QueryEncoder(find_folder(encoder, ENCODERS), choose_device(device))


class Finder:
    """The open index of a set, and the encoder that reads queries."""

    def __init__(
        self, source: Source, index: Index, encoder: QueryEncoder, approximate: bool = False
    ) -> None:
        self.source, self.index, self.encoder, self.approximate = source, index, encoder, approximate
        self._searches: dict[str, Search] = {}

    @classmethod
    def open(
        cls,
        root: Path | str,
        split: str | None = None,
        encoder: Path | str | None = None,
        index: Path | str | None = None,
        device: str = "cpu",
        build: bool = True,
        approximate: bool = False,
    ) -> "Finder":
        """Open the index of a set in any known layout, or of a folder of pictures; it is made where there is none, and
        brought up to date where the set or the encoder has changed.

        split: as in `open_source`. encoder: a model folder or a name in ENCODERS of core.model_registry; None for the
        released one, "painted" for painted birds and "real" for others. index: where it lies, by default in the set's
        cache. build: False refuses what is not up to date. approximate: search a graph of usearch.

        Raises UserError for a folder without pictures, a model that compares no pictures with texts, or an index that
        is not there or cannot be written.
        """
        source = open_source(root, split)
        return cls.over(source, load_reader(source, encoder, device), index, build, approximate)

    @classmethod
    def over(
        cls,
        source: Source,
        reader: QueryEncoder,
        index: Path | str | None = None,
        build: bool = True,
        approximate: bool = False,
    ) -> "Finder":
        """As `open`, for a set and an encoder that are open already."""
        path = index_path(source, reader.name, None if index is None else Path(index))
        found = find_index(source, path, reader.checksum)
        if found is None and not build:
            raise UserError(
                f"no index of {source.name} as it is now and {reader.name} at {path}; make it: "
                f'python search.py --data {source.root} --split {source.split} --text "a bird"'
            )
        found = found or build_index(source, path, reader.whole(), reader.name)
        return cls(source, found, reader, approximate)

    def find(self, query: "Query", count: int = 10, what: str = PICTURES) -> list[Hit]:
        """The `count` pictures or captions that are nearest to a sentence or a picture, the nearest first; of captions
        with the same words only the first. Raises UserError as `QueryEncoder.encode` does."""
        vector = self.encoder.encode(query)
        return self.pictures(vector, count) if what == PICTURES else self.captions(vector, count)

    def pictures(self, vector: np.ndarray, count: int) -> list[Hit]:
        """Those nearest to a unit row (E,)."""
        found = self.search(vector[None], count)
        hits: list[Hit] = []
        for row, score in zip(found.rows[0], found.scores[0], strict=True):
            picture = self.index.picture(int(row))
            own = self.index.captions[self.index.captions_of(int(row))] @ vector
            caption = picture.captions[int(own.argmax())] if len(own) else ""
            hits.append(self._hit(len(hits), score, caption, picture))
        return hits

    def captions(self, vector: np.ndarray, count: int) -> list[Hit]:
        """Those nearest to a unit row (E,), no text twice. Raises UserError where the set has none."""
        if not len(self.index.captions):
            raise UserError(f"{self.source.name} has no captions to find; find pictures: --find pictures")
        asked = count
        while True:
            asked = min(4 * asked, len(self.index.captions))
            found, seen = self.search(vector[None], asked, CAPTIONS), set()
            hits: list[Hit] = []
            for row, score in zip(found.rows[0], found.scores[0], strict=True):
                text, picture = self.index.caption(int(row))
                if (words := " ".join(text.lower().split())) not in seen and len(hits) < count:
                    seen.add(words)
                    hits.append(self._hit(len(hits), score, text, picture))
            if len(hits) == count or asked == len(self.index.captions):
                return hits

    def search(self, queries: np.ndarray, count: int, what: str = PICTURES) -> Found:
        """Unit rows (Q, E) -> the nearest rows of the index's pictures or captions."""
        if what not in self._searches:
            vectors = self.index.pictures if what == PICTURES else self.index.captions
            self._searches[what] = ExactSearch(vectors)
            if self.approximate:
                mark = content_mark(self.index.about["mark"], self.encoder.checksum)
                graph = graph_path(self.index.path, what, mark)
                self._searches[what] = ApproximateSearch(vectors, graph, label=f"linking {what}")
        return self._searches[what].search(queries, count)

    def _hit(self, rank: int, score: float, caption: str, picture: Picture) -> Hit:
        return Hit(rank + 1, float(score), caption, self.source.path_of(picture.source), picture)


Query = str | Path | Image.Image  # a sentence, or a picture


def read_query(query: Path | Image.Image, size: int) -> np.ndarray:
    """A picture as the index reads those without a box: (3, S, S) uint8. Raises UserError for what is none."""
    file: Any = query
    if isinstance(query, Image.Image):
        file = BytesIO()
        (query if query.mode in PNG_MODES else query.convert("RGB")).save(file, format="PNG")
    try:
        return read_square(file, None, size)
    except DamagedItem as error:
        name = str(query)[:200] if isinstance(query, Path) else "the picture"
        raise UserError(f"cannot read {name}: {error}; name a JPEG or PNG file") from error
