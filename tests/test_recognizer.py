"""The recogniser as a user meets it, and its trainer: folders, transcripts, silence, exact resume."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from asr.augment import Augmentation
from asr.language_model import save_language_model
from asr.losses import LossWeights, joint_loss
from asr.model import ModelConfig, SpeechModel
from asr.pauses import LONGEST_PIECE
from asr.pauses import split as pieces_of
from asr.recognizer import BEAM, Recognizer
from asr.scorers import Weighted
from asr.tokenizer import Tokenizer
from asr.voice_activity import STEP
from core.errors import UserError
from core.files import read_json, write_json
from data.speech import load_speech
from training import language_model
from training.asr import RunConfig, SpeechData, TrainAsr, train
from training.asr_data import SpeechSource, held_out_speech, training_speech, usable_clips, validation_speech

RATE = 16_000
TEXTS = ("a red bird", "blue wings")


def melody(number: int, seconds: float) -> np.ndarray:
    """A sound of its own for each number, with half a second of near silence before and after it."""
    rng = np.random.default_rng(number)
    t = np.arange(int(seconds * RATE)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * (400 * t + 60 * (number + 1) * np.sin(2 * np.pi * t)))
    sound = np.concatenate([np.zeros(RATE // 2), sound, np.zeros(RATE // 2)])
    return (sound + 1e-4 * rng.standard_normal(len(sound))).astype(np.float32)


CLIPS = [melody(0, 1.0), melody(1, 1.4)]


class LoudIsSpeech:
    """Finds speech in melodies, which the network of `asr.voice_activity` takes for what they are."""

    def __init__(self) -> None:
        self.rest = np.zeros(0, np.float32)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        sound = np.concatenate([self.rest, samples])
        count = len(sound) // STEP
        self.rest = sound[count * STEP :]
        return (np.abs(sound[: count * STEP].reshape(-1, STEP)).max(axis=1) > 1e-3).astype(np.float32)

    def finish(self) -> np.ndarray:
        return self.feed(np.zeros(STEP - len(self.rest), np.float32)) if len(self.rest) else self.rest


@pytest.fixture(scope="module")
def trained() -> Recognizer:
    """A tiny recogniser that knows the two clips by heart."""
    torch.manual_seed(0)
    tokenizer = Tokenizer()
    config = ModelConfig(
        width=32, heads=2, encoder_layers=2, decoder_layers=1, feed_forward=64, kernel=7, dropout=0.0
    )
    recognizer = Recognizer(
        SpeechModel(config, len(tokenizer)), tokenizer, end_silence=None, activity=LoudIsSpeech
    )
    model = recognizer.model.train()
    from asr.features import pad_samples

    features, is_pad = recognizer.front_end(*pad_samples(CLIPS))
    tokens = torch.tensor([tokenizer.encode(text) for text in TEXTS])
    lengths = torch.tensor([tokens.shape[1]] * 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(120):
        loss = joint_loss(model(features, is_pad, tokens), tokens, lengths, LossWeights(smoothing=0.0)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    model.eval()
    return recognizer


def test_transcript_has_words_times_and_confidence(trained):
    for clip, text in zip(CLIPS, TEXTS, strict=True):
        heard = trained.transcribe(clip)
        assert heard.text == text and not heard.no_speech
        assert [word.text for word in heard.words] == text.split()
        assert heard.seconds == pytest.approx(len(clip) / RATE)
        assert heard.confidence > 0.8 and all(0.5 < word.confidence <= 1 for word in heard.words)
        times = [time for word in heard.words for time in (word.start, word.end)]
        assert times == sorted(times) and times[0] >= 0 and times[-1] <= heard.seconds
        assert all(word.end > word.start for word in heard.words)


@pytest.mark.parametrize("beam", [0, 1, 8])
def test_batch_hears_what_each_clip_alone_does(trained, beam):
    silence = np.zeros(RATE, np.float32)
    clips = [CLIPS[1], silence, CLIPS[0], melody(5, 2.0)]
    alone = [trained.transcribe(clip, beam=beam).text for clip in clips]
    assert alone[:3] == [TEXTS[1], "", TEXTS[0]]
    assert trained.transcribe_batch(clips, beam=beam) == alone
    assert trained.transcribe_batch(clips, beam=beam, batch_seconds=0.1) == alone
    assert trained.transcribe_batch([], beam=beam) == []


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(2 * RATE, np.float32),
        np.zeros(2 * RATE, np.int16),
        (1e-4 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32),
        np.full(RATE, np.nan, np.float32),
        np.zeros(10, np.float32),
        np.zeros(0, np.float32),
    ],
    ids=["zeros", "int16", "hiss", "nan", "ten samples", "none"],
)
def test_silence_is_no_speech(trained, sound):
    heard = trained.transcribe(sound)
    assert heard.no_speech and heard.text == "" and heard.words == [] and heard.confidence == 0


def test_only_blanks_are_no_speech(trained):
    bias = trained.model.to_ctc.bias
    before = bias.detach().clone()
    with torch.no_grad():
        bias[0] += 1000.0
    try:
        for beam in (0, 4):
            assert trained.transcribe(CLIPS[0], beam=beam).no_speech
    finally:
        with torch.no_grad():
            bias.copy_(before)


def test_files_and_arrays_agree(trained, tmp_path):
    soundfile.write(tmp_path / "a.wav", CLIPS[0], RATE, subtype="PCM_16")
    int16 = (CLIPS[0] * 32767).astype(np.int16)
    assert trained.transcribe(tmp_path / "a.wav").text == TEXTS[0]
    assert trained.transcribe(str(tmp_path / "a.wav")).text == TEXTS[0]
    assert trained.transcribe(int16).text == TEXTS[0]
    with pytest.raises(UserError, match="no sound file"):
        trained.transcribe(tmp_path / "b.wav")
    with pytest.raises(UserError, match="at most 1 second"):
        trained.transcribe(tmp_path / "a.wav", max_seconds=1.0)
    with pytest.raises(UserError, match="shape"):
        trained.transcribe(np.zeros((2, 2, RATE), np.float32))
    with pytest.raises(UserError, match="int64"):
        trained.transcribe(np.zeros(RATE, np.int64))


def test_saved_and_loaded_hears_the_same(trained, tmp_path):
    folder = trained.save(tmp_path / "model", "# card\n", {"steps": 300}, half=False)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "vocabulary.json",
    ]  # fmt: skip
    loaded = Recognizer.load(folder)
    loaded.activity = LoudIsSpeech
    assert loaded.transcribe(CLIPS[0]) == trained.transcribe(CLIPS[0])
    assert len(loaded.checksum) == 64
    half = Recognizer.load(trained.save(tmp_path / "half", "# card\n"))
    half.activity = LoudIsSpeech
    assert [half.transcribe(clip).text for clip in CLIPS] == list(TEXTS)


def test_folder_of_something_else_is_refused(trained, tmp_path):
    folder = trained.save(tmp_path / "model", "# card\n")
    header = read_json(folder / "config.json")
    write_json(folder / "config.json", header | {"kind": "attngan"})
    with pytest.raises(UserError, match='"attngan"'):
        Recognizer.load(folder)
    write_json(folder / "config.json", header | {"config": {**header["config"], "wdth": 3}})
    with pytest.raises(UserError, match="wdth"):
        Recognizer.load(folder)
    write_json(folder / "config.json", header | {"config": {**header["config"], "width": 64}})
    with pytest.raises(UserError, match="shape"):
        Recognizer.load(folder)
    with pytest.raises(UserError, match="no recognizer model"):
        Recognizer.load(tmp_path / "nowhere")


# --- silence, long recordings, threads, further scorers ---


@pytest.fixture(scope="module")
def released(root) -> Recognizer:
    return Recognizer.load(root / "weights" / "recognizer")


def test_silence_around_a_sentence_changes_none_of_its_words(released, root):
    from asr.audio import load_audio

    samples = load_audio(root / "samples" / "blue_bird.ogg")
    plain = released.transcribe(samples, beam=3)
    room = np.random.default_rng(0).standard_normal(28 * RATE).astype(np.float32) * 1e-4  # a quiet one
    for before, after in (8, 20), (0, 20), (8, 0):
        padded = np.concatenate([room[: before * RATE], samples, room[len(room) - after * RATE :]])
        heard = released.transcribe(padded, beam=3)
        assert heard.text == plain.text == "a small blue bird with a white breast and an orange beak"
        assert heard.seconds == pytest.approx(plain.seconds + before + after)
        for word, expected in zip(heard.words, plain.words, strict=True):
            assert word.start == pytest.approx(expected.start + before, abs=0.1)
            assert word.end == pytest.approx(expected.end + before, abs=0.1)
    assert released.transcribe_batch([padded, samples], beam=3) == [plain.text] * 2


def test_a_long_recording_is_heard_between_its_pauses(released, root):
    from asr.audio import load_audio

    names = ["blue_bird", "green_tail", "red_crown"]
    clips = {name: load_audio(root / "samples" / f"{name}.ogg") for name in names}
    sound = np.concatenate([part for name in names for part in (clips[name], np.zeros(RATE, np.float32))])
    assert len(sound) > 13 * RATE
    heard = released.transcribe(sound, beam=2)
    one = {name: released.transcribe(clip, beam=2).text for name, clip in clips.items()}
    assert heard.text == " ".join(one[name] for name in names) == " ".join(word.text for word in heard.words)
    times = [time for word in heard.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] <= heard.seconds and 0.6 < heard.confidence < 1
    assert released.transcribe_batch([sound, clips["red_crown"]], beam=2) == [heard.text, one["red_crown"]]
    pieces = pieces_of(sound)
    assert len(pieces) == len(names)
    loud = np.abs(sound) > 0.05
    for first, last in pieces:
        loud[first:last] = False
    assert not loud.any()  # nothing that is heard is left out


def test_a_recording_without_a_pause_is_cut_where_it_is_quietest():
    sound = melody(0, 50.0)[RATE // 2 : -RATE // 2]
    sound[12 * RATE : 12 * RATE + 800] *= 0.2
    pieces = pieces_of(sound, LoudIsSpeech())
    assert [piece[0] for piece in pieces[1:]] == [piece[1] for piece in pieces[:-1]]
    assert 12 * RATE <= pieces[0][1] <= 12 * RATE + 800 and pieces[-1][1] == len(sound)
    assert all(2 * RATE <= last - first <= LONGEST_PIECE * RATE for first, last in pieces)


def test_too_quiet_is_something_else_than_nothing(trained):
    quiet = trained.transcribe(CLIPS[0] * 1e-3)
    assert (
        quiet.no_speech and quiet.too_quiet and "too quiet" in quiet.why_nothing and "dB" in quiet.why_nothing
    )
    nothing = trained.transcribe(np.zeros(RATE, np.float32))
    assert nothing.no_speech and not nothing.too_quiet and nothing.why_nothing.startswith("no speech heard")
    assert trained.transcribe(CLIPS[0]).why_nothing == ""


def test_rates_channels_and_bytes_are_heard_alike(trained):
    file = io.BytesIO()
    soundfile.write(file, CLIPS[0], RATE, format="WAV", subtype="PCM_16")
    stereo = np.stack([CLIPS[0], CLIPS[0]], axis=1)
    for sound in (
        file.getvalue(),
        io.BytesIO(file.getvalue()),
        stereo,
        stereo.T,
        (RATE, (stereo * 2**31).astype("i4")),
    ):
        assert trained.transcribe(sound).text == TEXTS[0]


def test_threads_hear_alike_and_change_nothing_of_the_process(trained):
    alone = [trained.transcribe(clip) for clip in CLIPS]
    before = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(trained.transcribe, CLIPS * 3))
        assert together == alone * 3
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {before}
    try:
        torch.set_num_threads(2)
        other = [trained.transcribe(clip) for clip in CLIPS]
    finally:
        torch.set_num_threads(before)
    for one, two in zip(alone, other, strict=True):
        assert [(w.text, w.start, w.end) for w in one.words] == [(w.text, w.start, w.end) for w in two.words]
        assert one.confidence == pytest.approx(two.confidence, abs=1e-5)


class FavouredWord:
    """A scorer of one's own: `bonus` nats for every letter of a word that is, or may become, the favoured one."""

    def __init__(self, tokenizer: Tokenizer, word: str, bonus: float):
        self.tokenizer, self.word, self.bonus = tokenizer, word, bonus
        self.most = bonus

    def start(self) -> str:
        return ""

    def extend(self, state: str, token: int) -> tuple[str, float]:
        text = state + self.tokenizer.decode([token])
        return text, self._of(text) - self._of(state)

    def end(self, state: str) -> float:
        return 0.0

    def _of(self, text: str) -> float:
        *done, last = text.split(" ")
        good = [word for word in done if word == self.word] + [last] * self.word.startswith(last)
        return self.bonus * sum(map(len, good))


