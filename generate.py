"""Paint a spoken or written sentence: `python generate.py --help`."""

from core.errors import run_cli


def main() -> int | None:
    from app.terminal import main as command

    return command()


if __name__ == "__main__":
    run_cli(main)
