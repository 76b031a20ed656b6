"""HTML of what was heard, painted and found. Every word of a visitor or a file goes through `esc`."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.hearing import DOUBTFUL_WORD
from app.page import sound
from app.page.actions import Found, Painted, as_zip, data_uri, note_of, zipped

if TYPE_CHECKING:
    from app.page.variations import Walk
    from app.page.words import Piece
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


def heard(transcript: "Transcript", ours: bool = True) -> str:
    """Every word with its confidence, and what a visitor should know. ours: see `note_of`."""
    words = " ".join(
        f'<span class="sb-word{" sb-doubt" if ours and word.confidence < DOUBTFUL_WORD else ""}">{esc(word.text)}'
        f'<small aria-label="confidence {word.confidence:.0%}">{word.confidence * 100:.0f}</small></span>'
        for word in transcript.words
    )
    line = f'<p class="sb-heard">{words}</p>' if words else ""
    return line + note(note_of(transcript, ours))


def note(text: str) -> str:
    """A remark; "" for none."""
    return f'<p class="sb-note">{esc(text)}</p>' if text else ""


def spectrogram(heard: "sound.Sound") -> str:
    """Folded: the picture of what was heard, its words below their times."""
    picture = data_uri(sound.draw(heard))
    return (
        '<details class="sb-fold sb-sound"><summary>See the sound</summary>'
        '<div class="sb-scroll" tabindex="0" role="group" aria-label="Spectrogram">'
        f'<img src="{picture}" alt="{esc(sound.told(heard))}"></div>'
        f'<a class="sb-link" download="spectrogram.png" href="{picture}">Download</a></details>'
    )


def known_words(some: Sequence[str], model: str) -> str:
    """Folded: words to describe a bird with."""
    return (
        f'<details class="sb-fold"><summary>Words that {esc(model)} knows</summary>'
        f"<p>{esc(', '.join(some))}, …</p></details>"
    )


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


def open_questions(names: Sequence[str]) -> str:
    """What a sentence says nothing of."""
    if not names:
        return ""
    said = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return note(f"It says nothing of {said}: the painter chooses.")


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
    """What is shown: the pictures, an earlier stage, or where a word was painted; nothing to choose without these."""
    if not last and not painted.words:
        return ""
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


def changing(found: "Sequence[Piece]") -> str:
    """The sentence, of which a word is a button where others may be said in its place; these follow, folded."""
    if not any(piece.choices for piece in found):
        return ""
    line = "".join(
        f'<button type="button" class="sb-swap" aria-expanded="false" aria-controls="sb-choices{piece.word}">'
        f"{esc(piece.text)}</button>"
        if piece.choices
        else esc(piece.text)
        for piece in found
    )
    folded = "".join(
        f'<div class="sb-chips" id="sb-choices{piece.word}" role="group" aria-label="In place of {esc(piece.text)}" '
        "hidden>"
        + "".join(
            f'<button type="button" class="sb-chip" data-number="{piece.word}" data-by="{esc(by)}">{esc(by)}</button>'
            for by in piece.choices
        )
        + "</div>"
        for piece in found
        if piece.choices
    )
    return (
        f'<section class="sb-change"><h3>Change one word</h3><p class="sb-line">{line}</p>{folded}</section>'
    )


def changed(before: Painted, after: Painted) -> str:
    """Every seed before and after, side by side; the word that is new is marked."""
    old, new = before.text.split(), after.text.split()
    line = " ".join(
        f"<mark>{esc(word)}</mark>" if i >= len(old) or word != old[i] else esc(word)
        for i, word in enumerate(new)
    )
    pairs = "".join(
        f'<div class="sb-pair" role="group" aria-label="seed {seed}">'
        + _plain_figure(before.pictures[i], before.text, f"seed {seed}, before")
        + _plain_figure(after.pictures[i], after.text, "after", f"bird-seed{seed}-changed.png")
        + "</div>"
        for i, seed in enumerate(after.seeds)
    )
    return (
        f'<section class="sb-birds sb-changed" aria-label="Before and after"><header><h2>“{line}”</h2></header>'
        f'<div class="sb-pairs">{pairs}</div><button type="button" class="sb-chip" data-text="{esc(after.text)}">'
        "Go on from this sentence</button></section>"
    )


def walk(done: "Walk") -> str:
    """Pictures of one seed from one sentence to another, in a row."""
    figures = "".join(
        _plain_figure(picture, done.name(i), str(i + 1), f"bird-step{i + 1}.png")
        for i, picture in enumerate(done.pictures)
    )
    whole = data_uri(
        zipped({f"step{i + 1}.png": p for i, p in enumerate(done.pictures)}, done.facts), "application/zip"
    )
    return (
        f'<section class="sb-birds" aria-label="From one sentence to the other"><header><p>seed {done.seed} '
        f'<a class="sb-link" download="birds.zip" href="{whole}">Download all</a></p></header>'
        f'<div class="sb-scroll" tabindex="0" role="group" aria-label="{len(done.pictures)} steps">'
        f'<div class="sb-strip">{figures}</div></div>'
        f'<p class="sb-ends"><span>{esc(done.first)}</span><span>{esc(done.second)}</span></p></section>'
    )


def _plain_figure(picture: bytes, alt: str, label: str, file: str = "") -> str:
    """file: the name to download it by, "" for no download."""
    uri = data_uri(picture)
    link = (
        f'<a class="sb-link" download="{file}" href="{uri}" aria-label="Download {file}">PNG</a>'
        if file
        else ""
    )
    return (
        f'<figure class="sb-bird"><div><img src="{uri}" alt="{esc(alt)}"></div>'
        f"<figcaption>{esc(label)}{link}</figcaption></figure>"
    )


def hits(found: Sequence[Found], about: str, what: str = "pictures") -> str:
    """What was found: rank, score, caption, source."""
    items = "".join(
        f'<li><div>{_thumbnail(hit)}</div><p class="sb-rank"><b>{hit.rank}</b> '
        f'<span class="sb-score" title="cosine of the two embeddings">{hit.score:.3f}</span></p>\n'
        f'<p class="sb-caption">{esc(hit.caption)}</p>\n<p class="sb-source">{esc(hit.source)}</p></li>'
        for hit in found
    )
    return f'<section class="sb-found sb-{esc(what)}"><header><h2>{esc(about)}</h2></header><ol>{items}</ol></section>'


def _thumbnail(hit: Found) -> str:
    if not hit.picture:
        return "<span>no longer there</span>"
    name = esc(hit.caption or hit.source)
    return f'<img src="{data_uri(hit.picture, "image/jpeg")}" alt="{name}" loading="lazy">'
