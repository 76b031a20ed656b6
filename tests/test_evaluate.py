"""evaluate.py on untrained models: every metric runs, repeats, says its protocol, and answers mistakes in a line."""

import json
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
from asr.tokenizer import CharacterTokenizer
from core.errors import UserError
from core.model_folder import save_model
from data.painted_birds.grammar import COLOURS, PARTS
from evaluation import command as evaluate
from evaluation.part_classifier import PartClassifier, PartClassifierConfig
from t2i.encoders.damsm import Damsm
from t2i.families.attngan import AttnGanConfig, Generator
from t2i.painter import painter_of
from vision.feature_networks import load_feature_network


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
    tokenizer = CharacterTokenizer()
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
        assert evaluate.main(["--metric", metric, "--json", *map(str, named), *options]) == 0
        value = json.loads(capsys.readouterr().out.splitlines()[-1])
        stored = [json.loads(path.read_text()) for path in (tmp_path / "results").glob(f"{metric}-*.json")]
        assert value in stored
        assert value["metric"] == metric and {"value", "real", "protocol"} <= value.keys()
        assert value["protocol"]["revision"] and value["protocol"]["seed"] == 0
        return value

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
    assert (evaluate.choose(5, None, 0) == np.arange(5)).all()
    chosen = evaluate.choose(5, 12, 3)
    assert sorted(chosen[:5]) == sorted(chosen[5:10]) == [0, 1, 2, 3, 4]
    assert (chosen[:5] != chosen[5:10]).any() and len(chosen) == 12
    assert (evaluate.choose(5, 4, 3) == chosen[:4]).all()


def test_a_text_without_known_words_is_painted_from_a_word_that_says_nothing(tiny_world):
    vocabulary = Damsm.load(tiny_world / "damsm").vocabulary
    assert evaluate.with_known_words(["", "xyzzy", "a red bird"], partial(vocabulary.known, limit=9)) == [
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
        patch.setattr("measured.pictures", lambda *_: pytest.fail("the pictures were read again"))
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
    block = network.trunk.Mixed_6e
    x = torch.rand(1, 768, 17, 17)
    last = block.branch_pool[-1](F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False))
    assert torch.allclose(block(x)[:, -last.shape[1] :], last, atol=1e-5)
    with pytest.raises(UserError, match="no class probabilities"):
        network.probabilities(x[:, :3])


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
