"""Measure models: `python evaluate.py --help`."""

from core.errors import run_cli


def main() -> int | None:
    from evaluation.command import main as command

    return command()


if __name__ == "__main__":
    run_cli(main)
