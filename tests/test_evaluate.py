"""evaluate.py on untrained models: every metric runs, repeats, says its protocol, and answers mistakes in a line."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from asr.model import ModelConfig, SpeechModel
from asr.recognizer import Recognizer
from asr.tokenizer import Tokenizer
from core.errors import UserError
from core.model_folder import save_model
from data.painted_birds.grammar import COLOURS, PARTS
from evaluation import command as evaluate
from evaluation import sets
from evaluation.evaluator import Evaluator
from evaluation.options import parse_options
from evaluation.pairs import choose, with_known_words
from evaluation.part_classifier import PartClassifier, PartClassifierConfig
from evaluation.registry import find
from t2i.encoders.damsm import Damsm
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.painter import painter_of
from vision.feature_networks import load_feature_network

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def models(tiny_world: Path) -> Path:
    """A folder with an untrained model of every kind, in the names of the options."""
    folder = tiny_world / "evaluated"
    torch.manual_seed(0)
    damsm = Damsm.load(tiny_world / "damsm")
    generator = AttnGanConfig(stages=1, width=4, embedding=16, condition=6, noise=5, residual_blocks=1)
    painter = painter_of(Generator(generator), damsm)
    painter.save(folder / "painter", "# card", {"encoder": damsm.checksum})
    config = PartClassifierConfig(list(PARTS), list(COLOURS), width=4, size=32)
    classifier = PartClassifier(config)
    save_model(folder / "parts", classifier.kind, classifier.state_dict(), asdict(config), "# card")
    tokenizer = Tokenizer()
    small = ModelConfig(width=16, heads=2, encoder_layers=1, decoder_layers=1, feed_forward=16, kernel=3)
    Recognizer(SpeechModel(small, len(tokenizer)), tokenizer).save(folder / "recognizer", "# card")
    return folder


@pytest.fixture
def measure(tiny_world: Path, models: Path, tmp_path: Path, capsys, monkeypatch):
    """measure("fid", ...) -> the JSON of the last line, after checking that it was stored as well."""
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)  # tests keep to one

    def run(metric: str, *options: str, root: Path = tiny_world) -> dict:
        named = ["--model", models / "painter", "--encoder", tiny_world / "damsm", "--classifier", models / "parts",
                 "--recognizer", models / "recognizer", "--root", root, "--out", tmp_path / "results",
                 "--device", "cpu"]  # fmt: skip
        named = named[2:] if "--pictures" in options else named  # which stand in place of a --model
        assert evaluate.main(["--metric", metric, "--json", *map(str, named), *options]) == 0
        value = json.loads(capsys.readouterr().out.splitlines()[-1])
        stored = [json.loads(path.read_text()) for path in (tmp_path / "results").glob(f"{metric}-*.json")]
        assert value in stored
        assert value["metric"] == metric and {"value", "real", "protocol"} <= value.keys()
        assert value["protocol"]["revision"] and value["protocol"]["seed"] == 0
        return value

    return run


@pytest.fixture
def measure_all(tiny_world: Path, models: Path, tmp_path: Path, capsys, monkeypatch):
    """measure_all(["fid", "is"], ...) -> the JSON lines of one command."""
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)

    def run(metrics: list[str], *options: str) -> list[dict]:
        named = ["--model", models / "painter", "--encoder", tiny_world / "damsm", "--classifier", models / "parts",
                 "--root", tiny_world, "--out", tmp_path / "results", "--device", "cpu"]  # fmt: skip
        assert evaluate.main(["--metric", ",".join(metrics), "--json", *map(str, named), *options]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()[-len(metrics) :]]

    return run


def test_inception_score_names_its_classes_and_network(measure):
    found = measure("is", "--samples", "30")
    assert 1 <= found["value"] <= 121 and 1 <= found["real"] <= 121
    assert found["interval"]["of"] == "10 splits"
    assert found["protocol"]["classes"].startswith("121: colour of the body x colour of the wings")
    assert len(found["protocol"]["network"]["sha256"]) == 64


@pytest.mark.parametrize("metric", ["fid", "kid"])
def test_distances_do_not_depend_on_the_batch(measure, metric):
    one, other = (measure(metric, "--samples", "14", "--batch", batch) for batch in ("14", "4"))
    assert one["value"] == pytest.approx(other["value"], rel=1e-3, abs=1e-9)
    assert one["real"] == pytest.approx(other["real"], rel=1e-3, abs=1e-9)
    assert one["protocol"]["reference"] == "all 6 pictures of the split"
    assert one["protocol"]["image size"] == 64


def test_r_precision_of_untrained_models_is_near_chance_and_says_who_trained_with_whom(measure):
    found = measure("r_precision", "--samples", "200")
    assert found["chance"] == 0.01
    assert found["value"] < 0.2
    assert found["protocol"]["encoder trained the generator"] is True
    assert found["protocol"]["samples"] == 200


def test_part_colours_read_what_the_captions_name(measure):
    found = measure("part_colours")
    assert found["chance"] == pytest.approx(1 / 11)
    assert found["protocol"]["samples"] == found["protocol"]["pictures in the split"] == 6
    assert set(found["parts"]) <= set(PARTS)
    assert sum(part["named"] for part in found["parts"].values()) == found["protocol"]["named colours"]
    right = sum(part["named"] * part["generated"] for part in found["parts"].values())
    assert found["value"] == pytest.approx(right / found["protocol"]["named colours"])
    assert measure("part_colours") == found


def test_stage_agreement_compares_every_stage_with_the_last(measure, tiny_world, tmp_path):
    with pytest.raises(UserError, match="paints in one stage"):
        measure("stage_agreement")
    with pytest.raises(UserError, match="measure a --model"):
        measure("stage_agreement", "--pictures", str(tmp_path))
    torch.manual_seed(0)
    damsm = Damsm.load(tiny_world / "damsm")
    two = AttnGanConfig(stages=2, width=4, embedding=16, condition=6, noise=5, residual_blocks=1)
    painter_of(Generator(two), damsm).save(tmp_path / "two", "# card", {"encoder": damsm.checksum})
    found = measure("stage_agreement", "--model", str(tmp_path / "two"), "--samples", "8")
    assert [row["name"] for row in found["rows"]] == ["64 px as 128 px"]
    assert found["protocol"]["named colours"] > 8
    assert 0 <= found["value"] <= 1 and found["real"] is None


def test_colour_edits_change_one_word(measure):
    found = measure("colour_edits", "--samples", "20")
    assert found["real"] is None and found["chance"] == pytest.approx(1 / 11)
    assert [row["name"] for row in found["rows"]] == [
        "the edited part takes its new colour",
        "other named parts are read as before",
    ]
    assert 10 <= found["protocol"]["samples"] <= 20
    assert found["rows"][1]["value"] > 0.5  # an untrained painter hardly hears one word


def test_variety_compares_seeds_with_pictures_of_a_species(measure):
    with pytest.raises(UserError, match="no two pictures of one caption"):
        measure("variety", "--samples", "2")  # one test picture a species
    found = measure("variety", "--samples", "2", "--split", "train")
    assert found["value"] > 0 and found["real"] > 0
    assert found["protocol"]["distance"].endswith("8 seeds of a caption")


def test_part_colours_from_transcripts_name_the_voices_and_the_errors(measure):
    found = measure("part_colours", "--from", "transcript", "--samples", "3", "--beam", "0")
    protocol = found["protocol"]
    assert protocol["text"].startswith("transcript") and "espeak-ng" in protocol["voices"]
    assert protocol["word error rate of the transcripts"] > 0.5  # an untrained recogniser


def test_another_recogniser_may_hear(measure, monkeypatch):
    """What is spoken goes to whatever recogniser is named, and the protocol says which and how it searches."""
    from asr.recognizers import registry

    class Other:
        checksum = "d" * 64
        beams: list[int] = []

        def transcribe_batch(self, clips, beam):
            self.beams.append(beam)
            return ["a red bird"] * len(clips)

    opened = []
    monkeypatch.setattr(registry, "open_recognizer", lambda *asked: opened.append(asked) or Other())
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: True)
    named = ("--recognizer", "whisper:tiny.en", "--samples", "3")
    painted = measure("part_colours", "--from", "transcript", *named)["protocol"]
    heard = measure("wer", *named)["protocol"]
    for protocol in (painted, heard):
        assert protocol["recognizer"] == {"name": "whisper-tiny.en", "sha256": "d" * 64}
        assert (protocol["beam"], protocol["language model"]) == (5, "its own")
    assert set(Other.beams) == {5} and str(opened[0][0]) == "whisper:tiny.en"


def test_the_rendered_row_is_what_the_classifier_reads_from_the_pictures(
    tiny_world, models, measure, monkeypatch
):
    """A classifier that sees through: the real row is then right by the set's own truth."""
    import csv

    from data.captioned_images import load_images
    from data.sampling import to_unit

    birds = load_images(tiny_world / "painted_birds", "test", 64, tiny_world / "painted_birds" / "cache")
    with open(tiny_world / "painted_birds" / "parts.csv") as file:
        truth = {row["name"]: [COLOURS.index(row[part]) for part in PARTS] for row in csv.DictReader(file)}
    pictures = to_unit(birds.batch(range(len(birds)), None))

    def see_through(self, images):
        nearest = torch.cdist(images.flatten(1), pictures.flatten(1)).argmin(dim=1)
        ids = torch.tensor([truth[birds.names[i]] for i in nearest])
        return F.one_hot(ids, len(COLOURS)).float()

    monkeypatch.setattr(PartClassifier, "forward", see_through)
    found = measure("part_colours", "--samples", "12")
    assert found["real"] == 1.0
    assert found["value"] < 1.0


