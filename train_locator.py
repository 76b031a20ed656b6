"""Train the part locator of real birds: `python train_locator.py --help`."""

from core.errors import run_cli


def main() -> None:
    from training.locator import main as command

    command()


if __name__ == "__main__":
    run_cli(main)
