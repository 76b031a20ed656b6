"""What the page and its API do: hear, paint, find. Plain functions with limits; every mistake is a UserError."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from app.console import listed, short
from app.finding import DRAWN_SIDE, picture_of
from app.hearing import DOUBTFUL, DOUBTFUL_WORD
from app.options import LONGEST_TEXT
from app.outputs import clean_text, png_facts
from app.page.listening import LONGEST
from app.page.models import Models
from app.page.usage import counted
from core.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from asr.transcript import Transcript
    from t2i.suggestions import Understanding

MOST_BIRDS = 9  # painted at once
MOST_SEED = 2**31 - 1
MOST_HITS = 24
MOST_UPLOAD = 20  # MB of a recording or picture


# ---- hear ----


@counted
def hear(models: Models, sound: Path | str | bytes | np.ndarray, recognizer: str = "") -> "Transcript":
    """A recording as `read_recording` takes it -> Transcript. recognizer: its name, "" for the first.

    Raises UserError as `read_recording` does, and where there is no recogniser of that name.
    """
    samples = read_recording(sound)
    with models.turn():
        return models.hearing(recognizer).hear(samples)


def read_recording(sound: Path | str | bytes | np.ndarray) -> np.ndarray:
    """A recording of at most a minute, told by its content and never by its name -> samples (S,) at 16 kHz.

    Raises UserError where it cannot be read, is too large or too long.
    """
    from asr.audio import as_samples

    return as_samples(upload(sound) if isinstance(sound, str | Path) else sound, LONGEST)


def heard_json(transcript: "Transcript", ours: bool = True) -> dict[str, Any]:
    """A transcript in JSON's own types; times in seconds. ours: see `note_of`."""
    from dataclasses import asdict

    return {
        "text": transcript.text,
        "confidence": transcript.confidence,
        "seconds": transcript.seconds,
        "words": [asdict(word) for word in transcript.words],
        "note": note_of(transcript, ours),
    }


def note_of(transcript: "Transcript", ours: bool = True) -> str:
    """What a visitor should know of a transcript; "" where all is well. ours: whether its confidences are those of our
    recogniser, which alone are known to tell doubtful words."""
    if transcript.no_speech:
        why = transcript.why_nothing
        return f"{why[0].upper()}{why[1:]}."
    if not ours:
        return ""
    doubtful = [word.text for word in transcript.words if word.confidence < DOUBTFUL_WORD]
    if transcript.confidence < DOUBTFUL:
        return (
            "Not sure of this: it knows descriptions of birds in English. Correct it below, or say it again."
        )
    return f"Not sure of: {listed(doubtful)}. Correct it below." if doubtful else ""


def upload(path: Path | str) -> bytes:
    """An uploaded file's content. Raises UserError where it is gone, empty or too large."""
    try:
        size = Path(path).stat().st_size
        if size > MOST_UPLOAD * 10**6:
            raise UserError(
                f"the file has {size / 1e6:.0f} MB, at most {MOST_UPLOAD} MB are taken; shorten it"
            )
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError("the upload did not arrive; try it again") from error
    if not content:
        raise UserError("the file is empty; choose another")
    return content


# ---- paint ----


@dataclass
class Painted:
    """Birds of one sentence. stages: of every stage B pictures, PNG with their facts; words: of the sentence, each with
    B maps of where it was painted, PNG with transparency, none where the model attends to no words."""

    text: str
    model: str
    seeds: list[int]
    sides: list[int]  # px, of every stage
    stages: list[list[bytes]]
    words: list[str]
    maps: list[list[bytes]]
    understood: "Understanding | None"
    facts: dict[str, str]

    @property
    def pictures(self) -> list[bytes]:
        """Those of the last stage."""
        return self.stages[-1]


def check_sentence(text: str) -> str:
    """The sentence on one line. Raises UserError where it is empty or too long."""
    cleaned = clean_text(text or "")
    if not cleaned:
        raise UserError('there is no sentence yet; describe a bird, e.g. "a red bird with black wings"')
    if len(cleaned) > LONGEST_TEXT:
        raise UserError(f"the text has {len(cleaned)} characters; one sentence of at most {LONGEST_TEXT}")
    return cleaned


def understand(models: Models, text: str, model: str) -> "Understanding | None":
    """Which words of a sentence a painter knows, and what to say instead of others; None where it reads letters."""
    from t2i.suggestions import understand as of_words

    words, longest = models.vocabulary(model)
    return None if words is None else of_words(text, words, longest)


def understand_something(models: Models, text: str, model: str) -> "Understanding | None":
    """As `understand`. Raises UserError for a sentence without a known word."""
    understood = understand(models, text, model)
    if understood and understood.nothing:
        raise nothing_known(text, models.vocabulary(model)[0] or [], model)
    return understood