@pytest.mark.parametrize("metric", ["wer", "cer"])
def test_error_rates_of_known_and_unknown_voices(measure, metric):
    found = measure(metric, "--beam", "0")
    assert [row["name"] for row in found["rows"]] == ["test", "test_voices"]
    assert found["real"] is None and "real" in found["protocol"]
    assert found["interval"]["low"] <= found["value"] <= found["interval"]["high"]
    assert found["protocol"]["counts"]["test"]["clips"] == 4
    few = measure(metric, "--beam", "0", "--split", "val", "--samples", "2")
    assert [row["name"] for row in few["rows"]] == ["val"] and few["protocol"]["counts"]["val"]["clips"] == 2
    many = measure(metric, "--beam", "0", "--samples", "50")  # no clip is heard twice
    assert many["protocol"]["counts"]["test"]["clips"] == 4


def test_the_table_is_for_people(tiny_world, models, tmp_path, capsys):
    evaluate.main(["--metric", "part_colours", "--model", str(models / "painter"), "--classifier",
                   str(models / "parts"), "--root", str(tiny_world), "--out", str(tmp_path)])  # fmt: skip
    out = capsys.readouterr().out
    for words in (
        "part-colour accuracy",
        "generated",
        "real",
        "chance",
        "9.1 %",
        "sha256",
        "revision",
        "stored in",
    ):
        assert words in out


