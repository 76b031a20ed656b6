"""What is written beside the weights of a trained generator: what made it, for machines and for people."""

from pathlib import Path
from typing import Any

from core.files import sha256
from data.sets import terms_of
from t2i.families.registry import family_of
from t2i.painter import Painter


def save_snapshot(
    painter: Painter, folder: Path, config: Any, steps: int, seconds: float, before: dict[str, Any]
) -> None:
    """Write the painter's model folder as it is after so many steps of a training.

    config: the TrainGan; before: as `warm_start.start_from` returns it.
    """
    training = {
        "data": config.data.root,
        "steps": steps,
        "batch": config.batch * config.accumulate,
        "seed": config.run.seed,
        "encoder": painter.training_info["encoder"],
        "backbone_weights": sha256(Path(config.backbone_weights)) if config.backbone_weights else None,
        "hours": round(seconds / 3600, 4),
    }
    training |= {"before": before} if before else {}
    painter.save(folder, card(config, painter, training), training)


def card(config: Any, painter: Painter, training: dict[str, Any]) -> str:
    """The model card of a TrainGan's painter."""
    family = family_of(config.gan)
    through = ""
    if training["backbone_weights"]:
        through = (
            " Its discriminators see through an ImageNet network (SHA-256 "
            f"{training['backbone_weights'][:16]})."
        )
    origin = "from nothing"
    if before := training.get("before"):
        origin = f"from a painter (SHA-256 {before['painter'][:16]})"
        if before["hours"]:  # unknown of a converted one
            origin += f" of {before['pictures']:,} images seen and {before['hours']:.2f} hours"
    return f"""# {family.name} painter, {" and ".join(map(str, painter.resolutions))} px

Generates an image from a caption: a generator (EMA weights) and the text encoder that it was trained with (SHA-256
{training["encoder"][:16]}). {family.title}

Trained {origin} on `{config.data.root}`: {training["steps"]} steps of {training["batch"]} images, seed
{config.run.seed}, {training["hours"]:.2f} hours.{through}{terms_of(config.data)}

Limits: {painter.encoder.limits} and shows what its data shows; its figures stand in the project's
README.
"""
