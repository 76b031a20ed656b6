"""What the recipes compute themselves; the commands that they call have tests of their own."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.errors import UserError
from recipes import curve, extra_stage, families, recognizer_ablations
from recipes.common import chosen
from visualization.curves import loglog_curve

ROOT = Path(__file__).resolve().parents[1]


def test_a_power_law_is_found_again():
    hours = np.array([0.5, 1.0, 2.0, 4.0])
    assert curve.power_law(hours, 80 * hours**-0.3) == pytest.approx((80, 0.3))


def test_a_curve_has_room_for_all_of_its_points():
    page = loglog_curve([(0.1, 300), (1, 90)], [(10, 40)], [("real", 4)], ("hours", "FID"), "note")
    assert page.width < 1100 and len(page.convert("L").getcolors(256) or []) > 5


def test_a_table_of_families_has_a_row_for_each():
    rows = [{"family": "dfgan", "fid": "1.2"}, {"family": "attngan", "fid": "0.9"}]
    assert families.table(rows) == "| family | fid |\n| --- | --- |\n| dfgan | 1.2 |\n| attngan | 0.9 |\n"


def test_rows_are_chosen_by_name():
    rows = {"quick": [], "batch_8": []}
    assert chosen([], rows, "row") == ["quick", "batch_8"] and chosen(["batch_8"], rows, "row") == ["batch_8"]
    with pytest.raises(
        UserError, match=r'no row "quik" \(did you mean "quick"\?\); there are quick, batch_8'
    ):
        chosen(["quik"], rows, "row")


def test_the_finest_details_of_a_picture_are_its_sharpness():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 1.0
    ramp = torch.arange(8.0).expand(8, 8)
    values = [extra_stage.sharpness(grey.expand(3, 8, 8)) for grey in (board, ramp, 0 * ramp)]
    assert values == pytest.approx([4, 0, 0], abs=1e-5)


def test_pictures_are_enlarged_where_they_are_smaller():
    drawn = (torch.rand(3, 3, 1, 1) * 2 - 1).expand(3, 3, 64, 64)  # of one colour each

    def paint(texts: list[str], seeds: range) -> SimpleNamespace:
        return SimpleNamespace(images=(drawn[list(seeds)],))

    painter, captions = SimpleNamespace(paint=paint), ["a", "b", "c"]
    assert torch.equal(torch.stack(list(extra_stage.pictures(painter, captions, 64))), drawn)
    large = torch.stack(list(extra_stage.pictures(painter, captions, 128)))
    torch.testing.assert_close(large, drawn[:, :, :1, :1].expand(3, 3, 128, 128))


@pytest.mark.parametrize("words", [[extra_stage.QUICK, *row] for row in extra_stage.VARIETY.values()]
                         + [[*row, "start=x"] for row in extra_stage.STAGES.values() if row])  # fmt: skip
def test_rows_of_the_extra_stage_are_settings_of_the_trainer(words: list[str]):
    from training import gan
    from training.config import load_config

    config = load_config("train_gan", gan.TrainGan, words)
    gan.check(config, SimpleNamespace(sees_images=True, can_guide=True))


def test_the_recipe_of_real_birds_says_what_it_needs(tmp_path):
    def run(*words: str) -> str:
        done = subprocess.run(
            ["bash", str(ROOT / "recipes" / "real_birds.sh"), *words], capture_output=True, text=True
        )
        assert done.returncode != 0
        return done.stderr

    assert run().startswith("usage: recipes/real_birds.sh <CUB in StackGAN's layout>")
    (tmp_path / "CUB_200_2011").mkdir()
    assert run(str(tmp_path), str(tmp_path)).startswith("no mobilenet_v2*.safetensors or .pth in")


def test_the_recipe_of_the_recogniser_says_what_it_needs(tmp_path):
    recipe = tmp_path / "recipes"
    recipe.mkdir()
    for name in ("recognizer.sh", "stages.sh"):
        (recipe / name).write_text((ROOT / "recipes" / name).read_text())
    done = subprocess.run(["bash", str(recipe / "recognizer.sh")], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(
        "usage: recipes/recognizer.sh, with datasets/LibriSpeech"
    )


def test_rows_of_the_ablation_name_the_sets_that_they_change():
    from omegaconf import OmegaConf

    also = OmegaConf.load(ROOT / "configs" / "data" / "read_speech.yaml").also
    roots = [Path(source.root).name for source in also]
    assert [roots[i] for i in recognizer_ablations.SYNTHETIC] == [
        "spoken_captions", "flite_train", "festival_train", "espeak_train",
    ]  # fmt: skip
    assert also[recognizer_ablations.CLEAN_5].train == "train-clean-5"
    people = recognizer_ablations.COMMON_VOICE, recognizer_ablations.LEARNERS, recognizer_ablations.LJSPEECH
    assert [roots[i] for i in people] == ["CommonVoice-v1-dev", "speechocean762", "LJSpeech-1.1"]
