"""The table of recognisers: its figures, and that a recogniser that fails takes no other with it."""

import json
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_recognizer import Fake, open_fake

from benchmarks import recognizers
from benchmarks.recognizers import (
    Heard,
    Opened,
    RecognizerFailed,
    SpeechClips,
    Way,
    markdown,
    measure,
    serve,
    ways,
)
from core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SECOND = np.full(16_000, 0.1, np.float32)


def a_set(name: str, texts: list[str], speakers: list[str]) -> SpeechClips:
    return SpeechClips(name, lambda i: np.full(16_000 * (i + 1), i, np.float32), texts, speakers)


READ = a_set("read", ["A gray bird.", "a red bird"], ["x", "y"])
SPOKEN = a_set("spoken", ["it's blue"], ["x"])
SAYS = {1: "a grey bird", 2: "the read bird"}  # by the clip's seconds


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch):
    """Rows without processes; those of "broken" die of the second set, those of "missing" do not load."""
    ended: list[str] = []

    @contextmanager
    def process(way: Way):
        def ask(samples: np.ndarray) -> Heard:
            asked.append(len(samples))
            if way.recognizer == "broken" and len(asked) > 3:
                raise RecognizerFailed("its process ended with code -9")
            seconds = len(samples) // 16_000
            return Heard(SAYS[seconds], 0.1 * seconds, 500.0 + len(asked))

        asked: list[int] = []
        if way.recognizer == "missing":
            raise RecognizerFailed("UserError: no such model")
        yield Opened("f" * 64, 0.25, 400.0), ask
        ended.append(way.recognizer)

    monkeypatch.setattr(recognizers, "process", process)
    return ended


def test_a_row_has_errors_time_and_memory(answers):
    read, spoken = measure(Way("pocketsphinx", "its own", 0), [READ, SPOKEN])
    assert answers == ["pocketsphinx"]
    assert (read["recognizer"], read["set"], read["words"]) == ("pocketsphinx", "read", 6)
    assert read["wer"] == pytest.approx(100 * 2 / 6, abs=0.01)  # gray is grey; "the" and "read" are wrong
    assert read["wer_interval"][0] == 0.0 and read["wer_interval"][1] == pytest.approx(100 * 2 / 3, abs=0.01)
    assert read["cer"] == pytest.approx(100 * 4 / 21, abs=0.01)  # a -> the, red -> read
    assert read["real_time_factor"] == pytest.approx(0.1) and read["seconds"] == 3.0
    assert (read["load_seconds"], read["peak_mb"], read["before_mb"]) == (0.25, 503, 400)
    assert spoken["wer"] == pytest.approx(150.0) and spoken["without_text"] == 0
    table = markdown([read, spoken]).splitlines()
    assert table[0].startswith("| recogniser | decoding | read WER, % (95 %) | CER, % | spoken WER")
    assert table[2].startswith("| pocketsphinx | its own | 33.3 (0.0 to 66.7) | 19.0 | 150.0 (")
    assert table[2].endswith("| 0.100 | 0.2 | 504 | 104 |") and len(table) == 3


def test_what_fails_takes_nothing_with_it(answers, capsys):
    kept: list[tuple[int, int]] = []
    names = ("whole", "broken", "missing", "last")
    rows, failed = recognizers.compare(
        [Way(name, "greedy", 0) for name in names], [READ, SPOKEN],
        lambda rows, failed: kept.append((len(rows), len(failed))),
    )  # fmt: skip
    assert [(row["recognizer"], row["set"]) for row in rows] == [
        ("whole", "read"), ("whole", "spoken"), ("broken", "read"), ("last", "read"), ("last", "spoken"),
    ]  # fmt: skip
    assert list(failed) == ["broken, greedy", "missing, greedy"] and "code -9" in failed["broken, greedy"]
    assert kept == [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (4, 2), (5, 2)]
    told = capsys.readouterr()
    assert "whole, greedy: read WER 33.3 %" in told.out and "failed: missing, greedy: UserError" in told.err
    line = markdown(rows).splitlines()[3]  # of the broken one, whose second set is empty
    assert line.startswith("| broken | greedy | 33.3") and "|  |  | 0.100 |" in line


