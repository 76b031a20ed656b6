"""The notebook's cells run as they stand, and show what its text says."""

import json
from pathlib import Path

import pytest

from core.model_registry import PAINTER, RECOGNIZER

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "from_speech_to_picture.ipynb"


def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_holds_no_outputs():
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    for folder in (RECOGNIZER, PAINTER):
        if not (ROOT / folder / "config.json").is_file():
            pytest.skip(f"no released model in {folder}")
    monkeypatch.chdir(NOTEBOOK.parent)  # where Jupyter starts its kernel
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    names: dict = {}
    for cell in cells():
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    printed = capsys.readouterr().out
    assert "this bird has a red crown a yellow belly and black wings" in printed
    assert "a red bird with wings" in printed and "sum over words: 1.0" in printed
    assert [tuple(stage.shape) for stage in names["painting"].images] == [(4, 3, 64, 64), (4, 3, 128, 128)]
