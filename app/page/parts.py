"""What the tabs share: the sentence, the birds, and how a mistake is told."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.page import actions, markup, microphone, words
from app.page.models import Models
from app.page.styles import BUTTONS, SWAPS
from core.errors import UserError, printable
from t2i.suggestions import apply_offers

# One call of a model at a time; the others wait in a queue and see their place.
MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
BIRDS_KEPT = 3600  # seconds that the pictures of a visitor are kept, to be varied
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
    recognizer: gr.Dropdown
    count: gr.Slider
    seed: gr.Number
    birds: gr.HTML
    painted: gr.State  # the birds that are shown, without maps; None for none
    vary: gr.HTML
    varied: gr.HTML
    steps: gr.HTML
    paint: gr.Button
    seek: gr.Button

    @property
    def settings(self) -> list[Any]:
        return [self.sentence, self.model, self.count, self.seed]

    @property
    def results(self) -> list[Any]:
        """What `painter` fills."""
        return [self.birds, self.painted, self.vary, self.varied, self.steps]


def make_shared(models: Models) -> Shared:
    first, ears = next(iter(models.painters)), list(models.recognizers)
    return Shared(
        gr.Textbox(label="The sentence", lines=2, max_lines=4, elem_id="sb-sentence", render=False,
                   placeholder="a red bird with black wings and a yellow bill"),
        gr.HTML(elem_id="sb-offers", js_on_load=BUTTONS, render=False),
        gr.Dropdown(list(models.painters), value=first, label="Painter", render=False),
        gr.Dropdown(ears, value=ears[0], label="Recogniser", elem_id="sb-recognizer", render=False),
        gr.Slider(1, actions.MOST_BIRDS, value=4, step=1, label="Birds", render=False),
        gr.Number(0, label="First seed", precision=0, minimum=0, maximum=actions.MOST_SEED, render=False),
        gr.HTML(elem_id="sb-birds", render=False),
        gr.State(None, time_to_live=BIRDS_KEPT, render=False),
        gr.HTML(elem_id="sb-vary", js_on_load=SWAPS + BUTTONS, render=False),
        gr.HTML(elem_id="sb-varied", js_on_load=BUTTONS, render=False),
        gr.HTML(elem_id="sb-steps", render=False),
        gr.Button("Paint it", variant="primary", elem_id="sb-paint", render=False),
        gr.Button("Find pictures", elem_id="sb-seek", render=False),
    )  # fmt: skip


def place_shared(shared: Shared) -> gr.Column:
    """The sentence, its buttons and the birds."""
    with gr.Column(elem_id="sb-panel") as panel:
        shared.sentence.render()
        shared.offers.render()
        with gr.Row():
            shared.paint.render()
            shared.seek.render()
        with gr.Accordion("Models, number and seed", open=False):
            with gr.Row():
                shared.model.render()
                shared.recognizer.render()
            with gr.Row():
                shared.count.render()
                shared.seed.render()
        shared.birds.render()
    return panel


def painter(models: Models) -> Callable:
    """What paints the sentence of the page -> `Shared.results`: the first bird as soon as it is there, then all, and
    the words that may be changed."""

    @told
    def paint(text: str, model: str, count: float, seed: float) -> Iterator[tuple]:
        seeds = range(int(seed or 0), int(seed or 0) + int(count or 0))
        actions.check_seeds(list(seeds))
        first = actions.paint(models, text, model, seeds[:1], maps=False)
        yield markup.birds(first, waiting=len(seeds) - 1), None, "", "", ""
        painted = actions.paint(models, text, model, list(seeds))
        known, _ = models.vocabulary(model)
        may = markup.changing(words.pieces(painted.text, known))
        yield markup.birds(painted), replace(painted, maps=[], words=[]), may, "", ""

    return paint


def connect_shared(shared: Shared, models: Models) -> None:
    paint = painter(models)

    @told
    def look(text: str, model: str) -> str:
        text = (text or "").strip()
        if not text or len(text) > actions.LONGEST_TEXT:
            return ""
        found = actions.understand(models, text, model)
        if found and found.nothing:
            return markup.understanding(found, model)
        known, _ = models.vocabulary(model)
        return markup.understanding(found, model) + markup.open_questions(words.left_open(text, known))

    @told
    def take(text: str, event: gr.EventData) -> str:
        return apply_offers(text or "", {str(event.word): (str(event.by),)})

    painted: dict[str, Any] = {"inputs": shared.settings, "outputs": shared.results, **MODEL}
    gr.on([shared.paint.click, shared.sentence.submit], paint, **painted)
    gr.on([shared.sentence.change, shared.model.change], look, [shared.sentence, shared.model], shared.offers,
          trigger_mode="always_last", **QUICK)  # fmt: skip
    shared.offers.click(take, shared.sentence, shared.sentence, **QUICK).success(paint, **painted)
    shared.recognizer.change(None, shared.recognizer, None, js=microphone.CHOOSE, **QUICK)
