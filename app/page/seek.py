"""The tab Find: pictures by a sentence, captions by a picture."""

import gradio as gr

from app.page import actions, markup
from app.page.models import PAINTED, Models, sets
from app.page.parts import MODEL, told


class Seek:
    """Components of the tab, for the button elsewhere that leads here."""

    def __init__(self, models: Models) -> None:
        names = sets(models.datasets)
        first = "cub" if "cub" in names else PAINTED
        self.text = gr.Textbox(
            label="Describe what to find", placeholder="a small yellow bird with a black head", lines=1
        )
        with gr.Row():
            button = gr.Button("Find", variant="primary")
            upload = gr.UploadButton("Find by a picture", type="filepath", file_count="single")
        with gr.Row():
            self.data = gr.Dropdown(names, value=first, label="Among the pictures of")
            what = gr.Radio(["pictures", "captions"], value="pictures", label="What to find")
        gr.HTML('<p class="sb-note">The first search of a set makes its index, which may take a minute.</p>')
        self.found = gr.HTML(elem_id="sb-found")

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
        upload.upload(
            by_picture, [upload, self.data], [self.found, what], show_progress_on=self.found, **MODEL
        )
