"""Arrows point one way: a room imports what lies below it, doors at the root import rooms. docs/architecture.md."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# what each room may import; a room is a package, and `pipeline` the one module that joins hearing and painting
MAY_IMPORT = {
    "core": set(),
    "metrics": set(),
    "visualization": {"core"},
    "vision": {"core"},
    "asr": {"core"},
    "t2i": {"core", "vision"},
    "data": {"core", "asr"},
    "search": {"core", "t2i", "data"},
    "pipeline": {"core", "asr", "t2i", "data", "search"},
    "evaluation": {"core", "asr", "t2i", "data", "vision", "metrics", "pipeline"},
    "training": {
        "core",
        "asr",
        "t2i",
        "data",
        "vision",
        "metrics",
        "visualization",
        "pipeline",
        "evaluation",
    },
    "app": {"core", "asr", "t2i", "data", "search", "pipeline", "visualization"},
}
ROOMS = sorted(set(MAY_IMPORT) - {"pipeline"})
DOORS = {path.stem for path in ROOT.glob("*.py")}
MOST_LINES, MOST_LINES_OF_A_DOOR = 400, 40


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
    return [ROOT / f"{room}.py"] if room == "pipeline" else sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room: str):
    allowed = {room} | MAY_IMPORT[room]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}: it belongs in a room that may "
        f"({', '.join(r for r in MAY_IMPORT if {room, name} <= MAY_IMPORT[r] | {r}) or 'a door'})"
        for path in files(room)
        for name in sorted(imported(path.read_text(encoding="utf-8")) & (set(ROOMS) | DOORS) - allowed)
    ]
    assert files(room), f"the room {room}/ has no files"
    assert not wrong


def test_no_two_rooms_import_each_other():
    for room, below in MAY_IMPORT.items():
        for other in below:
            assert room not in MAY_IMPORT[other], f"{room} and {other} may import each other"


def test_every_room_is_packaged():
    import tomllib

    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packages = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert sorted(setuptools["packages"]) == sorted(packages)
    assert sorted(setuptools["py-modules"]) == sorted(DOORS)


def test_no_room_is_named_like_a_package_that_we_import():
    """`data`, `metrics`, ... would hide an installed package of the same name, or be hidden by it."""
    import importlib.util

    for name in (*ROOMS, *DOORS):
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin and Path(spec.origin).is_relative_to(ROOT), f"{name} is {spec}"


def test_the_walk_sees_every_form_of_import():
    source = (
        "import a.b\nfrom c.d import e\ndef f():\n    from g import h\n    __import__('i.j')\nfrom . import k"
    )
    assert imported(source) == {"a", "c", "g", "i"}


def test_the_picture_of_the_rooms_is_true():
    """docs/architecture.md draws an arrow only where it is allowed, and every room stands in it."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = [line.split() for line in page.split("```mermaid\n")[1].split("```")[0].splitlines()[1:]]
    arrows = {(line[0], line[2]) for line in lines if len(line) == 3}
    assert {name for line in lines for name in line if name != "-->"} == set(MAY_IMPORT)
    for room, below in MAY_IMPORT.items():
        assert {other for start, other in arrows if start == room} <= below, room
        reached, todo = set(), [room]
        while todo:
            reached |= (new := {other for start, other in arrows if start in todo} - reached)
            todo = list(new)
        assert below <= reached, f"{room}: the picture lacks a way to {below - reached}"
