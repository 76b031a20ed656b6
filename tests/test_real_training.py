"""Two training steps of the encoder and the generator on real CUB; the recogniser's are in test_recognizer.py."""

import json
import sys
from pathlib import Path

import pytest

from t2i.encoders.damsm import Damsm
from t2i.painter import Painter


def test_the_encoder_and_the_generator_train_on_real_birds(
    real_birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from training import encoder as train_encoder
    from training import gan as train_gan

    shared = [
        "data=cub", f"data.root={real_birds}", f"data.cache={tmp_path / 'cache'}", f"run.root={tmp_path}",
        "run.steps=2", "run.log_every=1", "run.threads=1", "batch=6",
    ]  # fmt: skip
    encoder = ["encoder.embedding=16", "encoder.word_width=8", "encoder.image_width=4"]
    monkeypatch.setattr(sys, "argv", ["train_encoder.py", *shared, *encoder, "run.name=damsm"])
    train_encoder.main()
    damsm = Damsm.load(tmp_path / "damsm" / "model")
    assert {"beak", "feathers", "belly"} <= set(
        damsm.vocabulary.words
    )  # annotators' words, not our grammar's

    gan = [
        "gan.stages=2",
        "gan.width=4",
        "gan.discriminator_width=4",
        f"encoder={tmp_path / 'damsm' / 'model'}",
    ]
    monkeypatch.setattr(sys, "argv", ["train_gan.py", *shared, *gan, "run.name=gan"])
    train_gan.main()
    painter = Painter.load(tmp_path / "gan" / "model")
    painting = painter.paint(["a small bird with a white belly"] * 2, seeds=[0, 1])
    assert painting.images[-1].shape == (2, 3, 128, 128)
    for name in ("damsm", "gan"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines][:2] == [0, 1]