def test_a_scorer_of_ones_own_joins_the_search(trained):
    def with_bonus(bonus: float) -> Recognizer:
        favoured = Weighted(FavouredWord(trained.tokenizer, "red", bonus), 0.5)
        return Recognizer(
            trained.model, trained.tokenizer, trained.ctc_weight, [favoured], None, None, LoudIsSpeech
        )

    clips = [*CLIPS, melody(5, 1.2)]
    plain = [trained.transcribe(clip, beam=4).text for clip in clips]
    assert [with_bonus(0.0).transcribe(clip, beam=4).text for clip in clips] == plain
    swayed = with_bonus(40.0)
    alone = [swayed.transcribe(clip, beam=4).text for clip in clips]
    assert alone[1] != plain[1] and "red" in alone[1].split()
    assert swayed.transcribe_batch(clips, beam=4) == alone  # whatever else is in the batch
    assert swayed.transcribe_batch(clips[1:2], beam=4) == alone[1:2]


# --- training ---


def make_set(root) -> list[str]:
    """A set in LJSpeech's layout; the overrides that train a tiny model on it."""
    (root / "wavs").mkdir(parents=True)
    (root / "splits").mkdir()
    texts = ["a red bird", "blue wings", "the tail is grey", "it has a bill", "white", "a black head"]
    with open(root / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file, delimiter="|", quoting=csv.QUOTE_NONE)
        for i in range(12):
            writer.writerow([f"LJ001-{i:04d}", texts[i % 6], texts[i % 6]])
            soundfile.write(root / "wavs" / f"LJ001-{i:04d}.wav", melody(i, 0.4 + 0.1 * i), RATE)
    for split, numbers in (("train", range(8)), ("val", range(8, 10)), ("test", range(10, 12))):
        (root / "splits" / f"{split}.txt").write_text("".join(f"LJ001-{i:04d}\n" for i in numbers))
    return [
        "data=ljspeech", f"data.root={root}", f"data.cache={root / 'cache'}", f"run.root={root / 'runs'}",
        "run.steps=6", "run.log_every=1", "run.save_every=2", "run.sample_every=3", "run.threads=1", "run.device=cpu",
        "batch_seconds=6", "warmup=2", "beam=2", "validation_clips=2", "model.width=16", "model.heads=2",
        "model.encoder_layers=1", "model.decoder_layers=1", "model.feed_forward=32", "model.kernel=3",
    ]  # fmt: skip


