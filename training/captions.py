"""Captions that an encoder cannot read are left out before a training begins, rather than met in the middle of it."""

from core.errors import UserError
from data.captioned_images import CaptionedImages
from t2i.encoders.base import ConditionEncoder
from training import distributed as parallel


def readable_captions(images: CaptionedImages, encoder: ConditionEncoder) -> None:
    """Drop captions of which the text encoder knows nothing, and say how many.

    Raises UserError for an image that has no other.
    """
    dropped: list[str] = []
    for i, (name, captions) in enumerate(zip(images.names, images.captions, strict=True)):
        known = [caption for caption in captions if encoder.known(caption)]
        if not known:
            raise UserError(
                f"{name} has no caption of which the text encoder knows a word; take it out of the set, or train an "
                "encoder on it (train_encoder.py)"
            )
        if len(known) < len(captions):
            dropped += [caption for caption in captions if caption not in known]
            images.captions[i] = known
    if dropped and parallel.is_first():
        print(
            f'{len(dropped)} captions of which the text encoder knows no word are left out, such as "{dropped[0]}"'
        )
