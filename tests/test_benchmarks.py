"""The forms that the benchmarks time agree, at sizes of seconds; and ratios are the rounds' own."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import (
    attngan_iteration,
    backbones,
    certainty,
    common,
    damsm,
    generation,
    listening,
    loader,
    page,
    search,
)
from data.captioned_images import load_images


def test_damsm_of_the_loop_and_of_the_batch_agree():
    damsm.check(damsm.TINY)


def test_iterations_come_to_the_same_weights():
    attngan_iteration.check(attngan_iteration.TINY)


def test_a_folded_generator_paints_the_same():
    generation.check(generation.TINY)


def test_a_folded_backbone_has_the_same_gradient():
    backbones.forms(*backbones.TINY)


def test_packed_pictures_are_those_of_their_files(tiny_world: Path, tmp_path: Path):
    root = tiny_world / "painted_birds"
    birds = load_images(root, "train", 64, tmp_path)
    loader.check(birds, loader.sources(root, birds), count=8)


def test_packed_pictures_are_those_of_real_photographs(real_birds: Path, tmp_path: Path):
    birds = load_images(real_birds, "train", 64, tmp_path)
    loader.check(birds, loader.sources(real_birds, birds), count=8)


def test_forms_of_exact_search_find_the_same_and_the_limit_lies_between_the_sizes():
    seeds, queries = search.clustered(10, 5, 16, seed=0)
    vectors = search.enlarged(seeds, 400, seed=1)
    assert abs((vectors**2).sum(1) - 1).max() < 1e-5
    half = torch.from_numpy(vectors).half()
    for query in queries[:5]:
        best = search.textbook(vectors, query)
        assert len({*best.tolist(), *search.halves(half, torch.from_numpy(query), block=64).tolist()}) <= 11
    search.exact(vectors, queries, [100, 400], rounds=1)  # which asserts that ours finds the same
    rows = [{"rows": n, "form": "ours", "milliseconds": ms} for n, ms in ((100, 10), (200, 40), (400, 60))]
    assert search.within_limit(rows) == 300 and search.within_limit(rows[:2]) == 250


def test_forms_take_turns():
    calls: list[str] = []

    def timer_of(name: str) -> common.Timer:
        def milliseconds() -> float:
            calls.append(name)
            return 1.0

        return milliseconds

    times = common.in_turn({"a": timer_of("a"), "b": timer_of("b")}, rounds=2)
    assert calls == ["a", "b", "a", "b"] and times == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_a_ratio_is_the_median_of_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    times = {
        "textbook": [4.0, 40.0, 6.0],
        "ours": [2.0, 10.0, 2.0],
    }  # the machine was slow in the second round
    rows = common.report("name", {"batch": 2}, {"64 px": times}, write=True, pictures=2)
    assert [row["ratio"] for row in rows] == [1.0, 3.0]
    assert [row["pictures_a_second"] for row in rows] == [333.3, 1000.0]
    written = json.loads((tmp_path / "name.json").read_text(encoding="utf-8"))
    assert written["results"] == rows and set(written["machine"]) == {"cores", "threads", "torch"}


def test_a_long_recording_is_of_whole_clips_with_pauses():
    clips = [np.full(16_000 * seconds, seconds, np.float32) for seconds in (1, 2, 3, 4)]
    recording, count = listening.joined(clips, seconds=9.0)
    assert count == 3 and 6 + 3 * 0.6 <= len(recording) / 16_000 <= 9.0
    spoken = [value for value, before in zip(recording[1:], recording[:-1], strict=True) if value != before]
    assert [recording[0], *spoken] == [1, 0, 2, 0, 3, 0]
    assert listening.joined(clips, seconds=60.0)[1] == 4


def test_the_answers_of_a_crowd_are_summed_up():
    requests = [
        page.Request("paint", sent, sent + took, "") for sent, took in ((0, 2), (1, 4), (2.5, 1), (10, 3))
    ]
    requests.append(page.Request("hear", 3, 3.5, "many people are here"))
    paint, find, hear, everything = page.summary(requests)
    assert (paint["requests"], paint["refused"], paint["median"]) == (4, 0, 2.5) and paint["p95"] == 3.85
    assert find["requests"] == 0 and (hear["requests"], hear["refused"]) == (1, 1) and "median" not in hear
    assert everything["requests"] == 5
    assert page.overtaken(requests) == 1  # the second by the third; a refusal overtakes nobody


def test_a_least_certainty_loses_speech_and_refuses_sounds():
    """Of three clips one is in two pieces, in another voice activity finds none, which is lost anyway."""
    clips = certainty.surest([[0.2, 0.04], [0.03], []])
    assert clips == [0.2, 0.03, -1.0]
    sounds = [-1.0, 0.01, 0.02, 0.05]
    assert certainty.row(0.0, {"a": clips}, sounds) == "| 0 | 0 of 3 | 3 of 4 |"
    assert certainty.row(0.03, {"a": clips}, sounds) == "| 0.03 | 0 of 3 | 1 of 4 |"
    assert certainty.row(0.05, {"a": clips, "b": [0.06]}, sounds) == "| 0.05 | 1 of 3 | 0 of 1 | 1 of 4 |"