def with_phones(folder) -> list[str]:
    """The overrides for phones beside letters, whose aligner learns in two steps, and for the words of a lexicon."""
    entries = (
        "a AH/red R EH D/bird B ER D/blue B L UW/wings W IH NG Z/the DH AH/tail T EY L/is IH Z/grey G R EY"
    )
    entries += "/it IH T/has HH AE Z/bill B IH L/white W AY T/black B L AE K/head HH EH D"
    (folder / "lexicon.txt").write_text("".join(f"{entry}\n" for entry in entries.split("/")))
    model = language_model.train({"birds": ["a red bird", "it has a blue head"] * 2}, order=2, prune=0.0)
    save_language_model(model, folder / "lm.safetensors")
    return [
        "model.encoder=conformer", "model.decoder_layers=0", "model.phones=true", "loss.phones=1.0", "loss.mmi=0.5",
        f"alignment.lexicon={folder / 'lexicon.txt'}", "alignment.steps=2", "alignment.equal=1",
        f"search.language_model={folder / 'lm.safetensors'}", "search.phone_weight=0.6",
    ]  # fmt: skip


KILLED = """
import os, signal, sys
import training.run
log = training.run.Run.log
def log_and_die(self, step, **values):
    log(self, step, **values)
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
training.run.Run.log = log_and_die
from training import asr as train_asr
train_asr.main()
"""


