"""What the tabs share: the sentence, the birds, and how a mistake is told."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.page import actions, markup
from app.page.models import Models
from app.page.styles import BUTTONS
from core.errors import UserError, printable
from t2i.suggestions import apply_offers

# One call of a model at a time; the others wait in a queue and see their place.
MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
log = logging.getLogger(__name__)


def told(fn: Callable) -> Callable:
    """A mistake of a visitor becomes one line on the page; of ours too, with the traceback in the log alone."""

    def line(error: Exception) -> gr.Error:
        if isinstance(error, UserError):
            said = printable(error)
        else:
            log.error("the page", exc_info=error)
            said = "something went wrong here, not with you; try it again"
        text = html.escape(said[:1].upper() + said[1:], quote=False)
        return gr.Error(text, print_exception=False, title="Not yet", duration=12)

    @functools.wraps(fn)
    def answer(*args: Any) -> Any:
        try:
            return fn(*args)
        except gr.Error:
            raise
        except Exception as error:
            raise line(error) from None

    @functools.wraps(fn)
    def answers(*args: Any) -> Iterator[Any]:
        try:
            yield from fn(*args)
        except gr.Error:
            raise
        except Exception as error:
            raise line(error) from None

    return answers if inspect.isgeneratorfunction(fn) else answer


@dataclass
class Shared:
    """Components that more than one tab uses, made before the tabs and placed after them."""

    sentence: gr.Textbox
    offers: gr.HTML
    model: gr.Dropdown
    count: gr.Slider
    seed: gr.Number
    birds: gr.HTML
    paint: gr.Button
    seek: gr.Button

    @property
    def settings(self) -> list[Any]:
        return [self.sentence, self.model, self.count, self.seed]


def make_shared(models: Models) -> Shared:
    first = next(iter(models.painters))
    return Shared(
        gr.Textbox(label="The sentence", lines=2, max_lines=4, elem_id="sb-sentence", render=False,
                   placeholder="a red bird with black wings and a yellow bill"),
        gr.HTML(elem_id="sb-offers", js_on_load=BUTTONS, render=False),
        gr.Dropdown(list(models.painters), value=first, label="Model", render=False),
        gr.Slider(1, actions.MOST_BIRDS, value=4, step=1, label="Birds", render=False),
        gr.Number(0, label="First seed", precision=0, minimum=0, maximum=actions.MOST_SEED, render=False),
        gr.HTML(elem_id="sb-birds", render=False),
        gr.Button("Paint it", variant="primary", elem_id="sb-paint", render=False),
        gr.Button("Find pictures of it", elem_id="sb-seek", render=False),
    )  # fmt: skip


def place_shared(shared: Shared) -> gr.Column:
    """The sentence, its buttons and the birds."""
    with gr.Column(elem_id="sb-panel") as panel:
        shared.sentence.render()
        shared.offers.render()
        with gr.Row():
            shared.paint.render()
            shared.seek.render()
        with gr.Accordion("Model, number and seed", open=False), gr.Row():
            shared.model.render()
            shared.count.render()
            shared.seed.render()
        shared.birds.render()
    return panel


def painter(models: Models) -> Callable:
    """What paints the sentence of the page: the first bird as soon as it is there, then all."""

    @told
    def paint(text: str, model: str, count: float, seed: float) -> Iterator[str]:
        seeds = range(int(seed or 0), int(seed or 0) + int(count or 0))
        actions.check_seeds(list(seeds))
        first = actions.paint(models, text, model, seeds[:1], maps=False)
        yield markup.birds(first, waiting=len(seeds) - 1)
        yield markup.birds(actions.paint(models, text, model, list(seeds)))

    return paint


def connect_shared(shared: Shared, models: Models) -> None:
    paint = painter(models)

    @told
    def look(text: str, model: str) -> str:
        text = (text or "").strip()
        if not text or len(text) > actions.LONGEST_TEXT:
            return ""
        return markup.understanding(actions.understand(models, text, model), model)

    @told
    def take(text: str, event: gr.EventData) -> str:
        return apply_offers(text or "", {str(event.word): (str(event.by),)})

    painted: dict[str, Any] = {"inputs": shared.settings, "outputs": shared.birds, **MODEL}
    gr.on([shared.paint.click, shared.sentence.submit], paint, **painted)
    gr.on([shared.sentence.change, shared.model.change], look, [shared.sentence, shared.model], shared.offers,
          trigger_mode="always_last", **QUICK)  # fmt: skip
    shared.offers.click(take, shared.sentence, shared.sentence, **QUICK).success(paint, **painted)
