"""The page as one whole: tabs, the sentence and its birds below them, and the API."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.page import actions, seek, speak, vary, write
from app.page.listening import Speakers
from app.page.models import PAINTED, Models
from app.page.parts import MODEL, QUICK, connect_shared, make_shared, place_shared, told

TITLE = "Say a bird, see it"
KEPT_SECONDS = 300  # that an upload stays in the temporary folder at most
HEADER = (
    f'<div class="sb-head"><h1>{TITLE}</h1><p>Describe a bird aloud or in writing: it is painted, and the pictures '
    "that match are found. Nothing leaves this machine.</p></div>"
)


def build(models: Models, root: Path) -> gr.Blocks:
    """root: the checkout, for samples/."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(60, KEPT_SECONDS)) as page:
        add_api(models)  # first, for the names: later functions of the same name get a number
        gr.HTML(HEADER)
        shared, speakers = make_shared(models), Speakers(models)
        with gr.Tabs(elem_id="sb-tabs") as tabs:
            with gr.Tab("Speak", id="speak") as first:
                speak.place(shared, speakers, models, root)
            with gr.Tab("Type", id="type") as second:
                write.place(page, shared, models, root)
            with gr.Tab("Find", id="find") as third:
                found = seek.Seek(shared, speakers, models)
            with gr.Tab("Models", id="models") as fourth:
                for kind, choices in (("Painters", models.painters), ("Recognisers", models.recognizers)):
                    gr.HTML(f'<h2 class="sb-kind">{kind}</h2>')
                    for choice in choices.values():
                        with gr.Accordion(choice.name, open=choice.name == next(iter(models.painters))):
                            gr.Markdown(choice.card or "This model has no card.")
        panel = place_shared(shared)
        with panel:
            vary.place(shared, models)
        connect_shared(shared, models)
        for tab, has_panel in ((first, True), (second, True), (third, False), (fourth, False)):
            tab.select(lambda on=has_panel: gr.update(visible=on), None, panel, queue=False, **QUICK)
        shared.seek.click(
            lambda text: (text, gr.Tabs(selected="find"), gr.update(visible=False)),
            shared.sentence,
            [found.text, tabs, panel],
            **QUICK,
        ).success(found.by_text, found.inputs, found.found, **MODEL)
    page.queue(max_size=64, default_concurrency_limit=1)
    return page


def add_api(models: Models) -> None:
    """`hear`, `paint` and `find` by name, for gradio_client and plain HTTP."""
    first = next(iter(models.painters))
    with gr.Column(visible=False):
        file, text, picture = gr.File(label="sound"), gr.Textbox(label="text"), gr.File(label="picture")
        model, data = gr.Textbox(first, label="model"), gr.Textbox(PAINTED, label="data")
        recognizer = gr.Textbox(next(iter(models.recognizers)), label="recognizer")
        what, count = gr.Textbox("pictures", label="what"), gr.JSON(label="count")
        seeds, result = gr.JSON([0, 1, 2, 3], label="seeds"), gr.JSON(label="result")
        press = [gr.Button(name) for name in ("hear", "paint", "find")]

    @told
    def hear(sound: str, recognizer: str) -> dict[str, Any]:
        said = actions.hear(models, sound, recognizer)
        return actions.heard_json(said, models.recognizer(recognizer).is_ours)

    @told
    def paint(text: str, model: str, seeds: list[int]) -> dict[str, Any]:
        return actions.painted_json(actions.paint(models, text, model, check_list(seeds), maps=False))

    @told
    def find(text: str, picture: str | None, data: str, what: str, count: Any) -> list[dict[str, Any]]:
        many = 8 if count is None else count
        return actions.found_json(actions.find(models, text, picture, data, what, many))

    public = MODEL | {"api_visibility": "public"}
    press[0].click(hear, [file, recognizer], result, api_name="hear", **public)
    press[1].click(paint, [text, model, seeds], result, api_name="paint", **public)
    press[2].click(find, [text, picture, data, what, count], result, api_name="find", **public)


def check_list(seeds: Any) -> list[int]:
    """What came as JSON. Raises UserError for anything but a list of seeds."""
    from core.errors import UserError

    if not isinstance(seeds, list):
        raise UserError("seeds: a list of whole numbers was expected, e.g. [0, 1, 2, 3]")
    return actions.check_seeds(seeds)
