"""Random malformed settings, through the front of all trainers: a configuration, or one line that says why not."""

import importlib
import random

import pytest

from core.errors import UserError
from training.config import fields_of, load_config, variants_of

SCHEMAS = {
    "train_classifier": "TrainClassifier",
    "train_encoder": "TrainEncoder",
    "train_asr": "TrainAsr",
    "train_gan": "TrainGan",
    "train_locator": "TrainLocator",
}
VALUES = [
    "-1", "0", "1e400", "nan", "-inf", "abc", "true", "null", "[]", "[1,2]", "{}", "{a: 1}", "", "'", "a=b", "(1)", "#",
    "~", "ü", "${run.name}", "${", "???", "99999999999999999999", "0x10", "1,2", "a b", "\x1b[2J", "\udcff", "../x",
    "/", "1.5", "-0.0", "\n", "&x", "*", "!!python/object:os.system", "'a'", "x" * 300,
]  # fmt: skip


def keys_of(schema: type) -> list[str]:
    keys = list(fields_of(schema))
    for group, classes in variants_of(schema).items():
        keys += list(fields_of(next(iter(classes.values())), f"{group}."))
    return [*keys, "data", "experiment", *variants_of(schema)]


def misspelt(rng: random.Random, key: str) -> str:
    at = rng.randrange(len(key))
    return rng.choice(
        [key[:at] + key[at + 1 :], key + "x", f"+{key}", f"~{key}", key.upper(), f"{key}.x", "", "@", "a b"]
    )


@pytest.mark.parametrize("script", SCHEMAS)
def test_random_malformed_settings_are_taken_or_refused_in_one_line(script: str):
    schema = getattr(importlib.import_module(script.replace("train_", "training.")), SCHEMAS[script])
    rng, keys, refused = random.Random(script), keys_of(schema), 0
    for _ in range(12):
        key = rng.choice(keys)
        word = f"{misspelt(rng, key) if rng.random() < 0.25 else key}={rng.choice(VALUES)}"
        try:
            load_config(script, schema, [word])
        except UserError as error:
            refused += 1
            assert str(error) and "Traceback" not in str(error), word
        except Exception as error:
            raise AssertionError(f"{word!r} ended in {error!r}") from error
    assert refused > 4
