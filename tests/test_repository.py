"""What the repository says about itself is true: commands exist, files are small, nothing names a machine."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 25 * 2**20  # bytes


def tracked() -> list[Path]:
    try:
        out = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: what belongs to the project is not known")
    return [path for name in out.decode().split("\0") if name and (path := ROOT / name).is_file()]


def commands(page: str = "README.md") -> list[str]:
    """Every line of a page's code blocks and every `inline` one that starts like a command."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.splitlines()]
    lines += [code for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))]
    lines = [line.split("  #")[0].strip().removeprefix("$ ") for line in lines]
    return [line for line in lines if re.match(r"(make |python |\.ci/|recipes/\S+ |bash )", line)]


def test_the_readme_has_commands():
    found = commands()
    assert "make demo" in found and "make test" in found
    assert any(line.startswith("python generate.py --speech") for line in found)


def test_every_command_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    wrong = []
    for line in commands():
        words = line.split()
        if words[0] == "make":
            wrong += [line for word in words[1:] if "=" not in word and word not in targets]
            continue
        module = words[words.index("-m") + 1].replace(".", "/") + ".py" if "-m" in words else None
        scripts = [module] if module else [w for w in words if re.search(r"\.(py|sh)$", w) or w == ".ci/run"]
        wrong += [f"{line}: no {name}" for name in scripts if not (ROOT / name).is_file()]
        samples = [word for word in words if word.startswith("samples/")]
        wrong += [f"{line}: no {name}" for name in samples if not (ROOT / name).exists()]
    assert not wrong


@pytest.mark.parametrize("page", ["README.md", "docs/search.md"])
def test_generate_and_search_understand_the_flags_of_a_page(page: str):
    from app import finding, terminal

    for script, parser in (("generate.py", terminal.parser()), ("search.py", finding.parser())):
        known = {option for action in parser._actions for option in action.option_strings}
        for line in commands(page):
            if line.startswith(f"python {script} "):
                assert set(re.findall(r"(?<!\S)--[a-z-]+", line)) <= known, line
    assert any(line.startswith("python ") for line in commands(page))


def test_every_experiment_of_readme_and_recipes_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"experiment=([a-z0-9_]+)", text))
    # the recipe names its runs and experiments <stage>_painted or <stage>_painted_<size>
    recipe = (ROOT / "recipes" / "painted_birds.sh").read_text(encoding="utf-8")
    for stage in re.findall(r'experiment="\$\(run_of (\w+)\)"', recipe):
        sized = stage not in ("parts", "recognizer")
        named |= {f"{stage}_painted{size}" for size in (("_quick", "_full") if sized else ("",))}
    missing = named - {path.stem for path in (ROOT / "configs" / "experiment").glob("*/*.yaml")}
    assert len(named) >= 4 and not missing


def test_the_recipe_says_which_sizes_it_has():
    recipe = str(ROOT / "recipes" / "painted_birds.sh")
    done = subprocess.run(["bash", recipe, "huge"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "usage: recipes/painted_birds.sh quick|full\n"


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_room_has_its_line():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {
        path.relative_to(ROOT).parts[0] for path in tracked() if path.suffix == ".py" and path.parent != ROOT
    }
    assert not [room for room in sorted(rooms) if f"`{room}/`" not in page]


def test_no_file_is_large():
    assert not [f"{p.relative_to(ROOT)}: {p.stat().st_size}" for p in tracked() if p.stat().st_size > LARGEST]


def test_no_machine_is_named():
    """Paths of somebody's machine, and package hosts, say nothing to anybody else."""
    machine = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/[a-z]", "/Us" + "ers/[a-z]"]))
    wrong = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {match[0]}" for match in machine.finditer(text)]
        if path.name in ("Makefile", "constraints.txt", "pyproject.toml", "run") and "://" in text:
            wrong.append(f"{path.relative_to(ROOT)} names a host")
    assert not wrong


def test_git_keeps_the_data_room():
    names = {path.relative_to(ROOT).as_posix() for path in tracked()}
    on_disk = {path.relative_to(ROOT).as_posix() for path in (ROOT / "data").glob("*.py")}
    ignored = [
        name
        for name in on_disk - names
        if subprocess.run(["git", "-C", str(ROOT), "check-ignore", "-q", name]).returncode == 0
    ]
    assert "data/cub.py" in names and not ignored


def test_every_released_model_is_whole_and_has_a_card():
    folders = sorted(path for path in (ROOT / "weights").glob("*") if path.is_dir())
    of_the_demo = {"painted-parts", "painted-damsm", "recognizer", "painted-attngan"}
    assert of_the_demo <= {folder.name for folder in folders}
    for folder in folders:
        assert (folder / "model.safetensors").is_file(), folder
        header = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert {"kind", "format_version", "config", "training"} <= header.keys(), folder
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert card.startswith("# ") and len(card) > 300 and "Limits" in card, f"{folder} needs a card"


def test_samples_are_small_and_told():
    told = (ROOT / "samples" / "README.md").read_text(encoding="utf-8")
    clips = sorted((ROOT / "samples").glob("*.ogg"))
    assert len(clips) >= 3
    for clip in clips:
        assert clip.stat().st_size < 40 * 1024 and f"`{clip.name}`" in told