def test_the_rows_of_a_recogniser(tmp_path: Path):
    assert ways("pocketsphinx", 8) == [Way("pocketsphinx", "its own", 0)]
    assert ways("whisper:tiny.en", 8) == [Way("whisper:tiny.en", "beam 5", 5)]
    own = str(tmp_path)
    assert ways(own, 8) == [Way(own, "greedy", 0, "none"), Way(own, "beam 8", 8, "none")]
    (tmp_path / "language_model.safetensors").touch()
    assert ways(own, 4)[2] == Way(own, "beam 4, language model", 4, "auto")


def test_a_process_hears_until_it_dies():
    with (
        pytest.raises(RecognizerFailed, match="ended with code 3"),
        recognizers.process(Way("x", "", 7), open_fake) as (
            opened,
            ask,
        ),
    ):
        assert opened.checksum == Fake.checksum and opened.load_seconds >= 0
        heard = ask(SECOND)
        assert heard.text == "a gray bird 7" and heard.seconds >= 0
        assert heard.peak_mb >= opened.before_mb * 0.9 and (heard.peak_mb > 50 or not Path("/proc").exists())
        ask(-SECOND)


@pytest.mark.parametrize("when", ["opened", "heard"])
def test_what_a_recogniser_raises_is_told(when):
    def fails(*_, **__):
        raise ValueError("no\nweights")

    class Failing(Fake):
        transcribe = fails

    ours, theirs = Pipe()
    ours.send(SECOND)
    serve(theirs, Way("x", "greedy", 0), fails if when == "opened" else lambda *_, **__: Failing())
    if when == "heard":
        assert isinstance(ours.recv(), Opened)
    assert str(ours.recv()) == "ValueError: no\nweights"


def test_the_command_keeps_the_table(answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    root = tmp_path / "speech"
    (root / "wavs").mkdir(parents=True)
    (root / "splits").mkdir()
    for i, seconds in enumerate((1, 2, 1)):
        soundfile.write(root / "wavs" / f"{i}.wav", np.full(16_000 * seconds, 0.1), 16_000)
    (root / "metadata.csv").write_text(
        "".join(f"{i}|a red bird|a red bird\n" for i in range(3)), encoding="utf-8"
    )
    (root / "splits" / "test.txt").write_text("0\n1\n2\n", encoding="utf-8")
    monkeypatch.setattr(recognizers, "RESULTS", tmp_path)
    monkeypatch.setattr(recognizers, "check_recognizer", lambda name: None)
    argv = [
        "--speech",
        f"{root}:test",
        "--limit",
        "2",
        "--cache",
        str(tmp_path / "cache"),
        "--write",
        "--recognizers",
    ]
    assert recognizers.main([*argv, "pocketsphinx"]) == 0
    kept = json.loads((tmp_path / "recognizers.json").read_text(encoding="utf-8"))
    assert [row["set"] for row in kept["results"]] == ["speech:test"] and "failed" not in kept
    assert (
        kept["protocol"]["sets"]["speech:test"]["clips"] == 2
        and "gray counts as grey" in kept["protocol"]["texts"]
    )
    assert (tmp_path / "recognizers.md").read_text(encoding="utf-8") == markdown(kept["results"])
    with pytest.raises(
        UserError, match="of 3 rows failed: missing, greedy; missing, beam 8; the others stand above"
    ):
        recognizers.main([*argv, "pocketsphinx", "missing"])
    kept = json.loads((tmp_path / "recognizers.json").read_text(encoding="utf-8"))
    assert len(kept["results"]) == 1 and len(kept["failed"]) == 2


def test_mistakes_are_told_before_anything_is_heard():
    with pytest.raises(UserError, match="expected FOLDER:SPLIT"):
        recognizers.main(["--speech", "nowhere"])
    with pytest.raises(UserError, match="two sets are called LibriSpeech:test"):
        recognizers.check_names("sets", ["LibriSpeech:test", "a:test", "LibriSpeech:test"])
    with pytest.raises(UserError, match="--limit 0: at least 1"):
        recognizers.main(["--speech", "nowhere:test", "--limit", "0"])
    with pytest.raises(UserError, match='leave out ":fr"'):
        recognizers.main(["--speech", "nowhere:test", "--recognizers", "pocketsphinx:fr"])
