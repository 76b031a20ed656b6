"""HTML of what was heard, painted and found. Every word of a visitor or a file goes through `esc`."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.hearing import DOUBTFUL_WORD
from app.page.actions import Found, Painted, as_zip, data_uri, note_of

if TYPE_CHECKING:
    from asr.streaming import Partial
    from asr.transcript import Transcript
    from t2i.suggestions import Understanding


def esc(text: object) -> str:
    """Text that stays text in HTML, and in the templates through which Gradio puts it."""
    shown = html.escape(str(text))
    for letter in "{}$`\\":
        shown = shown.replace(letter, f"&#{ord(letter)};")
    return shown


def listening(partial: "Partial | None") -> str:
    """The text while somebody speaks: what may still change is paler."""
    if partial is None or not (partial.stable or partial.tentative):
        return '<p class="sb-heard sb-soft">Listening…</p>'
    return (
        f'<p class="sb-heard">{esc(partial.stable)} <span class="sb-soft">{esc(partial.tentative)}</span></p>'
    )


def heard(transcript: "Transcript") -> str:
    """Every word with its confidence, and what a visitor should know."""
    note = note_of(transcript)
    words = " ".join(
        f'<span class="sb-word{" sb-doubt" if word.confidence < DOUBTFUL_WORD else ""}">{esc(word.text)}'
        f'<small aria-label="confidence {word.confidence:.0%}">{word.confidence * 100:.0f}</small></span>'
        for word in transcript.words
    )
    line = f'<p class="sb-heard">{words}</p>' if words else ""
    return line + (f'<p class="sb-note">{esc(note)}</p>' if note else "")


def examples(sentences: Sequence[str]) -> str:
    """Buttons that put a sentence in."""
    return '<div class="sb-chips">' + "".join(
        f'<button type="button" class="sb-chip" data-text="{esc(text)}">{esc(text)}</button>'
        for text in sentences
    ) + "</div>"  # fmt: skip


def understanding(found: "Understanding | None", model: str) -> str:
    """The words that are not known, each with what to say instead as buttons; and what else has no say."""
    if found is None:
        return ""
    lines = []
    for word in [*(w for w in found.offers if " " in w), *found.unknown]:
        if any(word != phrase and word in phrase.split() for phrase in found.offers):
            continue
        buttons = "".join(
            f'<button type="button" class="sb-chip" data-word="{esc(word)}" data-by="{esc(offer)}">'
            f"<s>{esc(word)}</s> → {esc(offer)}</button>"
            for offer in found.offers.get(word, ())
        )
        lines.append(f'<span class="sb-unknown"><mark>{esc(word)}</mark>{buttons or " is left out"}</span>')
    notes = [
        f"“{esc(word)}” is not understood: what follows it is painted all the same." for word in found.negated
    ]
    if found.beyond:
        notes.append(f"Only the first {len(found.known)} known words are painted.")
    said = f'<p class="sb-label">Words that {esc(model)} does not know</p><p>{" ".join(lines)}</p>'
    return (said if lines else "") + "".join(f'<p class="sb-note">{note}</p>' for note in notes)


def birds(painted: Painted, waiting: int = 0) -> str:
    """The pictures, each with its seed and download; above them the words, which show where they were painted.

    waiting: how many birds are still to come.
    """
    caption, last = esc(painted.text), len(painted.stages) - 1
    figures = "".join(_figure(painted, i, caption, last) for i in range(len(painted.seeds)))
    figures += '<figure class="sb-bird sb-waiting" aria-hidden="true"><div></div></figure>' * waiting
    zipped = (
        ""
        if waiting
        else (
            f'<a class="sb-link" download="birds.zip" href="{data_uri(as_zip(painted), "application/zip")}">'
            "Download all</a>"
        )
    )
    count = len(painted.seeds) + waiting
    return (
        f'<section class="sb-birds" aria-label="{count} birds"><header><h2>“{caption}”</h2>'
        f"<p>{esc(painted.model)} · {painted.sides[-1]} px {zipped}</p></header>"
        f"{_views(painted, last) if not waiting else ''}"
        f'<div class="sb-grid sb-{min(count, 4)}">{figures}</div></section>'
    )


def _views(painted: Painted, last: int) -> str:
    """What is shown: the pictures, an earlier stage, or where a word was painted."""
    views = [("picture", "pictures", True)]
    views += [(f"stage{i}", f"{painted.sides[i]} px stage", False) for i in range(last)]
    labels = "".join(
        f'<label><input type="radio" name="sb-view" class="sb-pick-{key}"{" checked" if on else ""}>'
        f"<span>{esc(name)}</span></label>"
        for key, name, on in views
    )
    if painted.words:
        labels += '<span class="sb-label">where it looked for</span>' + "".join(
            f'<label><input type="radio" name="sb-view" class="sb-pick-word{i}"><span>{esc(word)}</span></label>'
            for i, word in enumerate(painted.words)
        )
    return f'<div class="sb-views" role="radiogroup" aria-label="What to show">{labels}</div>'


def _figure(painted: Painted, i: int, caption: str, last: int) -> str:
    seed, picture = painted.seeds[i], data_uri(painted.pictures[i])
    over = "".join(
        f'<img class="sb-over sb-stage{stage}" src="{data_uri(painted.stages[stage][i])}" alt="">'
        for stage in range(last)
    )
    over += "".join(
        f'<img class="sb-over sb-word{w}" src="{data_uri(maps[i])}" alt="">'
        for w, maps in enumerate(painted.maps)
    )
    return (
        f'<figure class="sb-bird"><div><img src="{picture}" alt="{caption}">{over}</div>'
        f'<figcaption>seed {seed}<a class="sb-link" download="bird-seed{seed}.png" href="{picture}" '
        f'aria-label="Download the bird of seed {seed}">PNG</a></figcaption></figure>'
    )


def hits(found: Sequence[Found], about: str, what: str = "pictures") -> str:
    """What was found: rank, score, caption, source."""
    items = "".join(
        f'<li><div>{_thumbnail(hit)}</div><p><b>{hit.rank}</b> <span class="sb-score">{hit.score:.3f}</span></p>'
        f'<p class="sb-caption">{esc(hit.caption)}</p><p class="sb-source">{esc(hit.source)}</p></li>'
        for hit in found
    )
    return f'<section class="sb-found sb-{esc(what)}"><header><h2>{esc(about)}</h2></header><ol>{items}</ol></section>'


def _thumbnail(hit: Found) -> str:
    if not hit.picture:
        return "<span>no longer there</span>"
    name = esc(hit.caption or hit.source)
    return f'<img src="{data_uri(hit.picture, "image/jpeg")}" alt="{name}" loading="lazy">'
