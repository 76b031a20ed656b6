"""What TensorBoard shows of a recogniser at each validation: transcripts, the clips' sound, the decoder's attention."""

import numpy as np
import torch
from torch import Tensor

from asr.audio import SAMPLE_RATE
from asr.features import pad_samples
from asr.recognizer import Recognizer
from asr.tokenizer import EDGE
from data.speech_mix import SpeechMix
from metrics.wer import word_error_rate
from training.board import as_tensor
from training.run import Run
from visualization.alignment import alignment_page

CLIPS = 4


def show_clips(run: Run, step: int, recognizer: Recognizer, speech: SpeechMix, count: int = CLIPS) -> None:
    """Show `count` clips, evenly spread over the set: a table of transcripts and, of the first clip, where the decoder
    looks for each character of the reference. Their sound is shown once, at the run's first validation."""
    chosen = np.unique(np.linspace(0, len(speech) - 1, min(count, len(speech))).astype(int)).tolist()
    clips, references = [speech.samples(i) for i in chosen], [speech.texts[i] for i in chosen]
    recognizer.model.eval()
    transcripts = recognizer.transcribe_batch(clips, recognizer.partial_beam)
    names = [speech.ids[i] for i in chosen]
    run.text(step, "validation/transcripts", transcript_table(names, references, transcripts))
    if step < run.settings.sample_every:
        for name, clip in zip(names, clips, strict=True):
            run.audio(step, f"validation/{name}", torch.from_numpy(clip), SAMPLE_RATE)
    if recognizer.model.decoder is None:
        return
    pieces, weights = decoder_attention(recognizer, clips[0], references[0])
    if pieces:
        seconds = len(clips[0]) / SAMPLE_RATE
        page = alignment_page(weights.cpu().numpy(), pieces, seconds, f"{names[0]}: the decoder's attention")
        run.image(step, "attention", as_tensor(page))


def transcript_table(names: list[str], references: list[str], transcripts: list[str]) -> str:
    """A Markdown table of the clips with the WER of each."""
    rows = ["| clip | reference | transcript (CTC's best path) | WER |", "|---|---|---|---|"]
    for name, reference, transcript in zip(names, references, transcripts, strict=True):
        try:
            wer = f"{100 * word_error_rate([reference], [transcript]).value:.0f} %"
        except ValueError:  # a reference without a word
            wer = "–"
        cells = [text.replace("|", "\\|") for text in (name, reference, transcript or "–")]
        rows.append(f"| {' | '.join(cells)} | {wer} |")
    return "\n".join(rows)


@torch.no_grad()
def decoder_attention(recognizer: Recognizer, clip: np.ndarray, text: str) -> tuple[list[str], Tensor]:
    """A clip (S,) and its text -> the text of its L tokens, and the weights (L, T') of the frames for each."""
    tokens = recognizer.tokenizer.encode(text)
    samples, lengths = (part.to(recognizer.device) for part in pad_samples([clip]))
    memory, is_pad = recognizer.model.encoder(*recognizer.front_end(samples, lengths))
    prompt = torch.tensor([[EDGE, *tokens]], device=recognizer.device)
    # position l, which has seen the tokens before l, decides on token l; the last decides on the end
    assert recognizer.model.decoder is not None
    weights = recognizer.model.decoder.attention(prompt, memory, is_pad)[0, :-1]
    symbols = recognizer.tokenizer.as_json()  # the text of each token, by its number
    return [symbols[token] for token in tokens], weights
