"""Every configuration composes, and a misspelt one is answered with the nearest name."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from training.config import CONFIGS, load_config
from training.help import help_text

SCRIPTS = {
    "train_classifier": "TrainClassifier",
    "train_encoder": "TrainEncoder",
    "train_asr": "TrainAsr",
    "train_gan": "TrainGan",
    "train_locator": "TrainLocator",
}


def module_of(script: str):
    return importlib.import_module(script.replace("train_", "training."))


def schema(script: str) -> type:
    return getattr(module_of(script), SCRIPTS[script])


@pytest.mark.parametrize("script", SCRIPTS)
def test_defaults_compose(script):
    config = load_config(script, schema(script))
    assert config.run.steps > 0


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "experiment").glob("*/*.yaml")), ids=lambda path: path.stem
)
def test_every_experiment_composes_for_its_script(path: Path):
    """An experiment lies in the folder of the script that it is for, and is named without it."""
    script = path.parent.name
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
        ("gan.adversarial=wgan", 'adversarial="wgan": one of bce, hinge was expected'),
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


def answer(script: str, monkeypatch, *words: str) -> None:
    """What the script's main() does with these words."""
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *words])
    module_of(script).main()


def test_a_dry_run_prints_every_key_and_stops(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    answer("train_gan", monkeypatch, "batch=7", "--dry-run")
    printed = capsys.readouterr().out
    assert "batch: 7" in printed and "damsm_weight:" in printed
    answer("train_gan", monkeypatch, "batch=7", "--cfg", "job")
    assert capsys.readouterr().out.strip() == printed.strip()
    assert not list(tmp_path.iterdir())  # Hydra makes no folders of its own


@pytest.mark.parametrize("words", ["train_gan.py --dry-run", "evaluate.py --help", "generate.py --help"])
def test_a_question_is_answered_without_loading_what_takes_seconds(words, root):
    script, question = words.split()
    asked = subprocess.run([sys.executable, "-X", "importtime", str(root / script), question], capture_output=True,
                           text=True)  # fmt: skip
    assert asked.returncode == 0 and asked.stdout
    loaded = {line.rpartition("|")[2].strip() for line in asked.stderr.splitlines()}
    assert "core.errors" in loaded
    heavy = ("torch._C", "numpy._core", "scipy.linalg", "PIL.Image", "matplotlib.figure", "sklearn.base")
    assert not [name for name in loaded if name.startswith(heavy)]


@pytest.mark.parametrize(
    "override, answer",
    [
        ("gan.width=abc", 'gan.width="abc": a whole number'),
        ("batch=four", 'batch="four": a whole number'),
        ("ema=x", 'ema="x": a'),
        ("compile=maybe", 'compile="maybe": true or false was expected'),
        ("run.steps=-1", "run.steps=-1: a whole number from 1 to"),
        ("run.seed=-1", "run.seed=-1: a whole number from 0 to"),
        ("run.threads=-2", "run.threads=-2: a whole number from 0 to"),
        ("run.precision=fp8", 'run.precision="fp8".*: one of auto, bf16, fp32 was expected'),
        ("run.name=..", 'run.name=".." is not the name of a folder'),
        ("run.name=", 'run.name="" is not the name of a folder'),
        ("run.name=/tmp/x", 'run.name="/tmp/x" is not the name of a folder'),
        ("run.name=a/b", 'run.name="a/b" is not the name of a folder'),
        ("gan=null", 'gan="null" does not exist; there is: attngan'),
        ("run=3", "run is a group of keys; set them one by one, such as run.name="),
        ("=3", '"=3" has no key before its "="'),
        ("run.seed=0,1", "run.seed=0,1 has several values: with --multirun each trains a run"),
        ("run.name=a=b", "put it in quotes of both kinds: \"run.name='a=b'\""),
        ("data.root=/a (1)", r"put it in quotes of both kinds: \"data.root='/a \(1\)'"),
        ("encoder=it's", "put it in quotes of both kinds"),
        ("encoder=a,[b", "put it in quotes of both kinds"),
    ],
)
def test_a_wrong_value_is_answered_with_what_was_expected(override, answer):
    with pytest.raises(UserError, match=answer) as error:
        load_config("train_gan", schema("train_gan"), [override])
    assert "\n" not in str(error.value)


def test_quoted_values_arrive_as_they_are():
    for name in ("a=b", "ü&#", "a (1)", "~x", "it's"):
        escaped = name.replace("'", "\\'")
        assert load_config("train_asr", schema("train_asr"), [f"run.name='{escaped}'"]).run.name == name


def test_an_experiment_of_another_script_is_unknown():
    with pytest.raises(UserError, match='experiment="damsm_cub" does not exist .*; there is: attndcgan_cub'):
        load_config("train_gan", schema("train_gan"), ["experiment=damsm_cub"])


def test_an_unknown_option_is_answered(monkeypatch):
    with pytest.raises(
        UserError, match=r'"--dryrun" is not of the form key=value \(did you mean "--dry-run"'
    ):
        answer("train_gan", monkeypatch, "--dryrun")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_groups_and_keys_with_their_comments_at_once(script, root):
    """Stand-ins take the place of torch: the same text, without its import."""
    program = f"""
import sys
sys.argv = ["{script}.py", "--help"]
from core.errors import run_cli
from {script} import main
try:
    run_cli(main)
finally:
    print([m for m in ("torch", "numpy", "scipy", "hydra") if getattr(sys.modules.get(m), "__file__", None)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    text, _, heavy = done.stdout.rstrip().rpartition("\n")
    assert heavy == "[]"
    for words in ("run.steps=", "steps between checkpoints", "experiment: ", "data.root=", "--multirun"):
        assert words in text
    assert text == help_text(script, schema(script), module_of(script).__doc__, [])
