"""The tab Type: sentences that work at once, and the words that the chosen model knows."""

from pathlib import Path

import gradio as gr

from app.page import markup
from app.page.models import Models
from app.page.parts import MODEL, QUICK, Shared, painter, told
from app.page.styles import BUTTONS
from t2i.suggestions import words_to_try


def place(page: gr.Blocks, shared: Shared, models: Models, root: Path) -> None:
    path = root / "samples" / "sentences.txt"
    sentences = [line for line in path.read_text(encoding="utf-8").splitlines() if line][:6]
    examples = gr.HTML(markup.examples(sentences), elem_id="sb-examples", js_on_load=BUTTONS)
    known = gr.HTML(elem_id="sb-known")

    @told
    def show_words(model: str) -> str:
        words, _ = models.vocabulary(model)
        return "" if words is None else markup.known_words(words_to_try(words, 40), model)

    @told
    def choose(event: gr.EventData) -> str:
        return str(event.text)

    examples.click(choose, None, shared.sentence, **QUICK).success(
        painter(models), shared.settings, shared.results, **MODEL
    )
    shared.model.change(show_words, shared.model, known, **QUICK)
    page.load(show_words, shared.model, known, **QUICK)
