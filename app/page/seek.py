"""The tab Find: pictures by a sentence, said or written, captions by a picture."""

from typing import TYPE_CHECKING

import gradio as gr

from app.page import actions, markup, microphone
from app.page.listening import Speakers
from app.page.models import PAINTED, Models, sets
from app.page.parts import MODEL, Shared, told
from core.errors import UserError

if TYPE_CHECKING:
    from asr.transcript import Transcript


class Seek:
    """Components of the tab, for the button elsewhere that leads here."""

    def __init__(self, shared: Shared, speakers: Speakers, models: Models) -> None:
        names = sets(models.datasets)
        first = "cub" if "cub" in names else PAINTED
        self.text = gr.Textbox(
            label="Describe what to find",
            placeholder="a small yellow bird with a black head",
            lines=1,
            elem_id="sb-wanted",
        )
        note = gr.HTML(elem_id="sb-find-note")
        with gr.Row(elem_classes="sb-row"):
            button = gr.Button("Find", variant="primary", elem_id="sb-find")
            spoken = microphone.place(speakers, "sb-mic-find")
            recording = gr.UploadButton("Find by a recording", type="filepath", size="sm")
            picture = gr.UploadButton("Find by a picture", type="filepath", size="sm")
        with gr.Row():
            self.data = gr.Dropdown(names, value=first, label="Among the pictures of")
            what = gr.Radio(["pictures", "captions"], value="pictures", label="What to find")
        gr.HTML('<p class="sb-note">The first search of a set makes its index, which may take a minute.</p>')
        self.found = gr.HTML(elem_id="sb-found")

        def heard(said: "Transcript", recognizer: str) -> tuple[str, str]:
            if said.no_speech:
                raise UserError(said.why_nothing)
            return said.text, markup.note(actions.note_of(said, models.recognizer(recognizer).is_ours))

        @told
        def finish(event: gr.EventData) -> tuple[str, str]:
            one = speakers.take(event.id)
            return heard(one.finish(), one.recognizer)

        @told
        def hear(path: str, recognizer: str) -> tuple[str, str]:
            return heard(actions.hear(models, path, recognizer), recognizer)

        @told
        def by_text(text: str, data: str, what: str) -> str:
            hits = actions.find(models, text, None, data, what)
            return markup.hits(hits, f"“{actions.check_sentence(text)}”", what)

        @told
        def by_picture(path: str, data: str) -> tuple[str, str]:
            hits = actions.find(models, "", path, data, "captions")
            return markup.hits(hits, "Captions near your picture", "captions"), "captions"

        self.by_text, self.inputs = by_text, [self.text, self.data, what]
        gr.on([button.click, self.text.submit], by_text, self.inputs, self.found, **MODEL)
        for event in (
            spoken.submit(finish, None, [self.text, note], show_progress="hidden", **MODEL),
            recording.upload(
                hear, [recording, shared.recognizer], [self.text, note], show_progress_on=self.text, **MODEL
            ),
        ):
            event.then(None, js=microphone.DONE)
            event.success(by_text, self.inputs, self.found, **MODEL)
        picture.upload(
            by_picture, [picture, self.data], [self.found, what], show_progress_on=self.found, **MODEL
        )
