"""The tab Speak: a microphone, the text while somebody speaks, each word with its confidence."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.page import actions, markup
from app.page.listening import LONGEST, Listening, take
from app.page.models import Models
from app.page.parts import MODEL, QUICK, Shared, painter, told

SAMPLES = {"blue bird": "blue_bird.ogg", "red crown": "red_crown.ogg", "green tail": "green_tail.ogg"}
SPEAKERS = 16  # at once
EMPTY = '<p class="sb-note">Press the button, or the space bar, and describe a bird. Press it again when done.</p>'


def place(shared: Shared, models: Models, root: Path) -> None:
    microphone = gr.Audio(
        sources=["microphone"], streaming=True, type="filepath", show_label=False, elem_id="sb-mic"
    )
    transcript = gr.HTML(EMPTY, elem_id="sb-transcript")
    with gr.Row(elem_classes="sb-row"):
        upload = gr.UploadButton("Upload a recording", type="filepath", size="sm", elem_id="sb-upload")
        gr.HTML('<span class="sb-note">or play one:</span>')
        samples = [gr.Button(name, size="sm") for name in SAMPLES]
    state = gr.State(None, time_to_live=900)
    paint = painter(models)

    def start() -> tuple[Any, str]:
        return Listening(models), markup.listening(None)

    @told
    def listen(path: str | None, listening: Listening | None) -> tuple[Any, Any, Any]:
        listening = listening or Listening(models)
        partial = listening.feed(content) if path and (content := take(path)) else None
        if listening.is_done:  # the last chunk came after the end
            said = listening.finish()
            return markup.heard(said), listening, said.text or gr.skip()
        note = f"{LONGEST:.0f} seconds are full: press stop." if listening.is_full else ""
        shown = markup.listening(partial) if partial else gr.skip()
        return f'<p class="sb-note">{note}</p>' if note else shown, listening, gr.skip()

    @told
    def finish(listening: Listening | None) -> tuple[str, Any]:
        said = (listening or Listening(models)).finish()
        return markup.heard(said), said.text or gr.skip()

    @told
    def hear(path: str) -> tuple[str, Any]:
        said = actions.hear(models, path)
        return markup.heard(said), said.text or gr.skip()

    def paint_heard(shown: str, *settings: Any) -> Any:
        if "sb-word" in (shown or ""):
            yield from paint(*settings)

    def then_paint(event: Any) -> None:
        event.success(
            told(paint_heard),
            [transcript, *shared.settings],
            shared.shown,
            show_progress_on=shared.birds,
            **MODEL,
        )

    heard = [transcript, shared.sentence]
    microphone.start_recording(start, None, [state, transcript], queue=False, **QUICK)
    microphone.stream(
        listen,
        [microphone, state],
        [transcript, state, shared.sentence],
        stream_every=0.5,
        time_limit=int(LONGEST) + 15,
        concurrency_limit=SPEAKERS,
        **QUICK,
    )
    then_paint(microphone.stop_recording(finish, state, heard, **(MODEL | QUICK)))
    then_paint(upload.upload(hear, upload, heard, show_progress_on=transcript, **MODEL))
    for button, name in zip(samples, SAMPLES.values(), strict=True):
        then_paint(
            button.click(
                lambda name=name: hear(str(root / "samples" / name)),
                None,
                heard,
                show_progress_on=transcript,
                **MODEL,
            )
        )
