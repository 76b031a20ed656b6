"""The tab Speak: a microphone, the text while somebody speaks, each word with its confidence, its spectrogram."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.page import actions, markup, microphone
from app.page.listening import Speakers
from app.page.models import Models
from app.page.parts import MODEL, QUICK, Shared, painter, told
from app.page.sound import Sound, sound_of
from app.page.styles import LIVE

if TYPE_CHECKING:
    from asr.transcript import Transcript

SAMPLES = {"blue bird": "blue_bird.ogg", "red crown": "red_crown.ogg", "green tail": "green_tail.ogg"}
EMPTY = '<p class="sb-note">Press the button and describe a bird; press it again when you are done.</p>'


def place(shared: Shared, speakers: Speakers, models: Models, root: Path) -> None:
    paint = painter(models)

    def heard(said: "Transcript", recording: Any, recognizer: str) -> tuple[str, Any, Sound | None, str]:
        ours = models.recognizer(recognizer).is_ours
        kept = sound_of(recording, said, ours) if said.words else None
        return markup.heard(said, ours), said.text or gr.skip(), kept, ""

    @told
    def finish(event: gr.EventData) -> tuple:
        one = speakers.take(event.id)
        return heard(one.finish(), one.sound, one.recognizer)

    @told
    def hear(path: str, recognizer: str) -> tuple:
        samples = actions.read_recording(path)
        return heard(actions.hear(models, samples, recognizer), samples, recognizer)

    @told
    def paint_heard(shown: str, *settings: Any) -> Any:
        if "sb-word" in (shown or ""):
            yield from paint(*settings)

    button = microphone.place(speakers, "sb-mic")
    transcript = gr.HTML(EMPTY, elem_id="sb-transcript", js_on_load=LIVE)
    kept, picture = gr.State(None, time_to_live=300), gr.HTML(elem_id="sb-sound")
    with gr.Row(elem_classes="sb-row"):
        upload = gr.UploadButton("Upload a recording", type="filepath", size="sm", elem_id="sb-upload")
        gr.HTML('<span class="sb-note">or play one:</span>')
        samples = [gr.Button(name, size="sm") for name in SAMPLES]

    def then_paint(event: Any) -> None:
        """The birds first: the spectrogram takes a moment to draw."""
        event.success(paint_heard, [transcript, *shared.settings], shared.results, **MODEL).success(
            lambda sound: (markup.spectrogram(sound) if sound else "", None), kept, [picture, kept], **QUICK
        )

    results = [transcript, shared.sentence, kept, picture]
    said = button.submit(finish, None, results, show_progress="hidden", **MODEL)
    said.then(None, js=microphone.DONE)
    then_paint(said)
    given = MODEL | {"show_progress_on": transcript}
    then_paint(upload.upload(hear, [upload, shared.recognizer], results, **given))
    for sample, name in zip(samples, SAMPLES.values(), strict=True):
        then_paint(
            sample.click(
                lambda recognizer, path=str(root / "samples" / name): hear(path, recognizer),
                shared.recognizer,
                results,
                **given,
            )
        )
