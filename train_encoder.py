"""Train a text encoder, with its image encoder: `python train_encoder.py --help`."""

from core.errors import run_cli


def main() -> None:
    from training.encoder import main as command

    command()


if __name__ == "__main__":
    run_cli(main)