@pytest.mark.parametrize(
    "options, told",
    [
        (["--metric", "fdi"], r'no metric "fdi" \(did you mean "fid"\?\)'),
        (["--metric", "fid", "--modle", "x"], r'"--modle" is not understood \(did you mean "--model"\?\)'),
        ([], "--metric"),
        (["--metric", "fid", "--network", "absent.safetensors"], "no feature network at absent"),
        (["--metric", "wer", "--from", "transcript"], "for pictures"),
        (["--metric", "fid", "--samples", "1"], "at least 2"),
        (["--metric", "fid", "--samples", "many"], "invalid int"),
        (["--metric", "fid", "--data", "paintedbirds"], 'no set paintedbirds .did you mean "painted_birds"'),
        (["--metric", "fid", "--split", "tset"], 'no split "tset" in painted_birds .did you mean "test"'),
        (
            ["--metric", "fid", "--samples", "1000000000000"],
            "--samples 1000000000000: at most 1000000 can be asked",
        ),
        (["--metric", "fid", "--batch", "0"], "--batch 0: at least 1 is needed"),
        (["--metric", "wer", "--beam", "101"], "--beam 101: at most 100"),
        (["--metric", "fid", "--seed", "-1"], "--seed -1: at least 0"),
        (["--metric", "fid", "--device", "banana"], 'no device "banana": it is auto, cpu, cuda or cuda:<n>'),
        (["--metric", "fid", "--device", "gpu"], 'no device "gpu"'),
        (["--metric", "fid", "--voices", "unheard"], "--voices is for --from transcript"),
        (
            ["--metric", "part_colours", "--from", "transcript", "--voices", "kokroo"],
            r'no --voices "kokroo" \(did you mean "kokoro"\?\): they are training or unheard, both of espeak-ng',
        ),
        (["--metric", "fid", "--from", "transcript", "--voices", "piper"], "of kokoro, flite, festival"),
        (["--metric", "fid", "--pictures", "nowhere"], "--pictures stands in place of a --model"),
        (["--metric", "wer", "--split", "test_voice"], 'did you mean "test_voices"'),
    ],
)
def test_mistakes_are_answered_in_one_line(options, told, tiny_world, models, tmp_path):
    given = ["--root", str(tiny_world), "--out", str(tmp_path), "--model", str(models / "painter"), "--classifier",
             str(models / "parts"), "--recognizer", str(models / "recognizer")]  # fmt: skip
    with pytest.raises(UserError, match=told) as error:
        evaluate.main([*options, *given])
    assert "\n" not in str(error.value)