@counted
def paint(models: Models, text: str, model: str, seeds: Sequence[int], maps: bool = True) -> Painted:
    """A sentence, a painter's name and B seeds -> Painted. maps: with where each word was painted.

    Raises UserError for an empty or too long sentence, one without a known word, an unknown model, too many seeds.
    """
    from visualization.canvas import to_image

    text, seeds = check_sentence(text), check_seeds(seeds)
    bird = models.painting(model)
    understood = understand_something(models, text, model)
    with models.turn():
        samples = bird.paint(text, seeds)
    painter = bird.painter
    assert painter is not None
    facts = {
        "Software": "saybird",
        "text": text,
        "model": model,
        "model sha256": painter.checksum,
        "precision": painter.precision,
    }
    stages = [
        [
            as_png(to_image(picture), facts | {"seeds": str(seed)})
            for picture, seed in zip(stage.float().numpy(), seeds, strict=True)
        ]
        for stage in samples.images
    ]
    words, looked = [], []
    if maps and samples.attention:
        words = samples.tokens[0]
        looked = [
            [as_png(heat_map(weights)) for weights in samples.attention[-1][:, i].float().numpy()]
            for i in range(len(words))
        ]
    sides = [stage.shape[-1] for stage in samples.images]
    return Painted(text, model, list(seeds), sides, stages, words, looked, understood, facts)


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Raises UserError for none, too many, or what is no seed."""
    if not 1 <= len(seeds) <= MOST_BIRDS:
        raise UserError(f"{len(seeds)} birds were asked for; 1 to {MOST_BIRDS} are painted at once")
    if any(
        isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST_SEED for seed in seeds
    ):
        raise UserError(f"a seed is a whole number from 0 to {MOST_SEED}")
    return list(seeds)


def heat_map(weights: np.ndarray) -> "Image":
    """Attention (m, m) that one word got -> colours that lie over a picture, clear where there is none."""
    from PIL import Image

    from visualization.canvas import heat

    peak = float(weights.max())
    share = np.clip(weights / peak if peak > 0 else weights, 0, 1)
    pixels = np.concatenate([heat(share), 255 * 0.9 * share[..., None] ** 0.7], axis=-1)
    return Image.fromarray(pixels.round().astype(np.uint8), "RGBA")


def as_png(image: "Image", facts: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=png_facts(facts) if facts else None)
    return file.getvalue()


def as_zip(painted: Painted) -> bytes:
    """All pictures of the last stage, with a text that says what they are."""
    names = [f"seed{seed}.png" for seed in painted.seeds]
    facts = painted.facts | {"seeds": ", ".join(map(str, painted.seeds))}
    return zipped(dict(zip(names, painted.pictures, strict=True)), facts)


def zipped(pictures: dict[str, bytes], facts: dict[str, str]) -> bytes:
    """Pictures by their names, and their facts in birds.txt."""
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, picture in pictures.items():
            archive.writestr(name, picture)
        archive.writestr("birds.txt", "".join(f"{key}: {value}\n" for key, value in facts.items()))
    return file.getvalue()


def painted_json(painted: Painted) -> dict[str, Any]:
    """Painted birds in JSON's own types, pictures as data: URIs of PNG."""
    u = painted.understood
    return {
        "text": painted.text,
        "model": painted.model,
        "seeds": painted.seeds,
        "known": u.known if u else None,
        "unknown": u.unknown if u else [],
        "offers": u.offers if u else {},
        "pictures": [data_uri(picture) for picture in painted.pictures],
    }


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# ---- find ----


class Found(NamedTuple):
    """rank: 1 for the nearest; score: a cosine; caption: "" where there is none; source: the file's name; picture: a
    JPEG, b"" where it cannot be read any more."""

    rank: int
    score: float
    caption: str
    source: str
    picture: bytes


@counted
def find(
    models: Models,
    text: str = "",
    picture: Path | str | None = None,
    data: str = "painted_birds",
    what: str = "pictures",
    count: int = 8,
) -> list[Found]:
    """The pictures or captions of a set that are nearest to a sentence, or to a picture, the nearest first.

    Raises UserError for neither of them, what is no picture, an unknown set, or a count out of range.
    """
    if what not in ("pictures", "captions"):
        raise UserError(f'"{short(str(what), 60)}" cannot be found; pictures or captions can')
    if type(count) is not int or not 1 <= count <= MOST_HITS:
        raise UserError(f"{short(str(count), 20)} were asked for; 1 to {MOST_HITS} are found at once")
    query: Any = open_picture(picture) if picture else check_sentence(text)
    finder = models.finding(data)
    with models.turn():
        if isinstance(query, str):
            refuse_unknown(query, finder.encoder.loaded.vocabulary_words, finder.encoder.name)
        hits = finder.find(query, count, what)
    return [
        Found(hit.rank, hit.score, hit.caption, Path(hit.source).name, thumbnail(hit.source, hit.picture.box))
        for hit in hits
    ]


def refuse_unknown(text: str, words: Sequence[str] | None, name: str) -> None:
    """Raises UserError for a sentence of which nothing that describes a bird is known."""
    if words is None:
        return
    from t2i.suggestions import understand as of_words

    if of_words(text, words, len(text)).nothing:
        raise nothing_known(text, words, name)


def nothing_known(text: str, words: Sequence[str], name: str) -> UserError:
    """What is said of a sentence without a known word. words: those that the model of that name knows."""
    from t2i.suggestions import words_to_try

    known = ", ".join(words_to_try(words, 12))
    return UserError(
        f'no word of "{short(text, 60)}" that describes a bird is known to {name}; it knows e.g. {known}'
    )


def open_picture(path: Path | str) -> "Image":
    """An uploaded picture, told by its content. Raises UserError for what is none."""
    from PIL import Image

    content = upload(path)
    try:
        image = Image.open(io.BytesIO(content), formats=["JPEG", "PNG"])
        image.load()
    except Exception as error:  # whatever a decoder says of damaged bytes
        raise UserError("this is no picture that can be read; choose a JPEG or PNG") from error
    return image


def thumbnail(source: str, box: Sequence[int] | None) -> bytes:
    """A small JPEG of a picture found, as the encoder sees it."""
    from visualization.canvas import to_image

    picture = picture_of(Path(source), box)
    if picture is None:
        return b""
    image, file = to_image(picture), io.BytesIO()
    image.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


def found_json(hits: Sequence[Found]) -> list[dict[str, Any]]:
    return [hit._asdict() | {"picture": data_uri(hit.picture, "image/jpeg")} for hit in hits]
