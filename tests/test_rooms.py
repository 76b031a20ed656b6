"""Arrows point one way: root scripts import rooms, rooms import `storage` and nothing else of ours."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("asr", "data", "metrics", "storage", "t2i", "training")
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}


def imported(source: str) -> set[str]:
    """Top-level names of every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("__import__", "importlib.import_module", "import_module")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value).split(".")[0])
    return found


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_storage(room: str):
    allowed = {room, "storage"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(room)
        for name in sorted(imported(path.read_text(encoding="utf-8")) & (set(ROOMS) | SCRIPTS) - allowed)
    ]
    assert files(room), f"the room {room}/ has no files"
    assert not wrong


def test_every_room_is_packaged():
    import tomllib

    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted(ROOMS)
    assert sorted(setuptools["py-modules"]) == sorted(SCRIPTS)


def test_no_room_is_named_like_a_package_that_we_import():
    """`data`, `metrics`, ... would hide an installed package of the same name, or be hidden by it."""
    import importlib.util

    for name in (*ROOMS, *SCRIPTS):
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin and Path(spec.origin).is_relative_to(ROOT), f"{name} is {spec}"


def test_the_walk_sees_every_form_of_import():
    source = (
        "import a.b\nfrom c.d import e\ndef f():\n    from g import h\n    __import__('i.j')\nfrom . import k"
    )
    assert imported(source) == {"a", "c", "g", "i"}