def measurements(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("phones", [False, True])
def test_a_killed_training_goes_on_exactly(tmp_path, root, monkeypatch, phones):
    from training import asr as train_asr

    overrides = make_set(tmp_path / "LJ")
    if phones:
        overrides += with_phones(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_asr.py", *overrides, "run.name=whole"])
    train_asr.main()
    again = [*overrides, "run.name=killed"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *again], cwd=root, env=environment, capture_output=True
    )
    assert killed.returncode == -9, killed.stderr.decode()
    monkeypatch.setattr(sys, "argv", ["train_asr.py", *again])
    train_asr.main()

    runs = tmp_path / "LJ" / "runs"
    whole, resumed = measurements(runs / "whole"), measurements(runs / "killed")
    assert resumed == whole  # to the last digit
    assert [line["step"] for line in whole if "loss" in line] == list(range(6))
    assert {"validation_wer", "validation_cer", "test_wer"} <= {key for line in whole for key in line}
    weights = [
        torch.load(runs / n / "checkpoint.pt", weights_only=True)["average"] for n in ("whole", "killed")
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])

    assert [line["phones"] > 0 for line in whole if "phones" in line] == [phones] * 6

    model = runs / "whole" / "model"
    assert "WER" in (model / "README.md").read_text()
    assert read_json(model / "config.json")["training"]["clips"] == 8
    loaded = Recognizer.load(model)
    assert isinstance(loaded.transcribe(melody(0, 0.5)).text, str)
    assert (
        ("finds words in `lexicon.txt`" in (model / "README.md").read_text()) == phones == bool(loaded.reader)
    )
    assert not phones or loaded.reader.phone_weight == 0.6
    train_asr.main()  # complete: nothing to do


