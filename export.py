"""Models as ONNX files, and a page that runs them in the browser: `python export.py --help`."""

from core.errors import run_cli


def main() -> int | None:
    from app.export import main as command

    return command()


if __name__ == "__main__":
    run_cli(main)
