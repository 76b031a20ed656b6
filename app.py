"""Open the page on which a bird is said, seen and found: `python app.py --help`."""

from core.errors import run_cli


def main() -> int | None:
    from app.page.command import main as command

    return command()


if __name__ == "__main__":
    run_cli(main)
