"""Settings of train_gan.py that cannot be are one line before anything is built; captions that nobody can read."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from core.errors import UserError
from core.fields import check as check_fields
from t2i.families.registry import FAMILIES, SETTINGS
from training import gan as train_gan
from training.captions import readable_captions
from training.config import load_config
from training.ema import averaged

BLIND = SimpleNamespace(sees_images=False, can_guide=False)


@pytest.mark.parametrize(
    "words, message",
    [
        ({"batch": 0}, "batch=0: a whole number from 1 to 65536 was expected"),
        ({"batch": -3}, "batch=-3: a whole number"),
        ({"accumulate": 0}, "accumulate=0: a whole number from 1"),
        ({"lr_generator": float("nan")}, "lr_generator=nan: a number from 0 to 1"),
        ({"beta1": 1.5}, "beta1=1.5: a number from 0 to 0.99999"),
        ({"ema": 2.0}, "ema=2.0: a number from 0"),
        ({"decay": 5.0}, "decay=5.0: a number from 0 to 1"),
        ({"hard_negatives": -1}, "hard_negatives=-1: a whole number from 0"),
        ({"measure_pictures": 0}, "measure_pictures=0: a whole number from 2"),
    ],
)
def test_a_number_out_of_range_is_one_line(words: dict, message: str):
    with pytest.raises(UserError) as error:
        check_fields(train_gan.TrainGan(gan=SETTINGS["dfgan"](), **words))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "word", ["gan.stages=0", "gan.width=-1", "gan.width=1000000000", "gan.kl_weight=-1.0"]
)
def test_a_family_s_number_out_of_range_is_one_line_on_the_command_line(word: str):
    with pytest.raises(UserError, match=rf"^{re.escape(word)}: a (whole )?number from .* was expected$"):
        load_config("train_gan", train_gan.TrainGan, ["gan=attngan", word])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_as_large_as_its_family_needs(family: str):
    settings = SETTINGS[family](**({"damsm_weight": 0.0} if family == "attngan" else {}))
    needs = FAMILIES[family].needs(*FAMILIES[family].split(settings))
    config = train_gan.TrainGan(gan=settings, batch=1, backbone_weights="x.pth" if needs.backbone else "")
    if needs.smallest_batch == 1:
        return train_gan.check(config, BLIND)
    with pytest.raises(UserError, match=f"batch=1: gan={family} .*; choose 2 or more"):
        train_gan.check(config, BLIND)
    config.batch = 2
    train_gan.check(config, BLIND)


def test_damsm_needs_an_encoder_that_has_it():
    config = train_gan.TrainGan(gan=SETTINGS["attngan"](), encoder="runs/chars")
    with pytest.raises(
        UserError, match="gan.damsm_weight=5 needs an encoder .* runs/chars has no image encoder"
    ):
        train_gan.check(config, BLIND)


def test_captions_without_a_known_word_are_left_out_at_the_start(capsys):
    reader = SimpleNamespace(known=lambda text: [word for word in text.split() if word in ("red", "bird")])
    images = SimpleNamespace(names=["1/a", "1/b"], captions=[["a red one", "???"], ["bird", "red bird"]])
    readable_captions(images, reader)
    assert images.captions == [["a red one"], ["bird", "red bird"]]
    assert (
        '1 captions of which the text encoder knows no word are left out, such as "???"'
        in capsys.readouterr().out
    )
    images.captions[1] = ["кто", "..."]
    with pytest.raises(UserError, match="^1/b has no caption of which the text encoder knows a word"):
        readable_captions(images, reader)


def test_the_average_follows_the_weights_and_the_statistics():
    """Equal to the loop, whose decay is warmed up, in all but the weight of the very first weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, expected = averaged(model, 0.6), None
    for step in range(12):
        model(torch.randn(4, 3))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        now = [value.clone().double() for value in model.state_dict().values()]
        decay = min(0.6, (1 + step) / (10 + step))
        expected = (
            now
            if expected is None
            else [decay * a + (1 - decay) * b for a, b in zip(expected, now, strict=True)]
        )
        average.update_parameters(model)
    for (name, value), wanted in zip(average.module.state_dict().items(), expected, strict=True):
        if name.endswith("num_batches_tracked"):
            assert value == 12
        else:
            torch.testing.assert_close(value, wanted.float(), rtol=1e-5, atol=1e-6)
    assert not any(p.requires_grad for p in average.parameters())


def test_old_snapshots_are_found_by_their_name():
    from core.model_registry import model_name

    assert (
        model_name(Path("runs/cub/kept/001000"))
        == model_name(Path("runs/cub/snapshots/001000"))
        == "cub-001000"
    )
