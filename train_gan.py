"""Train a generator: `python train_gan.py --help`."""

from core.errors import run_cli


def main() -> None:
    from training.gan import main as command

    command()


if __name__ == "__main__":
    run_cli(main)
