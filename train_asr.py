"""Train a speech recogniser: `python train_asr.py --help`."""

from core.errors import run_cli


def main() -> None:
    from training.asr import main as command

    command()


if __name__ == "__main__":
    run_cli(main)