def configured(root, **changes) -> TrainAsr:
    """The settings of `make_set`'s run as a dataclass."""
    make_set(root)
    model = ModelConfig(
        width=16, heads=2, encoder_layers=1, decoder_layers=1, feed_forward=32, kernel=3, dropout=0.0
    )
    run = RunConfig(name="a", root=str(root / "runs"), steps=2, sample_every=0, threads=1, device="cpu")
    data = SpeechData(root=str(root), cache=str(root / "cache"), spoken=False)
    return replace(TrainAsr(data, model, run=run, batch_seconds=6, warmup=2, beam=0), **changes)


def test_training_and_evaluation_measure_alike(trained, tmp_path):
    from evaluation.options import parse_options
    from metrics.wer import word_error_rate
    from training.asr import evaluate

    assert TrainAsr().beam == BEAM == parse_options(["--metric", "wer"]).beam
    make_set(tmp_path / "LJ")
    lines = (tmp_path / "LJ" / "metadata.csv").read_text().replace("a red bird", "3 RED birds, caf\u00e9")
    (tmp_path / "LJ" / "metadata.csv").write_text(lines)
    speech = load_speech(tmp_path / "LJ", "train", tmp_path / "cache")
    found = evaluate(trained, speech, 0, 0)
    heard = trained.transcribe_batch([speech.samples(i) for i in range(len(speech))], 0)
    assert found["wer"] == word_error_rate(speech.texts, heard).value > 0


def test_long_clips_are_left_out_of_the_training_alone(tmp_path, caplog):
    """The eight clips of training are each longer than the one before; those of validation and tests still longer."""
    data = configured(tmp_path / "LJ").data
    longest = training_speech(data).lengths[4] / 16_000
    data = replace(data, max_seconds=longest)
    assert len(training_speech(data)) == 5
    assert f"3 of 8 clips of LJ/train are longer than {longest:g} s" in caplog.text
    assert len(validation_speech(data)) == 2
    assert {name: len(speech) for name, speech in held_out_speech(data).items()} == {"test": 2}
    with pytest.raises(UserError, match="no clip of LJ/train is at most data.max_seconds=0.1"):
        training_speech(replace(data, max_seconds=0.1))


def test_sets_are_mixed_and_readers_held_out(tmp_path):
    data = configured(tmp_path / "LJ").data
    other = SpeechSource(
        root=data.root, train="val", validation="", tests=["test"], weight=2.0, leave_out=["*8"], only=["LJ*"]
    )
    mixed = replace(data, also=[other])
    speech = training_speech(mixed)
    assert len(speech) == 9 and speech.weights.tolist() == [1.0] * 8 + [2.0]
    assert list(held_out_speech(mixed)) == ["LJ/test#1", "LJ/test#2"]
    with pytest.raises(UserError, match="set data.train"):
        training_speech(replace(data, train=""))
    with pytest.raises(UserError, match="none of the 8 clips of LJ/train is left with readers=val"):
        validation_speech(replace(data, hold_out_readers=True))


