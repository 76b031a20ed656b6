"""`--help` of the trainers: groups, and keys with their defaults and the comments of the dataclasses."""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from typing import Any

from training.config import CONFIGS, fields_of, groups_of, read_yaml, variants_of


def help_text(script: str, schema: type, description: str, words: list[str]) -> str:
    """words: the overrides beside --help; `gan=dfgan` shows the keys of that choice."""
    primary = read_yaml(CONFIGS / f"{script}.yaml")
    chosen = {k: v for entry in primary["defaults"] if isinstance(entry, dict) for k, v in entry.items()}
    chosen |= dict(word.split("=", 1) for word in words if "=" in word)
    lines = [
        description.strip(),
        "",
        f"usage: python {script}.py [group=choice ...] [key=value ...]",
        "  --dry-run    print every key with its value and stop (Hydra's --cfg job)",
        "  --multirun   key=1,2,3 trains a run for every combination; hydra/launcher=joblib or submitit_slurm",
        "  --info       what Hydra knows of this script",
        "",
        "groups",
    ]
    for group, choices in groups_of(script, schema).items():
        marked = [f"[{choice}]" if choice == chosen.get(group) else choice for choice in choices]
        lines += textwrap.wrap(
            f"{group}: {', '.join(marked)}", 110, initial_indent="  ", subsequent_indent="      "
        )
    lines += ["", "keys"]
    values = _flat(primary)
    path = CONFIGS / "data" / f"{chosen.get('data')}.yaml"
    if path.exists():
        values |= _flat({"data": read_yaml(path)})
    keys = fields_of(schema)
    for group, classes in variants_of(schema).items():
        keys.pop(group, None)
        values |= _flat(getattr(schema, "defaults_with", {}).get(chosen.get(group), {}))
        if chosen.get(group) in classes:
            keys |= fields_of(classes[chosen[group]], f"{group}.")
    comments = {owner: comments_of(owner) for owner in {owner for owner, _ in keys.values()}}
    for key, (owner, field) in keys.items():
        if not dataclasses.is_dataclass(field.type):
            default = f"{key}={_word(values.get(key, _default(field)))}"
            lines += _entry(default, comments[owner].get(field.name, ""))
    others = [f"{group}=... --help" for group in variants_of(schema)]
    if others:
        lines += ["", f"The keys of another choice: {script}.py {' '.join(others)}"]
    return "\n".join(lines)


def comments_of(cls: type) -> dict[str, str]:
    """The comment beside each field of a dataclass, or else the lines above it."""
    found: dict[str, str] = {}
    for part in getattr(cls, "joined_of", ()):  # the settings of a family have no source of their own
        found |= comments_of(part)
    for owner in () if found else reversed(cls.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        source = textwrap.dedent(inspect.getsource(owner))
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        lines = source.splitlines()
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            beside = [comments[n] for n in range(node.lineno, (node.end_lineno or 0) + 1) if n in comments]
            line = node.lineno - 1
            while not beside and line in comments and lines[line - 1].lstrip().startswith("#"):
                line -= 1
            above = [comments[n] for n in range(line + 1, node.lineno) if n in comments]
            found[node.target.id] = " ".join(beside or above)
    return found


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else "???"


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _word(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{','.join(map(_word, value))}]" if isinstance(value, list | tuple) else str(value)


def _entry(default: str, comment: str) -> list[str]:
    column = 36
    if not comment:
        return [f"  {default}"]
    first = f"  {default:{column}}  " if len(default) <= column else ""
    wrapped = textwrap.wrap(
        comment, 112, initial_indent=first or " " * (column + 4), subsequent_indent=" " * (column + 4)
    )
    return wrapped if first else [f"  {default}", *wrapped]
