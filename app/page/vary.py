"""Below the birds: one word changed at the same seeds, and the way from this sentence to another."""

from typing import Any

import gradio as gr

from app.page import markup
from app.page.actions import Painted
from app.page.models import Models
from app.page.parts import MODEL, QUICK, Shared, painter, told
from app.page.variations import STEPS, change_word, walk
from core.errors import UserError


def place(shared: Shared, models: Models) -> None:
    for component in (shared.painted, shared.vary, shared.varied):
        component.render()
    with gr.Accordion("From this bird to another", open=False, elem_id="sb-walk"):
        other = gr.Textbox(
            label="The sentence to go to", placeholder="a blue bird with a white belly", lines=1
        )
        go = gr.Button(f"Show {STEPS} steps", elem_id="sb-go")
        shared.steps.render()

    @told
    def change(before: Painted | None, event: gr.EventData) -> str:
        before = still_there(before)
        return markup.changed(before, change_word(models, before, number_of(event.number), str(event.by)))

    @told
    def go_on(event: gr.EventData) -> str:
        return str(event.text)

    @told
    def show_walk(before: Painted | None, other: str) -> str:
        return markup.walk(walk(models, still_there(before), other))

    shared.vary.click(change, shared.painted, shared.varied, show_progress_on=shared.vary, **MODEL)
    shared.varied.click(go_on, None, shared.sentence, **QUICK).success(
        painter(models), shared.settings, shared.results, **MODEL
    )
    gr.on([go.click, other.submit], show_walk, [shared.painted, other], shared.steps, **MODEL)


def still_there(painted: Painted | None) -> Painted:
    """The birds that are shown. Raises UserError where they are no longer kept."""
    if painted is None:
        raise UserError("these birds are no longer kept; paint them again")
    return painted


def number_of(text: Any) -> int:
    """A word's number as the browser sends it. Raises UserError for anything else."""
    if not str(text).isascii() or not str(text).isdigit():
        raise UserError("this word cannot be changed; choose another")
    return int(str(text)[:6])
