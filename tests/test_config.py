"""Every configuration composes, and a misspelt one is answered with the nearest name."""

import importlib
from pathlib import Path

import pytest

from core.errors import UserError
from training.config import CONFIGS, load_config

SCRIPTS = {
    "train_classifier": "TrainClassifier",
    "train_encoder": "TrainEncoder",
    "train_asr": "TrainAsr",
    "train_gan": "TrainGan",
}
PREFIX = {
    "parts": "train_classifier",
    "damsm": "train_encoder",
    "char": "train_encoder",
    "recognizer": "train_asr",
    "attngan": "train_gan",
    "attndcgan": "train_gan",
    "stackgan": "train_gan",
    "gan": "train_gan",
    "dfgan": "train_gan",
    "projected": "train_gan",
}


def schema(script: str) -> type:
    return getattr(importlib.import_module(script.replace("train_", "training.")), SCRIPTS[script])


@pytest.mark.parametrize("script", SCRIPTS)
def test_defaults_compose(script):
    config = load_config(script, schema(script), [])
    assert config.run.steps > 0


@pytest.mark.parametrize("path", sorted((CONFIGS / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_composes_for_its_script(path: Path):
    """An experiment's name begins with what it trains."""
    script = PREFIX[path.stem.split("_")[0]]
    config = load_config(script, schema(script), [f"experiment={path.stem}"])
    assert config.run.name == path.stem


@pytest.mark.parametrize(
    "override, answer",
    [
        ("run.stpes=3", r'"run.stpes" is not a key of train_gan.py \(did you mean "run.steps"\?\)'),
        ("experiment=attngan_painted_quik", r'did you mean "attngan_painted_quick"'),
        ("data=cubb", r'data="cubb" does not exist \(did you mean "cub"\?\)'),
        ("run.steps=many", r"train_gan.py: .*many.*"),
        ("steps", r'"steps" is not of the form key=value'),
        ("gan.adversarial=wgan", r'adversarial="wgan" is unknown; choose one of bce, hinge'),
    ],
)
def test_a_misspelt_override_is_answered(override, answer):
    with pytest.raises(UserError, match=answer) as error:
        load_config("train_gan", schema("train_gan"), [override])
    assert "\n" not in str(error.value)


def test_an_encoder_brings_its_authors_batch_and_rate_along():
    char = load_config(
        "train_encoder", schema("train_encoder"), ["encoder=char_cnn_rnn", "encoder.form=cvpr"]
    )
    damsm = load_config("train_encoder", schema("train_encoder"), [])
    assert (char.batch, char.lr, char.clip, char.encoder.form) == (40, 7e-4, 0.0, "cvpr")
    assert (damsm.batch, damsm.lr, damsm.clip, damsm.encoder.embedding) == (48, 2e-3, 0.25, 256)
    as_given = ["encoder=char_cnn_rnn", "batch=7"]
    assert load_config("train_encoder", schema("train_encoder"), as_given).batch == 7


def test_a_group_of_one_script_is_a_key_of_another():
    """`encoder` chooses a variant in train_encoder.py and names a folder in train_gan.py, in one process too."""
    load_config("train_encoder", schema("train_encoder"), ["encoder=char_cnn_rnn"])
    config = load_config("train_gan", schema("train_gan"), ["encoder=runs/some/model"])
    assert config.encoder == "runs/some/model"
    with pytest.raises(
        UserError, match=r'encoder="char_cnn" does not exist \(did you mean "char_cnn_rnn"\?\)'
    ):
        load_config("train_encoder", schema("train_encoder"), ["encoder=char_cnn"])


def test_a_dry_run_prints_every_key_and_stops(capsys):
    with pytest.raises(SystemExit) as end:
        load_config("train_gan", schema("train_gan"), ["batch=7", "--dry-run"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert "batch: 7" in printed and "damsm_weight:" in printed