def test_clips_too_short_for_their_text_are_named(tmp_path, caplog):
    make_set(tmp_path / "LJ")
    path = tmp_path / "LJ" / "metadata.csv"
    long = "a sentence of so many words that nobody can say it within half a second " * 2
    path.write_text(path.read_text().replace("LJ001-0001|blue wings|blue wings", f"LJ001-0001|{long}|"))
    speech = load_speech(tmp_path / "LJ", "train", tmp_path / "cache")
    usable = usable_clips(speech, Tokenizer(), 4)
    assert usable == [0, 2, 3, 4, 5, 6, 7]
    assert (
        "1 of 8 training clips are too short for their text" in caplog.text and "(LJ001-0001)" in caplog.text
    )
    speech.texts = ["123"] * 8
    with pytest.raises(UserError, match=r"8 of 8 .* have no letters \(LJ001-0000, .*none is left"):
        usable_clips(speech, Tokenizer(), 4)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("warmup", 0, "warmup=0: a whole number from 1"), ("lr", float("nan"), "lr=nan"), ("ema", 2.0, "ema=2.0"),
        ("beam", -1, "beam=-1"), ("model", ModelConfig(heads=7), "width=160, heads=7"),
        ("model", ModelConfig(kernel=4), "kernel=4: an odd"), ("model", ModelConfig(dropout=2.0), "dropout=2.0"),
        ("model", ModelConfig(encoder="rnn"), 'no speech encoder "rnn"'),
        ("augment", Augmentation(snr=(5.0, float("inf"))), "snr"), ("batch_seconds", 1.0, "batch holds 1 s"),
        ("loss", LossWeights(mmi=1.0), "loss.mmi is of a network that tells phones: set model.phones=true"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_one_line(tmp_path, key, value, said):
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        train(configured(tmp_path / "LJ", **{key: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("phones", [False, True])
def test_two_processes_have_the_losses_of_one(tmp_path, root, monkeypatch, phones):
    from training import asr as train_asr

    overrides = [*make_set(tmp_path / "LJ"), "model.dropout=0", "loss.consistency=0.2"]
    if phones:
        overrides += with_phones(tmp_path)
    overrides += [
        "batch_seconds=2.2",
        "run.steps=4",
    ]  # an epoch, one of whose batches is the longest clip alone
    monkeypatch.setattr(sys, "argv", ["train_asr.py", *overrides, "run.name=one"])
    train_asr.main()
    two = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "train_asr.py",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*two, *overrides, "run.name=two"], cwd=root, env=environment, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    one, shared = (measurements(tmp_path / "LJ" / "runs" / name) for name in ("one", "two"))
    assert [line.keys() for line in one] == [line.keys() for line in shared] and len(one) > 2
    for alone, together in zip(one, shared, strict=True):
        assert together == pytest.approx(alone, rel=1e-3)


def test_real_sets_train_two_steps(tmp_path, realdata, monkeypatch):
    from training import asr as train_asr

    speech = realdata / "speech"
    sets = {
        "ljspeech": (speech / "LJSpeech-1.1", ["data.split_by=chapters", "data.validation=test"]),
        "librispeech": (speech / "LibriSpeech", ["data.train=test-clean", "data.validation=test-clean"]),
    }
    found = {name: given for name, given in sets.items() if given[0].is_dir()}
    if not found:
        pytest.skip(f"neither LJSpeech-1.1 nor LibriSpeech in {speech}")
    tiny = [word for word in make_set(tmp_path / "LJ") if word.startswith(("model.", "run."))]
    for name, (folder, overrides) in found.items():
        words = [
            f"data={name}", f"data.root={folder}", f"data.cache={tmp_path / 'cache'}", *overrides, *tiny,
            "data.max_seconds=4", "run.steps=2", "batch_seconds=8", "beam=0", f"run.name={name}",
            "validation_clips=2", "data.tests=[]",
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["train_asr.py", *words])
        train_asr.main()
        assert len(measurements(tmp_path / "LJ" / "runs" / name)) >= 3
