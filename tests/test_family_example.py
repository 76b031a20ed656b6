"""A family from outside the package, without a discriminator, in the trainer and the painter as they are."""

import json
from pathlib import Path

import pytest
import torch

from core.errors import UserError
from data.sets import ImageData
from examples import family_denoiser
from t2i.encoders.base import TextFeatures
from t2i.families.registry import FAMILIES, SETTINGS, family_of, register
from t2i.painter import Painter
from training.config import RunConfig
from training.gan import TrainGan, train

for known in (FAMILIES, SETTINGS):  # the import registered it, which is for these tests alone to see
    known.pop("denoiser", None)


@pytest.fixture(autouse=True)
def registered():
    register([family_denoiser.FAMILY])
    yield
    for known in (FAMILIES, SETTINGS):
        known.pop("denoiser")


def settings(world: Path, runs: Path, **changes) -> TrainGan:
    birds = world / "painted_birds"
    run = RunConfig(
        name=changes.pop("name", "denoiser"), root=str(runs), steps=changes.pop("steps", 2), log_every=1,
        save_every=1, sample_every=0, precision="fp32", device="cpu", threads=1,
    )  # fmt: skip
    gan = SETTINGS["denoiser"](size=32, width=4, sampling_steps=2)
    return TrainGan(
        data=ImageData(root=str(birds), cache=str(birds / "cache")), run=run, gan=gan, encoder=str(world / "damsm"),
        **({"batch": 1, "accumulate": 2} | changes),
    )  # fmt: skip


def test_it_trains_resumes_is_saved_and_sampled(tiny_world: Path, tmp_path: Path):
    train(settings(tiny_world, tmp_path))
    losses = [json.loads(line) for line in (tmp_path / "denoiser" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in losses] == [0, 1] and all(line["flow"] > 0 for line in losses)
    checkpoint = torch.load(tmp_path / "denoiser" / "checkpoint.pt", weights_only=True)
    assert {"generator", "average", "generator optimizer"} <= checkpoint.keys()
    assert not (tmp_path / "denoiser" / "model" / "discriminators.safetensors").exists()

    painter = Painter.load(tmp_path / "denoiser" / "model")
    assert family_of(painter.config) is family_denoiser.FAMILY and painter.config.width == 4
    samples = painter.paint(["a red bird", "a blue bird"], [1, 2])
    assert [image.shape for image in samples.images] == [(2, 3, 32, 32)]
    alone = painter.paint(["a blue bird"], [2]).images[-1][0]
    torch.testing.assert_close(alone, samples.images[-1][1], rtol=0, atol=1e-5)

    train(settings(tiny_world, tmp_path, name="resumed", steps=1))
    train(settings(tiny_world, tmp_path, name="resumed"))
    resumed = torch.load(tmp_path / "resumed" / "checkpoint.pt", weights_only=True)
    for key, value in checkpoint["average"].items():
        assert torch.equal(value, resumed["average"][key]), key


def test_more_steps_than_at_the_start_are_taken_at_the_last_rate(tiny_world: Path, tmp_path: Path):
    rates = []
    for steps in (4, 6):
        train(settings(tiny_world, tmp_path, steps=steps, decay=0.5, lr_generator=0.1, accumulate=1))
        state = torch.load(tmp_path / "denoiser" / "checkpoint.pt", weights_only=True)
        rates.append(state["generator optimizer"]["param_groups"][0]["lr"])
    assert rates == pytest.approx([0.05, 0.05])


def test_it_learns():
    """On two images with a caption each the loss falls, and the samples of each caption come nearer to its image."""
    torch.manual_seed(0)
    config = family_denoiser.DenoiserConfig(size=16, width=8, embedding=2)
    networks = family_denoiser.FAMILY.build(config)
    images = torch.stack([torch.full((3, 16, 16), 0.8), torch.full((3, 16, 16), -0.8)])
    text = TextFeatures(torch.eye(2)[:, None], torch.zeros(2, 1, dtype=torch.bool), torch.eye(2))
    optimizer = torch.optim.Adam(networks["generator"].parameters(), lr=1e-2)
    found = []
    for step in range(60):
        batch = family_denoiser.MicroBatch((images,), text, text, torch.arange(2), step, None, {})
        loss, _ = family_denoiser.flow_matching(
            networks, batch, family_denoiser.DenoiserLoss(without_text=0.0), step
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert sum(found[-10:]) < 0.7 * sum(found[:10])
    with torch.no_grad():
        light, dark = family_denoiser.sample(networks["generator"], text, [0, 0]).images[0]
    assert light.mean() > dark.mean() + 0.5


def test_what_it_has_not_is_told(tiny_world: Path, tmp_path: Path):
    with pytest.raises(UserError, match="discriminators_first=3: gan=denoiser has none; set it to 0"):
        train(settings(tiny_world, tmp_path, discriminators_first=3))
    with pytest.raises(
        UserError, match="backbone_weights=x.pth is for discriminators .*gan=denoiser has none"
    ):
        train(settings(tiny_world, tmp_path, backbone_weights="x.pth"))