def test_missing_and_mistaken_models_and_sets_are_named(measure, models, tiny_world, tmp_path):
    with pytest.raises(UserError, match="no painter model at .*nowhere"):
        measure("fid", "--model", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match='holds a "part_classifier" model, a "painter" model was expected'):
        measure("fid", "--model", str(models / "parts"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no parts.csv"):
        measure("part_colours", "--data", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="reads painted birds only"):
        measure("fid", "--data", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="99 captions of other classes expected"):
        measure("r_precision", "--samples", "20")
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(UserError, match="cannot make the folder"):
        measure("fid", "--out", str(blocked / "results"))


def test_a_set_that_is_not_in_the_layout_of_cub_is_refused(measure, tmp_path, realdata):
    (tmp_path / "pictures").mkdir()
    network = realdata / "networks" / "squeezenet1_1_fp16.safetensors"
    with pytest.raises(UserError, match="has not the layout of CUB"):
        measure("fid", "--data", str(tmp_path / "pictures"), "--network", str(network))


def test_samples_pass_over_the_set_again_and_again():
    assert (choose(5, None, 0) == np.arange(5)).all()
    chosen = choose(5, 12, 3)
    assert sorted(chosen[:5]) == sorted(chosen[5:10]) == [0, 1, 2, 3, 4]
    assert (chosen[:5] != chosen[5:10]).any() and len(chosen) == 12
    assert (choose(5, 4, 3) == chosen[:4]).all()


def test_a_text_without_known_words_is_painted_from_a_word_that_says_nothing(tiny_world):
    vocabulary = Damsm.load(tiny_world / "damsm").vocabulary
    assert with_known_words(["", "xyzzy", "a red bird"], partial(vocabulary.known, limit=9)) == [
        "bird",
        "bird",
        "a red bird",
    ]


def test_features_of_real_pictures_are_kept_and_made_anew_where_damaged(measure, tiny_world, monkeypatch):
    kept = tiny_world / "painted_birds" / "cache"
    for path in kept.glob("test-*-features-*.npy"):
        path.unlink()
    first = measure("fid", "--samples", "12")["value"]
    (path,) = kept.glob("test-*-features-*.npy")
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "pictures_of", lambda *_: pytest.fail("the pictures were read again"))
        assert measure("fid", "--samples", "12")["value"] == first
    path.write_bytes(path.read_bytes()[:200])
    assert measure("fid", "--samples", "12")["value"] == first


def test_photographs_of_the_training_split_are_the_baseline(measure, monkeypatch):
    found = measure("fid", "--model", "photographs", "--samples", "24", "--size", "32")
    assert found["protocol"]["image size"] == 32 and found["value"] > 0
    assert found["protocol"]["model"]["name"] == "photographs"
    with pytest.raises(UserError, match="--size 0: at least 8"):
        measure("fid", "--model", "photographs", "--size", "0")
    with pytest.raises(UserError, match="--size and --finder are for --model photographs"):
        measure("fid", "--size", "32")


def test_retrieval_ranks_real_pictures_and_all_of_their_captions(measure):
    found = measure("retrieval")
    pictures, captions = found["protocol"]["pictures"], found["protocol"]["captions"]
    assert captions == 10 * pictures and found["chance"] == 1 / pictures
    rows = [row["value"] for row in found["rows"]]
    assert len(rows) == 6 and rows[:3] == sorted(rows[:3]) and rows[3:] == sorted(rows[3:])
    assert found["parts"]["chance, to the picture"]["recall@5"] == 5 / pictures
    first = found["parts"]["chance, from the picture"]["recall@1"]
    assert first == pytest.approx(1 / pictures)  # ten of ten times as many


def test_retrieval_by_what_is_heard_stands_beside_the_same_captions_as_written(measure, monkeypatch):
    from evaluation import spoken

    asked = []

    def heard(captions, kind, *_):
        asked.append((list(captions), kind))
        return [captions[0]] * len(captions), {"voices": kind}

    monkeypatch.setattr(spoken, "transcripts", heard)
    found = measure("retrieval", "--from", "transcript", "--voices", "unheard")
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "transcript finds its picture, recall@1" and names[3].startswith(
        "picture finds its transcript"
    )
    assert names[6:] == [f"as written: {name.replace('transcript', 'caption')}" for name in names[:6]]
    assert len(asked) == 1 and len(asked[0][0]) == found["protocol"]["pictures"] and asked[0][1] == "unheard"
    values = [row["value"] for row in found["rows"]]
    assert values[3:5] == [0, 0] and values[9:11] != [0, 0]  # one text for all tells no picture from another
    monkeypatch.setattr(spoken, "transcripts", lambda captions, *_: (captions, {}))
    values = [row["value"] for row in measure("retrieval", "--from", "transcript")["rows"]]
    assert values[:6] == values[6:]


# what metrics share, and what they do not


def test_the_order_of_metrics_changes_no_figure(measure_all):
    """Every picture metric in one command, that in the opposite order, and some alone: the same values to the bit."""
    metrics = ["variety", "fid", "kid", "is", "part_colours", "colour_edits"]
    options = ("--samples", "14", "--split", "train")
    one, other = (measure_all(order, *options) for order in (metrics, metrics[::-1]))
    assert [found["metric"] for found in other] == metrics[::-1]
    by_name = {found["metric"]: found for found in other}
    assert one == [by_name[metric] for metric in metrics]
    for metric in ("fid", "variety"):
        assert measure_all([metric], *options) == [by_name[metric]]


def test_variety_before_fid_leaves_fid_all_of_its_captions(measure_all):
    """Without --samples variety takes a number of captions of its own, which is nobody else's."""
    alone = measure_all(["fid"])
    assert measure_all(["kid", "fid"])[1] == alone[0]
    variety, fid = measure_all(["variety", "fid"], "--split", "train")
    assert fid["protocol"]["samples"] == 24 and variety["protocol"]["samples"] == 100


def test_images_are_generated_once_for_all_metrics(measure_all, monkeypatch):
    from evaluation.generators import TrainedPainter

    generate, made = TrainedPainter.generate, []
    monkeypatch.setattr(TrainedPainter, "generate", lambda self, pairs, rows: made.append(len(pairs.texts[rows]))
                        or generate(self, pairs, rows))  # fmt: skip
    measure_all(["fid", "kid", "is", "part_colours"], "--samples", "14")
    assert sum(made) == 14


def test_many_images_are_kept_in_a_file_and_come_back_as_they_were(monkeypatch):
    from evaluation import batches

    images = [torch.rand(3, 3, 4, 4), torch.rand(2, 3, 4, 4)]
    for limit in (0, 2**20):
        monkeypatch.setattr(batches, "IN_MEMORY", limit)
        store = batches.ImageStore((5, 3, 4, 4))
        for batch in images:
            store.add(batch)
        assert hasattr(store, "file") == (limit == 0)
        back = list(store.batches(torch.device("cpu")))
        assert len(back) == 2 and all(torch.equal(a, b) for a, b in zip(images, back, strict=True))


def test_options_are_frozen():
    from dataclasses import FrozenInstanceError

    options = parse_options(["--metric", "fid"])
    with pytest.raises(FrozenInstanceError):
        options.samples = 3


def test_a_metric_of_ones_own_is_one_file_and_one_line(measure, monkeypatch):
    import importlib
    import sys

    from evaluation import registry
    from evaluation.result import fixed

    registry.metrics()
    monkeypatch.setattr(registry, "_METRICS", dict(registry._METRICS))
    monkeypatch.delitem(sys.modules, "examples.metric_sharpness", raising=False)
    example = importlib.import_module("examples.metric_sharpness")
    checkerboard = np.indices((6, 6)).sum(0) % 2 * 2.0 - 1  # of which every second difference is 8
    assert example.laplacian_variance(
        np.stack([np.zeros((3, 6, 6)), np.stack([checkerboard] * 3)])
    ).tolist() == [0, 64]
    found = measure("sharpness", "--samples", "6")
    assert found["value"] > 0 and found["real"] > 0 and found["protocol"]["samples"] == 6
    with pytest.raises(ValueError, match="already"):
        registry.register(registry.Metric("sharpness", "", fixed(2), (), example.measure))
    with pytest.raises(ValueError, match='needs "luck"'):
        registry.register(registry.Metric("other", "", fixed(2), ("luck",), example.measure))


# what is told


def test_distances_compare_equal_counts(measure):
    for metric in ("fid", "kid", "coverage"):
        found = measure(metric, "--samples", "14", "--split", "train")
        names = [row["name"] for row in found["rows"]]
        assert any(name.startswith(("generated, 12 against 12", "12 against 12")) for name in names)
        assert found["protocol"]["real pictures"].startswith("12 of the reference against 12 others")


def test_few_images_are_warned_of(measure):
    fid = measure("fid", "--samples", "14")
    assert any("14 images in 16 dimensions" in warning for warning in fid["warnings"])
    scores = measure("is", "--samples", "14")
    assert any("splits of 1 images over 121 classes" in warning for warning in scores["warnings"])
    assert scores["protocol"]["splits"].startswith("10 of 1 images")
    assert "generated, one split" in [row["name"] for row in scores["rows"]]


def test_digits_are_enough_to_compare():
    from evaluation.result import fixed, percent, scientific

    assert scientific(0.0000123456) == "1.2346e-05" and scientific(-0.0) == "0.0000e+00"
    assert fixed(3)(0.21549) == "0.215" and fixed(3)(-0.00001) == "0.000"
    assert percent(1.0) == "100.0 %" and percent(-1e-9) == "0.0 %" and percent(0) == "0.0 %"
    assert percent(1 / 2933) == "0.03 %" and percent(0.0005) == "0.1 %"


def test_r_precision_says_how_sure_its_mean_is_and_which_captions_were_seen(measure, monkeypatch):
    monkeypatch.setattr(Evaluator, "seen_in_training", lambda self, pairs: np.arange(len(pairs)) % 2 == 0)
    found = measure("r_precision", "--samples", "200")
    assert found["interval"].keys() == {"std", "of", "standard_error"}
    rows = {row["name"]: row["value"] for row in found["rows"]}
    seen, unseen = (rows[f"generated, captions {name} training (100)"] for name in ("seen in", "not seen in"))
    assert (seen + unseen) / 2 == pytest.approx(found["value"])
    assert found["protocol"]["captions seen in training"].startswith("100 of 200 (50.0 %)")


def test_captions_seen_in_training_are_counted_by_their_words(measure, tiny_world):
    from data.cub import read_split

    assert measure("part_colours", "--split", "train")["protocol"]["captions seen in training"].startswith(
        "24 of 24"
    )
    found = measure("part_colours")["protocol"]["captions seen in training"]
    folder = tiny_world / "painted_birds" / "text"
    words = sets.caption_words
    train, test = (
        [
            words(c)
            for name in read_split(folder.parent, split)[0]
            for c in (folder / f"{name}.txt").read_text().splitlines()
        ]
        for split in ("train", "test")
    )
    assert int(found.split()[0]) <= len(set(train) & set(test))
    assert words("This bird, is RED.") == words("this bird is red")


def test_r_precision_without_classes_draws_captions_of_other_pictures(measure, monkeypatch):
    from evaluation import evaluator as of

    draw = of.draw_pairs

    def without_classes(images, samples, seed):
        images.has_classes = samples != 120
        images.class_ids = np.arange(len(images)) if samples == 120 else np.ones(len(images), int)
        return draw(images, samples, seed)

    monkeypatch.setattr(of, "draw_pairs", without_classes)
    for samples in ("120", "130"):
        found = measure("r_precision", "--samples", samples)
        assert "99 captions of other pictures, of any class" in found["protocol"]["candidates"]


def test_unheard_voices_can_be_asked_for(measure):
    options = ("part_colours", "--from", "transcript", "--samples", "2", "--beam", "0")
    heard, unheard = (
        measure(*options, "--voices", voices)["protocol"]["voices"] for voices in ("training", "unheard")
    )
    assert heard == "24 of espeak-ng, those of the recogniser's training"
    assert unheard == "8 of espeak-ng that the recogniser's training never used"


forks = pytest.mark.skipif(sys.platform != "linux", reason="workers elsewhere import the engines anew")
ENGLISH = ["a red bird", "a blue bird", "a bird with green wings", "a red bird"]


def speaks_of_itself(text: str, voice: str, tempo: float, pitch: float) -> tuple[np.ndarray, int]:
    """Text, voice and tempo as samples at 16 kHz, in place of an engine."""
    return np.repeat(np.array([*f"{text}|{voice}|{tempo}".encode()], np.int16), 100), 16_000


@pytest.fixture
def kokoro(monkeypatch):
    """Kokoro, which speaks of itself; kokoro(function) puts another in its place."""
    from data.synthesis.engines import ENGINES

    def speaks(synthesize) -> None:
        monkeypatch.setitem(ENGINES, "kokoro", ENGINES["kokoro"]._replace(open=lambda root: synthesize))

    speaks(speaks_of_itself)
    return speaks


def said(samples: np.ndarray) -> list[str]:
    """What a clip of `speaks_of_itself` says: its text, voice and tempo."""
    assert not samples[:1600].any() and not samples[-1600:].any()  # a tenth of a second
    letters = samples[1600:-1600][50::100] / 0.6 * ord("|")  # the loudest letter is at 0.6
    return bytes(np.round(letters).astype(np.uint8).tolist()).decode().split("|")


@forks
def test_captions_are_spoken_once_by_an_engine_in_voices_that_are_never_trained_on(kokoro, tmp_path):
    from data.synthesis.engines import NEVER_TRAINED
    from evaluation.spoken import speak

    kept = NEVER_TRAINED["kokoro"]

    def files_of(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*.flac")}

    clips, told = speak(ENGLISH, "kokoro", 0, tmp_path, tmp_path)
    assert told == f"8 of kokoro, never trained on: {', '.join(kept)}"
    heard = [said(clip) for clip in clips]
    for i, (text, voice, tempo) in enumerate(heard):
        rng = np.random.default_rng([0, i, 2])
        assert text == ENGLISH[i] and voice == kept[rng.integers(8)]
        assert float(tempo) == pytest.approx(rng.uniform(0.8, 1.2), abs=5e-4)
    assert heard[0] != heard[3]  # the same caption of another picture is spoken anew
    files = files_of(tmp_path / "spoken" / "kokoro")
    assert len(files) == 4

    kokoro(None)  # whoever speaks again fails
    again, _ = speak(ENGLISH[:3], "kokoro", 0, tmp_path, tmp_path)
    assert all(np.array_equal(one, other) for one, other in zip(clips, again, strict=False))
    kokoro(speaks_of_itself)
    others, _ = speak(ENGLISH, "kokoro", 1, tmp_path, tmp_path)
    assert [said(clip)[1:] for clip in others] != [words[1:] for words in heard]
    assert files.items() < files_of(tmp_path / "spoken" / "kokoro").items()


@forks
def test_pictures_of_captions_that_an_engine_speaks_are_measured(measure, kokoro, tmp_path):
    options = ("part_colours", "--from", "transcript", "--voices", "kokoro", "--samples", "2", "--beam", "0")
    found = measure(*options, "--cache", str(tmp_path / "cache"))
    assert found["protocol"]["voices"].startswith("8 of kokoro, never trained on: af_nicole")
    assert len(list((tmp_path / "cache" / "spoken" / "kokoro").glob("*.flac"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a PATH without programs")
def test_an_engine_that_is_not_installed_is_told_in_one_line(measure, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    options = ("part_colours", "--from", "transcript", "--voices", "flite", "--samples", "2")
    with pytest.raises(UserError, match="no program flite on the PATH; install it, e.g. apt install flite"):
        measure(*options, "--cache", str(tmp_path))


def test_error_rates_are_resampled_over_voices(measure):
    found = measure("wer", "--beam", "0")
    assert found["protocol"]["counts"]["test_voices"]["voices"] > 1
    assert "voices" in found["rows"][1]["interval"]["of"]


def test_few_clips_speak_only_what_is_heard_and_are_those_of_the_whole_set(measure, tmp_path):
    """The first of two worlds speaks three clips of either split, then the second split, then all."""
    import shutil

    from data.painted_birds.recordings import ensure_spoken_captions

    world = tmp_path / "world"
    sizes = {"train": 2, "val": 6, "test": 6, "test_voices": 6}
    ensure_spoken_captions(world, splits=("train",), settings=sizes)
    options = ("wer", "--beam", "0", "--samples", "3")
    few = measure(*options, root=world)
    assert len(list((world / "spoken_captions" / "wavs").glob("test*.flac"))) == 6
    assert few["protocol"]["counts"]["test"]["of"] == 6 and few["protocol"]["counts"]["test"]["clips"] == 3
    other = measure(*options, "--split", "val", root=world)
    assert measure(*options, root=world) == few
    ensure_spoken_captions(world)
    assert len(list((world / "spoken_captions" / "wavs").glob("*.flac"))) == 20
    shutil.rmtree(tmp_path / "results")
    assert measure(*options, root=world) == few and measure(*options, "--split", "val", root=world) == other


def test_the_validation_split_is_the_last_tenth_of_the_training_classes(tiny_world):
    from data.captioned_images import load_images
    from data.sets import ImageData, open_images

    root = tiny_world / "painted_birds"
    train, validation, rest = (
        load_images(root, split, 64, root / "cache")
        for split in ("train", "validation", "train_without_validation")
    )
    assert set(validation.class_ids) == {max(train.class_ids)} and len(validation) == 2  # 12 species
    assert set(rest.names) | set(validation.names) == set(train.names)
    assert not set(rest.class_ids) & set(validation.class_ids)
    config = ImageData(root=str(root), painted=False)
    assert open_images(config, "train", 64).names == train.names
    assert (
        open_images(ImageData(root=str(root), painted=False, hold_out=True), "train", 64).names == rest.names
    )


def test_training_chooses_by_the_validation_split(root):
    """What is looked at while training never reads the test split; an encoder reads it once, for its card."""
    gan, encoder = ((root / "training" / f"{name}.py").read_text() for name in ("gan", "encoder"))
    assert '"test"' not in gan and "validation_set" in gan
    assert encoder.count("real_scores(model, test_set)") == 1


# results


def test_results_have_a_name_of_their_own(tmp_path, models, tiny_world):
    def name(*words: str) -> str:
        options = parse_options(["--metric", "fid", *map(str, words)])
        return evaluate.file_name(options, find(options.metrics[0]))

    for folder in ("a/birds", "b/birds", "x/cub/model", "y/cub/model"):
        (tmp_path / folder).mkdir(parents=True)
    network = tmp_path / "squeezenet.safetensors"
    network.touch()
    assert name() == "fid-painted-attngan-painted_birds-test"
    options = [
        [], ["--data", tmp_path / "a/birds"], ["--data", tmp_path / "b/birds"], ["--model", tmp_path / "x/cub/model"],
        ["--model", tmp_path / "y/cub/model"], ["--classifier", models / "parts"], ["--network", network],
        ["--model", "photographs"], ["--model", "photographs", "--finder", tiny_world / "damsm"],
        ["--model", "photographs", "--encoder", tiny_world / "damsm"], ["--model", "photographs", "--size", "32"],
        ["--samples", "9"], ["--seed", "1"], ["--split", "train"], ["--precision", "bf16"], ["--skip-damaged"],
        ["--from", "transcript"], ["--from", "transcript", "--voices", "unheard"],
        ["--from", "transcript", "--voices", "kokoro"], ["--from", "transcript", "--voices", "flite"],
        ["--from", "transcript", "--beam", "2"], ["--from", "transcript", "--recognizer", models / "recognizer"],
        ["--root", tmp_path], ["--pictures", tmp_path], ["--pictures", tmp_path, "--size", "32"],
        ["--metric", "r_precision"], ["--metric", "r_precision", "--encoder", tiny_world / "damsm"],
        ["--metric", "retrieval"], ["--metric", "retrieval", "--encoder", tiny_world / "damsm"],
        ["--metric", "retrieval", "--from", "transcript"],
        ["--metric", "retrieval", "--from", "transcript", "--recognizer", models / "recognizer"],
        ["--metric", "wer"], ["--metric", "wer", "--recognizer", models / "recognizer"],
        ["--metric", "wer", "--speech", tmp_path / "a/birds"], ["--metric", "wer", "--beam", "2"],
    ]  # fmt: skip
    names = [name(*words) for words in options]
    assert len(set(names)) == len(names)
    assert name("--metric", "wer", "--encoder", tiny_world / "damsm") == name(
        "--metric", "wer"
    )  # no part in it
    assert "cub" in name("--model", tmp_path / "x/cub/model")


@pytest.mark.parametrize("has, precision", [({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")])
def test_a_result_says_in_which_precision_was_generated(has, precision, measure, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    found = measure("is", "--samples", "20")
    assert found["protocol"]["precision"] == precision
    (path,) = (tmp_path / "results").iterdir()
    assert ("bf16" in path.name) == (precision == "bf16")  # no result in one overwrites that in the other


def test_a_figure_is_printed_though_it_cannot_be_stored(measure, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "write_json", _full_disk)
    with pytest.raises(UserError, match="No space left on device; the figures stand above"):
        measure("fid,kid", "--samples", "12")
    out = capsys.readouterr().out
    assert out.index("FID, Frechet") < out.index("KID, kernel")
    assert [json.loads(line)["metric"] for line in out.splitlines()[-2:]] == ["fid", "kid"]


def _full_disk(path, *_):
    raise UserError(f"cannot write {path}: No space left on device")


def test_features_that_cannot_be_kept_do_not_end_a_measure(measure, monkeypatch, capsys, tiny_world):
    from evaluation import batches

    for path in (tiny_world / "painted_birds" / "cache").glob("test-*-features-*.npy"):
        path.unlink()
    monkeypatch.setattr(batches, "write_atomically", _full_disk)
    assert measure("fid", "--samples", "12")["value"] > 0


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_measured(measure, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.tempfile, "TemporaryFile", _read_only)
    monkeypatch.setattr(Evaluator, "pairs", lambda *_: pytest.fail("measured first"))
    with pytest.raises(UserError, match="cannot write in .*results: Read-only file system; choose another"):
        measure("fid")


def _read_only(**_):
    raise OSError(30, "Read-only file system")


# images made elsewhere


@pytest.fixture
def folder_of_images(tiny_world: Path, tmp_path: Path) -> Path:
    """Twelve pictures of 80 x 64 px, one with transparency, in names that sort by number."""
    from PIL import Image

    folder = tmp_path / "made"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        picture = Image.fromarray(rng.integers(0, 255, (64, 80, 3), dtype=np.uint8))
        if i == 3:
            picture.putalpha(128)
        picture.save(folder / f"{i:03d}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_of_images_is_measured(measure, folder_of_images):
    for metric in ("fid", "kid", "coverage", "is"):
        found = measure(metric, "--pictures", str(folder_of_images), "--split", "train")
        assert found["protocol"]["samples"] == 12 and found["protocol"]["image size"] == 64
        assert found["protocol"]["model"]["name"] == "made"
        assert found["value"] >= 0
    with pytest.raises(UserError, match="holds 12 images for 6 captions; give as many"):
        measure("part_colours", "--pictures", str(folder_of_images))
    assert (
        measure("part_colours", "--pictures", str(folder_of_images), "--samples", "12")["protocol"]["samples"]
        == 12
    )
    with pytest.raises(UserError, match="variety generates its own"):
        measure("variety", "--pictures", str(folder_of_images))


def test_the_sets_own_pictures_as_a_folder_measure_as_real(measure, tiny_world, tmp_path):
    """Saved losslessly in the order of the captions, real pictures have the figures of the real row."""
    from PIL import Image

    from data.captioned_images import load_images

    birds = load_images(tiny_world / "painted_birds", "test", 64, tiny_world / "painted_birds" / "cache")
    (tmp_path / "real").mkdir()
    for row, i in enumerate(choose(len(birds), 6, 0)):
        picture = birds.batch([i], None)[0].permute(1, 2, 0).numpy()
        Image.fromarray(picture).save(tmp_path / "real" / f"{row}.png")
    found = measure("part_colours", "--pictures", str(tmp_path / "real"), "--samples", "6")
    assert found["value"] == found["real"]
    assert measure("fid", "--pictures", str(tmp_path / "real"), "--samples", "6")["value"] == pytest.approx(
        0, abs=1e-6
    )


def test_pictures_that_are_none_are_named(measure, folder_of_images):
    (folder_of_images / "004.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    with pytest.raises(UserError, match="cannot read the picture .*004.png"):
        measure("fid", "--pictures", str(folder_of_images))


def test_the_captions_that_are_measured_can_be_listed(tiny_world, models, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    words = ["--metric", "part_colours", "--samples", "8", "--root", tiny_world, "--model", models / "painter",
             "--captions", tmp_path / "captions.txt"]  # fmt: skip
    assert evaluate.main(list(map(str, words))) == 0
    assert len((tmp_path / "captions.txt").read_text().splitlines()) == 8


# the process


def test_help_and_mistakes_load_no_torch():
    code = "import sys, evaluation.command as c\ntry: c.main(sys.argv[1:])\nexcept (SystemExit, Exception): pass\n"
    code += "assert not {'torch', 'scipy', 'sklearn', 'PIL'} & set(sys.modules), 'heavy'"
    for words in (["--help"], ["--metric", "fdi"], ["--metric", "fid", "--device", "banana"]):
        subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, cwd=ROOT)


def test_named_sets_lie_beside_the_checkout_wherever_the_command_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_options(["--metric", "fid"]).root == ROOT / "datasets"
    assert parse_options(["--metric", "fid", "--root", "mine"]).root == Path("mine")
    assert not list(tmp_path.iterdir())


# feature networks


@pytest.mark.parametrize(
    "file, name, width",
    [
        ("mobilenet_v2_fp16", "MobileNetV2", 1280),
        ("squeezenet1_1_fp16", "SqueezeNet", 512),
        ("inception_v3_to_mixed6e_fp16", "Inception-v3", 768),
    ],
)
def test_feature_networks_read_real_birds(realdata, file, name, width):
    network = load_feature_network(realdata / "networks" / f"{file}.safetensors")
    assert network.name.startswith(name) and len(network.checksum) == 64
    images = torch.rand(2, 3, 40, 40) * 2 - 1
    features = network.features(images)
    assert features.shape == (2, width)
    assert torch.allclose(features[1:], network.features(images[1:]), atol=1e-4)


def test_mobilenet_knows_a_goldfinch(realdata):
    from PIL import Image

    folder = realdata / "birds" / "CUB_200_2011" / "images" / "047.American_Goldfinch"
    network = load_feature_network(realdata / "networks" / "mobilenet_v2_fp16.safetensors")
    right = 0
    for path in sorted(folder.glob("*.jpg"))[:5]:
        picture = torch.from_numpy(np.array(Image.open(path).convert("RGB").resize((224, 224))))
        images = picture.permute(2, 0, 1)[None] / 127.5 - 1
        right += int(network.probabilities(images).argmax() == 11)
    assert right >= 4


def test_inception_does_not_count_padding(realdata):
    network = load_feature_network(realdata / "networks" / "inception_v3_to_mixed6e_fp16.safetensors")
    block = network.backbone.Mixed_6e
    x = torch.rand(1, 768, 17, 17)
    last = block.branch_pool[-1](F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False))
    assert torch.allclose(block(x)[:, -last.shape[1] :], last, atol=1e-5)
    with pytest.raises(UserError, match="no class probabilities"):
        network.probabilities(x[:, :3])


def test_inception_reduces_large_pictures_as_pytorch_fid_does(realdata):
    network = load_feature_network(realdata / "networks" / "inception_v3_to_mixed6e_fp16.safetensors")
    images, read = torch.rand(1, 3, 400, 400) * 2 - 1, []
    network.normalise = lambda pictures: read.append(pictures) or pictures[:, :, :32, :32]
    with contextlib.suppress(RuntimeError):
        network.features(images)
    plain = F.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False)
    assert torch.equal(read[0], plain)
    assert not network.antialias


def test_real_birds_are_measured_with_a_named_network(measure, realdata, real_birds, tmp_path):
    network = str(realdata / "networks" / "squeezenet1_1_fp16.safetensors")
    options = ("--data", str(real_birds), "--network", network, "--samples", "12")
    for metric in ("is", "coverage", "fid"):
        found = measure(metric, *options, root=tmp_path)
        assert found["protocol"]["network"]["name"] == "SqueezeNet 1.1 (ImageNet), 512-d"
        assert found["protocol"]["set"] == "birds" and found["protocol"]["samples"] == 12
        if metric == "is":
            assert found["protocol"]["classes"].startswith("3 species")
            assert "%" in found["protocol"]["accuracy of the classes"]
    assert found["value"] > found["real"]  # the noise of an untrained painter is farther than other birds
    with pytest.raises(UserError, match="no parts.csv"):
        measure("part_colours", "--data", str(real_birds), root=tmp_path)


def test_files_that_are_no_feature_network_are_refused(tmp_path):
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(UserError, match="cannot read the weights"):
        load_feature_network(tmp_path / "text.safetensors")
    save_file({"other.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match='its first tensor is "other.weight"'):
        load_feature_network(tmp_path / "other.safetensors")
    save_file({"features.0.0.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "cut.safetensors")
    with pytest.raises(UserError, match="lacks features"):
        load_feature_network(tmp_path / "cut.safetensors")
    with pytest.raises(UserError, match="no feature network at"):
        load_feature_network(tmp_path / "absent.safetensors")


def test_the_number_of_threads_of_the_environment_is_kept():
    code = "import torch\nfrom core.runtime import set_up\nset_up(0, 'cpu')\nprint(torch.get_num_threads())"
    words = [sys.executable, "-c", code]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout == "1\n"
