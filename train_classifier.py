"""Train the part-colour classifier: `python train_classifier.py --help`."""

from core.errors import run_cli


def main() -> None:
    from training.classifier import main as command

    command()


if __name__ == "__main__":
    run_cli(main)
