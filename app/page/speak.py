"""The tab Speak: a microphone, the text while somebody speaks, each word with its confidence."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.page import actions, markup, microphone
from app.page.listening import LONGEST, Speakers
from app.page.models import Models
from app.page.parts import MODEL, Shared, painter, told
from core.errors import UserError

SAMPLES = {"blue bird": "blue_bird.ogg", "red crown": "red_crown.ogg", "green tail": "green_tail.ogg"}
EMPTY = '<p class="sb-note">Press the button and describe a bird; press it again when you are done.</p>'


def place(shared: Shared, models: Models, root: Path) -> None:
    speakers, paint = Speakers(models), painter(models)

    def listen(data: Any) -> dict[str, Any]:
        """Called by the browser, several times a second -> the text so far; stop: nothing more is heard."""
        try:
            one = speakers.feed(data)
        except UserError as error:
            return {"html": f'<p class="sb-note">{markup.esc(error)}</p>', "stop": True}
        if one.is_full:
            full = f"{LONGEST:.0f} seconds are full."
            return {"html": f'<p class="sb-note">{full}</p>', "stop": True}
        return {"html": markup.listening(one.partial), "stop": False}

    @told
    def finish(event: gr.EventData) -> tuple[str, Any]:
        said = speakers.finish(event.id)
        return markup.heard(said), said.text or gr.skip()

    @told
    def hear(path: str) -> tuple[str, Any]:
        said = actions.hear(models, path)
        return markup.heard(said), said.text or gr.skip()

    @told
    def paint_heard(shown: str, *settings: Any) -> Any:
        if "sb-word" in (shown or ""):
            yield from paint(*settings)

    button = gr.HTML(
        microphone.MARKUP, elem_id="sb-mic", js_on_load=microphone.SCRIPT, server_functions=[listen]
    )
    transcript = gr.HTML(EMPTY, elem_id="sb-transcript")
    with gr.Row(elem_classes="sb-row"):
        upload = gr.UploadButton("Upload a recording", type="filepath", size="sm", elem_id="sb-upload")
        gr.HTML('<span class="sb-note">or play one:</span>')
        samples = [gr.Button(name, size="sm") for name in SAMPLES]

    def then_paint(event: Any) -> None:
        event.success(
            paint_heard,
            [transcript, *shared.settings],
            shared.birds,
            **MODEL,
        )

    heard = [transcript, shared.sentence]
    said = button.submit(finish, None, heard, show_progress="hidden", **MODEL)
    said.then(None, js=microphone.DONE)
    then_paint(said)
    then_paint(upload.upload(hear, upload, heard, show_progress_on=transcript, **MODEL))
    for sample, name in zip(samples, SAMPLES.values(), strict=True):
        then_paint(
            sample.click(
                lambda path=str(root / "samples" / name): hear(path),
                None,
                heard,
                show_progress_on=transcript,
                **MODEL,
            )
        )
