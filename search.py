"""Find pictures by a sentence, captions by a picture: `python search.py --help`."""

from core.errors import run_cli


def main() -> int | None:
    from app.finding import main as command

    return command()


if __name__ == "__main__":
    run_cli(main)
