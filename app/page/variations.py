"""Pictures that differ in one thing: one word of the sentence, or the way from one sentence to another."""

from dataclasses import dataclass

from app.page import words
from app.page.actions import Painted, as_png, check_sentence, paint, understand_something
from app.page.models import Models
from app.page.usage import counted
from core.errors import UserError

STEPS = 7  # pictures from one sentence to another


def change_word(models: Models, before: Painted, number: int, by: str) -> Painted:
    """The same seeds with another word in the place of one. number: of the word in the sentence, from 0.

    Raises UserError for what was not offered.
    """
    known, _ = models.vocabulary(before.model)
    offered = {piece.word: piece.choices for piece in words.pieces(before.text, known)}
    if by not in offered.get(number, ()):
        raise UserError("this word cannot be said in that place; choose one that is offered")
    return paint(models, words.change(before.text, number, by), before.model, before.seeds, maps=False)


@dataclass
class Walk:
    """Pictures of one seed from one sentence to another, PNG with their facts."""

    first: str  # sentence
    second: str
    model: str
    seed: int
    pictures: list[bytes]
    facts: dict[str, str]

    def name(self, i: int) -> str:
        """What picture i shows."""
        share = i / (len(self.pictures) - 1)
        return {0.0: self.first, 1.0: self.second}.get(share, f"{share:.0%} of the way")


@counted
def walk(models: Models, start: Painted, to: str, steps: int = STEPS) -> Walk:
    """From the first of some birds to another sentence. Raises UserError as `paint` does for that sentence, and where
    it is the same."""
    from visualization.canvas import to_image

    to, model, seed = check_sentence(to), start.model, start.seeds[0]
    if to == start.text:
        raise UserError("both sentences are the same; write another one to go to")
    bird = models.painting(model)
    understand_something(models, to, model)
    with models.turn():
        images = bird.interpolate(start.text, to, steps, seed).images[-1].float().numpy()
    facts = start.facts | {"from": start.text, "to": to, "seeds": str(seed)}
    del facts["text"]
    pictures = [
        as_png(to_image(image), facts | {"step": f"{i + 1} of {steps}"}) for i, image in enumerate(images)
    ]
    return Walk(start.text, to, model, seed, pictures, facts)
