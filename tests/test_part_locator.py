"""The part locator: places follow their pictures, peaks are counted, it learns, and its metrics say the truth."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from core.errors import UserError
from core.model_folder import save_model
from data import cub_parts
from data.captioned_images import Cut, load_images
from data.cub_captions import named_colours
from data.cub_parts import MIRRORED, PARTS, PartLocations, located_in, part_locations, read_part_locations
from data.painted_birds.grammar import COLOURS
from evaluation import command as evaluate
from evaluation.measures import real_part_colours, whole_birds
from evaluation.part_locator import KIND_OF, KINDS, PEAKS, PartLocator, PartLocatorConfig, find_peaks
from metrics.bootstrap import share_interval
from metrics.named_colours import BASIC, disc_colours, nearest, to_lab
from metrics.whole_birds import HEAD, UNSHARED, count_heads, count_peaks, head_gap, layout_likelihood
from training import locator
from training.config import load_config
from training.located import Located, cut_together, heat_targets, locator_loss, moved
from training.locator_judgement import (
    MENTIONS,
    Readings,
    accuracy,
    calibrated,
    colour_words,
    head_reach,
    measured,
    peak_thresholds,
    read_set,
)  # fmt: skip

# a bird that looks to the right, as x, y in shares of its photograph; the far eye, leg and wing are not seen
BIRD = {
    "back": (0.4, 0.45), "beak": (0.72, 0.34), "belly": (0.45, 0.62), "breast": (0.6, 0.55), "crown": (0.62, 0.24),
    "forehead": (0.68, 0.28), "right eye": (0.64, 0.31), "right leg": (0.48, 0.74), "right wing": (0.38, 0.53),
    "nape": (0.54, 0.32), "tail": (0.24, 0.5), "throat": (0.64, 0.42),
}  # fmt: skip
INKS = {"crown": (200, 30, 30), "throat": (240, 220, 40), "breast": (240, 240, 240), "tail": (20, 20, 20)}
SIDE = 120  # px of a photograph


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training and eight test drawings with coloured dots for parts, in CUB's layout with part locations."""
    root = tmp_path_factory.mktemp("dots") / "birds"
    images, boxes, places = [], [], []
    for number in range(20):
        name = f"{number // 4 + 1:03d}.Bird/bird_{number:02d}"
        rng = np.random.default_rng(number)
        shift = rng.integers(-6, 7, 2)
        picture = Image.new("RGB", (SIDE, SIDE), (90, 120, 150))
        pen = ImageDraw.Draw(picture)
        for part, place in enumerate(PARTS, 1):
            x, y = (np.array(BIRD.get(place, (0, 0))) * SIDE + shift) if place in BIRD else (0, 0)
            places.append(f"{number + 1} {part} {x:.1f} {y:.1f} {int(place in BIRD)}")
            if place in BIRD:
                ink = INKS.get(place, tuple(int(v) for v in np.random.default_rng(part).integers(0, 255, 3)))
                pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=ink)
        path = root / "CUB_200_2011" / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=95)
        images.append(f"{number + 1} {name}.jpg")
        boxes.append(f"{number + 1} 24 24 72 72")
        text = root / "text" / f"{name}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("this bird has a red crown, a yellow throat, a white breast and a black tail\n")
    lists = root / "CUB_200_2011"
    (lists / "parts").mkdir()
    for file, lines in (("images.txt", images), ("bounding_boxes.txt", boxes), ("parts/part_locs.txt", places),
                        ("parts/parts.txt", [f"{i} {part}" for i, part in enumerate(PARTS, 1)])):  # fmt: skip
        (lists / file).write_text("\n".join(lines) + "\n")
    return root


def opened(root: Path, split: str = "train", size: int = 64):
    images = load_images(root, split, size, root / "cache")
    return images, part_locations(root, images)


def link_parts(realdata: Path, real_birds: Path) -> None:
    """Give the few photographs of CUB its part locations."""
    parts = real_birds / "CUB_200_2011" / "parts"
    if not parts.exists():
        parts.symlink_to(realdata / "birds" / "CUB_200_2011" / "parts")


def words(root: Path, runs: Path, name: str, *more: str) -> list[str]:
    return [
        f"data.root={root}", f"data.cache={root / 'cache'}", f"run.root={runs}", f"run.name={name}", "run.steps=6",
        "run.save_every=2", "run.log_every=1", "run.sample_every=0", "run.threads=1", "run.device=cpu", "size=64",
        "width=8", "batch=4", *more,
    ]  # fmt: skip


def train(given: list[str]) -> None:
    locator.train(load_config("train_locator", locator.TrainLocator, given))


# --- places -------------------------------------------------------------------------------------------------------


def test_left_and_right_of_a_mirrored_bird_are_exchanged():
    exchanged = {PARTS[i]: PARTS[j] for i, j in enumerate(MIRRORED) if i != j}
    assert exchanged == {
        "left eye": "right eye", "left leg": "right leg", "left wing": "right wing",
        "right eye": "left eye", "right leg": "left leg", "right wing": "left wing",
    }  # fmt: skip
    places, visible = np.zeros((1, len(PARTS), 2)), np.zeros((1, len(PARTS)), bool)
    places[0, PARTS.index("left eye")], visible[0, PARTS.index("left eye")] = (30, 20), True
    places[0, PARTS.index("tail")], visible[0, PARTS.index("tail")] = (70, 40), True
    found = located_in(PartLocations(places, visible), [0], [Cut(4, 10, True)], 64)
    assert [PARTS[p] for p in np.flatnonzero(found.visible[0])] == ["right eye", "tail"]
    assert found.places[0, PARTS.index("right eye")].tolist() == [64 - (30 - 10), 20 - 4]
    assert found.places[0, PARTS.index("tail")].tolist() == [64 - 60, 36]
    outside = located_in(PartLocations(places, visible), [0], [Cut(0, 31, False)], 64)
    assert [PARTS[p] for p in np.flatnonzero(outside.visible[0])] == ["tail"]  # the eye was cut off


def test_places_follow_stackgans_cut_and_the_reduction(birds: Path):
    """By hand: box 24 24 72 72 -> the square of half-side 54 about 60, 60, reduced from 108 to int(64 * 76 / 64) px."""
    images, parts = opened(birds)
    i = images.names.index("001.Bird/bird_00")
    annotated = read_part_locations(birds)["001.Bird/bird_00"]
    crown = PARTS.index("crown")
    assert parts.places[i, crown] == pytest.approx((annotated[crown, :2] - 6) * 76 / 108)
    centre = located_in(parts, [i], images.cuts([i], None), 64).places[0, crown]
    assert centre == pytest.approx(parts.places[i, crown] - 6)
    assert set(np.flatnonzero(parts.visible[i])) == {PARTS.index(part) for part in BIRD}


def test_the_colour_of_a_part_is_at_its_place_in_every_crop_and_mirror_image(birds: Path):
    images, parts = opened(birds)
    indices, rng = np.arange(len(images)), np.random.default_rng(3)
    cuts = images.cuts(indices, rng)
    assert len({cut.flipped for cut in cuts}) == 2 and len({(cut.top, cut.left) for cut in cuts}) > 4
    inside = located_in(parts, indices, cuts, 64)
    squares = images.cut(indices, cuts).numpy()
    for part, ink in INKS.items():
        p = PARTS.index(part)
        for row in np.flatnonzero(inside.visible[:, p]):
            x, y = inside.places[row, p].astype(int)
            assert np.abs(squares[row, :, y, x].astype(int) - ink).max() < 45, (part, row)


def test_cuts_are_those_of_a_batch(birds: Path):
    images, _ = opened(birds)
    indices = [3, 0, 3, 7]
    for random_crop in (True, False):
        rngs = [np.random.default_rng(5) for _ in range(2)]
        batch = images.batch(indices, rngs[0], random_crop)
        assert torch.equal(batch, images.cut(indices, images.cuts(indices, rngs[1], random_crop)))
        assert rngs[0].random() == rngs[1].random()


def test_places_of_cub_are_on_its_birds(realdata: Path, real_birds: Path):
    link_parts(realdata, real_birds)
    images, found = opened(real_birds, size=64)
    inside = located_in(found, np.arange(12), images.cuts(np.arange(12), None), 64)
    assert inside.visible.sum() > 100  # of 12 * 15, those that are visible
    shown = inside.places[inside.visible]
    assert shown.min() >= 0 and shown.max() < 64
    assert np.abs(shown.mean(0) - 32).max() < 8  # the cut is about the bird


@pytest.mark.parametrize(
    "file, old, new, told",
    [
        ("part_locs.txt", "1 1 ", "1 16 ", "expected: picture part x y visible"),
        ("part_locs.txt", "1 1 ", "1 one ", "part_locs.txt:1 is"),
        ("part_locs.txt", "3 2 ", "4 2 ", "lines for 001.Bird/bird_0"),
        ("parts.txt", "2 beak", "2 nose", "15 parts from back to throat"),
    ],
)
def test_damaged_part_lists_are_named(birds: Path, tmp_path: Path, file: str, old: str, new: str, told: str):
    lists = tmp_path / "CUB_200_2011"
    (lists / "parts").mkdir(parents=True)
    (lists / "images").mkdir()
    for name in ("images.txt", "parts/parts.txt", "parts/part_locs.txt"):
        text = (birds / "CUB_200_2011" / name).read_text()
        (lists / name).write_text(text.replace(old, new, 1) if name.endswith(f"/{file}") else text)
    with pytest.raises(UserError, match=told) as error:
        read_part_locations(tmp_path)
    assert "\n" not in str(error.value)


def test_a_set_without_part_locations_is_named(tiny_world: Path):
    with pytest.raises(UserError, match="come with CUB-200-2011"):
        cub_parts.read_part_locations(tiny_world / "painted_birds")


# --- augmentation -------------------------------------------------------------------------------------------------


def dot(x: float, y: float, side: int = 64) -> Located:
    """A black picture with a white blot about x, y (px), and that place."""
    rows, columns = (torch.arange(side)[:, None] + 0.5), (torch.arange(side)[None] + 0.5)
    blot = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    image = (2 * blot - 1).expand(1, 3, side, side)
    return Located(image, torch.tensor([[[[x / side, y / side]]]]), torch.ones(1, 1, 1, dtype=torch.bool))


@pytest.mark.parametrize("angle, zoom", [(0.0, 1.2), (30.0, 1.0), (-20.0, 0.8), (90.0, 1.0)])
def test_a_place_turns_with_its_picture(angle: float, zoom: float):
    found = moved(dot(40, 25), torch.deg2rad(torch.tensor([angle])), torch.tensor([zoom]))
    at = found.images[0, 0].argmax().item()
    seen = torch.tensor([at % 64 + 0.5, at // 64 + 0.5])
    assert (64 * found.places[0, 0, 0] - seen).abs().max() <= 1


def test_a_place_that_is_turned_out_of_the_picture_is_not_visible():
    assert not moved(dot(60, 32), torch.zeros(1), torch.tensor([1.5])).visible.any()


def test_two_halves_keep_the_parts_that_each_shows():
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    places = torch.tensor(
        [[[[0.25, 0.5], [0.75, 0.25]]], [[[0.2, 0.8], [0.9, 0.9]]]]
    )  # left and right of each
    batch = Located(images, places, torch.ones(2, 1, 2, dtype=torch.bool))
    half = torch.full((2,), 0.5)
    found = cut_together(batch, torch.tensor([True, False]), torch.tensor([0, 0]), half)
    assert found.images[0, 0, 0].tolist() == [0] * 4 + [1] * 4 and found.images[1].min() == 1
    assert found.visible.tolist() == [[[True, False], [False, True]], [[True, True], [False, False]]]
    assert torch.equal(found.places[0, 1], places[1, 0])
    below = cut_together(batch, torch.tensor([True, True]), torch.tensor([1, 1]), half)
    assert below.images[0, 0, :, 0].tolist() == [0] * 4 + [1] * 4
    # 0.5 lies beyond the line, as the pixel that begins there does
    assert below.visible.tolist() == [[[False, True], [True, True]], [[False, False], [True, False]]]


def test_heat_and_loss_by_hand():
    places, shown = torch.tensor([[[[0.3, 0.6]], [[0.9, 0.1]]]]), torch.tensor([[[True], [True]]])
    heat = heat_targets(places, shown, 8, 1.0)  # cells (column 2, row 4) and (7, 0)
    assert heat[0, 0, 4, 2] == 1 == heat[0, 0, 0, 7]
    assert heat[0, 0, 5, 4] == pytest.approx(np.exp(-5 / 2))
    assert heat_targets(places, ~shown, 8, 1.0).max() == 0
    # one cell of two is the part, far from it the other: (1 - p)^2 log p + (1 - y)^4 q^2 log(1 - q)
    logits = torch.tensor([[[[0.5, -1.0]]]])
    place, one = torch.tensor([[[[0.1, 0.1]]]]), torch.tensor([[[True]]])
    heat = heat_targets(place, one, 2, 0.3)[:, :, :1]
    total, terms = locator_loss(logits.expand(1, 1, 2, 2), torch.tensor([[0.0]]), place, one, 0.3, 0.5)
    p, q, y = torch.sigmoid(torch.tensor(0.5)), torch.sigmoid(torch.tensor(-1.0)), heat[0, 0, 0, 1]
    diagonal = torch.exp(torch.tensor(-2 / (2 * 0.09)))
    expected = -((1 - p) ** 2 * p.log() + (1 - y) ** 4 * q**2 * (1 - q).log()
                 + (1 - y) ** 4 * p**2 * (1 - p).log() + (1 - diagonal) ** 4 * q**2 * (1 - q).log())  # fmt: skip
    assert terms["heat"] == pytest.approx(expected.item(), rel=1e-5)
    assert total == pytest.approx(expected.item() + 0.5 * np.log(2), rel=1e-5)


# --- peaks, heads, layouts ----------------------------------------------------------------------------------------


def painted_peaks(*birds: dict[str, tuple[float, float]]) -> np.ndarray:
    """Synthetic heatmaps with a Gaussian of logits for every part of some birds, read as a picture's are: (1, K, n, 3).
    A pasted second bird is a second dictionary."""
    rows, columns = (torch.arange(32)[:, None] + 0.5) / 32, (torch.arange(32)[None] + 0.5) / 32
    heat = torch.full((1, len(KINDS), 32, 32), -8.0)
    for bird in birds:
        for part, (x, y) in bird.items():
            kind = KINDS.index(part.removeprefix("left ").removeprefix("right "))
            blot = 12 * torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 0.04**2)) - 8
            heat[0, kind] = torch.maximum(heat[0, kind], blot)
    return find_peaks(heat).numpy()


def shifted(x: float, y: float, parts: tuple[str, ...] = tuple(BIRD)) -> dict[str, tuple[float, float]]:
    return {part: (BIRD[part][0] + x, BIRD[part][1] + y) for part in parts}


HEAD_PARTS = tuple(part for part in BIRD if part.split()[-1] in HEAD)
ALL = [0.3] * len(KINDS)
REACH = 0.12


def test_peaks_of_a_synthetic_map():
    heat = torch.full((1, 2, 16, 16), -9.0)
    heat[0, 0, 3, 5], heat[0, 0, 3, 6], heat[0, 0, 12, 10] = 2.0, 1.0, 3.0  # the second is beside the first
    heat[0, 1, 0, 15] = 40.0  # whose probability float32 cannot tell from 1
    heat[0, 1, 1, 15] = 39.0
    heat[0, 1, 9, 4:6] = 1.5  # two cells of one height are one peak
    found = find_peaks(heat)
    assert found.shape == (1, 2, PEAKS, 3)
    assert found[0, 0, 0].tolist() == pytest.approx(
        [10.5 / 16, 12.5 / 16, torch.tensor(3.0).sigmoid().item()]
    )
    assert found[0, 0, 1].tolist() == pytest.approx([5.5 / 16, 3.5 / 16, torch.tensor(2.0).sigmoid().item()])
    assert found[0, 0, 2:, 2].max() < 1e-3
    assert found[0, 1, 0].tolist() == pytest.approx([15.5 / 16, 0.5 / 16, 1])
    assert found[0, 1, 1].tolist() == pytest.approx([4.5 / 16, 9.5 / 16, torch.tensor(1.5).sigmoid().item()])
    assert found[0, 1, 2, 2] < 1e-3


@pytest.mark.parametrize(
    "birds, heads",
    [
        ([BIRD], 1),
        ([], 0),
        ([{p: BIRD[p] for p in ("back", "belly", "tail")}], 0),  # from which the head is gone
        ([{"beak": (0.7, 0.3)}], 0),  # a beak alone is a misreading
        ([BIRD, shifted(-0.4, 0.1, HEAD_PARTS)], 2),  # a head pasted at the tail
        ([BIRD, shifted(-0.19, 0.0, HEAD_PARTS)], 2),  # and one that touches the first
        ([BIRD, {"left eye": (0.72, 0.31)}], 1),  # two eyes of one head, seen from the front
        ([BIRD, shifted(-0.4, 0.1, HEAD_PARTS), shifted(-0.4, 0.5, HEAD_PARTS)], 3),
        ([{"crown": (0.5, 0.3), "nape": (0.5, 0.4)}], 1),  # from behind
    ],
)
def test_heads_are_counted(birds, heads):
    assert count_heads(painted_peaks(*birds), KINDS, ALL, REACH).tolist() == [heads]


def test_two_beaks_and_tails_are_counted_as_two():
    counts = count_peaks(painted_peaks(BIRD, shifted(0.2, 0.2, ("beak", "tail", "right eye"))), ALL)[0]
    assert {kind: counts[KINDS.index(kind)] for kind in ("beak", "crown", "eye", "tail")} == {
        "beak": 2, "crown": 1, "eye": 2, "tail": 2}  # fmt: skip


def test_the_gap_of_a_head_is_the_largest_that_must_be_bridged():
    assert head_gap(np.array([[0, 0], [0, 0.1], [0.3, 0.1]])) == pytest.approx(0.3)
    assert head_gap(np.array([[0.5, 0.5]])) == 0
    annotated = np.array([BIRD.get(part, (0, 0)) for part in PARTS])[None, None]
    shown = np.array([part in BIRD for part in PARTS])[None, None]
    readings = Readings(np.zeros((1, len(KINDS), PEAKS, 3)), np.zeros((1, len(KINDS))), annotated, shown)
    points = np.array([BIRD[part] for part in HEAD_PARTS])
    assert head_reach(readings, 0.5) == pytest.approx(head_gap(points)) and head_gap(points) < REACH
    assert head_reach(readings._replace(shown=shown & False), 0.5) == 0.5
    assert readings.heads.tolist() == [1] and readings.counts[0, KINDS.index("eye")] == 1


def layout(*birds: dict[str, tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """places (N, K, 2) and seen (N, K) of birds."""
    places, seen = np.zeros((len(birds), len(KINDS), 2)), np.zeros((len(birds), len(KINDS)), bool)
    for i, bird in enumerate(birds):
        for part, place in bird.items():
            k = KINDS.index(part.split()[-1])
            places[i, k], seen[i, k] = place, True
    return places, seen


def test_the_likelihood_of_a_layout_by_hand():
    bent = BIRD | {"tail": (0.24, 0.6)}  # 0.1 of the side lower
    likelihood = layout_likelihood(*layout(bent), *layout(BIRD))[0]
    n = len(BIRD)
    # moved to one mean the tail is 0.1 (n - 1) / n off and each of the others 0.1 / n
    squares = (0.1 * (n - 1) / n) ** 2 + (n - 1) * (0.1 / n) ** 2
    # the mirror image is so unlike that its exp(-cost) does not show
    assert likelihood == pytest.approx(np.log(0.5 * np.exp(-squares / (2 * 0.05**2))), abs=1e-3)
    without = {part: place for part, place in BIRD.items() if part != "tail"}
    assert layout_likelihood(*layout(without), *layout(BIRD))[0] == pytest.approx(
        np.log(0.5) - UNSHARED, abs=1e-3
    )


def test_a_layout_may_be_moved_or_mirrored_but_not_scrambled():
    mirrored = {part: (1 - x, y) for part, (x, y) in BIRD.items()}
    parts = list(BIRD)
    scrambled = {part: BIRD[parts[(i * 5 + 3) % len(parts)]] for i, part in enumerate(parts)}
    few = {part: BIRD[part] for part in ("tail", "belly")}
    found = layout_likelihood(*layout(BIRD, shifted(0.1, -0.1), mirrored, scrambled, few), *layout(BIRD))
    assert found[:3] == pytest.approx(found[0], abs=1e-6)
    assert (found[3:] < found[0] - 10).all()
    with pytest.raises(ValueError, match="found none"):
        layout_likelihood(*layout(BIRD), *layout())


def test_wilsons_interval_by_its_formula():
    found, z, n, p = share_interval(9, 10, "images"), 1.959964, 10, 0.9
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    assert [found.low, found.high] == pytest.approx(expected, abs=1e-6)
    assert found.of == "95 % Wilson over 10 images"
    assert share_interval(0, 10).low == 0 and share_interval(0, 10).high > 0.2
    with pytest.raises(ValueError, match="no items"):
        share_interval(0, 0)


# --- colours ------------------------------------------------------------------------------------------------------


def test_lab_of_known_colours():
    """The usual values of sRGB's red, green and a middle grey under D65."""
    found = to_lab(np.array([[255, 0, 0], [0, 255, 0], [119, 119, 119], [255, 255, 255]]) / 255)
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [50.03, 0, 0], [100, 0, 0]]
    assert found == pytest.approx(np.array(expected), abs=0.02)


def test_every_basic_colour_is_nearest_to_itself_and_a_disc_reads_it():
    palette = to_lab(np.array([BASIC[colour] for colour in COLOURS]) / 255)
    assert set(BASIC) == set(COLOURS)
    assert nearest(palette, palette).tolist() == list(range(len(COLOURS)))
    image = np.zeros((1, 3, 50, 50))
    image[0, :, 10:15, 30:35] = np.array(BASIC["yellow"])[:, None, None] / 255
    places = np.array([[[0.65, 0.25], [0.5, 0.8], [0.65, 0.35], [1.2, -1.0]]])
    found = nearest(disc_colours(image, places, 0.04), palette)[0]
    assert [COLOURS[c] for c in found] == ["yellow", "black", "black", "black"]


@pytest.mark.parametrize(
    "caption, named",
    [
        ("this bird has a red crown and a white belly.", {"crown": "red", "belly": "white"}),
        ("a white belly and breast with a gray crown", {"belly": "white", "breast": "white", "crown": "grey"}),
        ("this bird has black wings with white wing bars and a black bill", {"wing": "black", "bill": "black"}),
        ("the bird has a white eyering and a dark brown back", {"back": "brown"}),
        ("a brown bird with a tan and black crown and a reddish brown tail", {}),  # of several colours, or none of ours
        ("this bird has a speckled brown belly and a black spotted throat", {"belly": "brown"}),
        ("its breast and belly are yellow, its head is grey", {"breast": "yellow", "belly": "yellow", "head": "grey"}),
        ("a small bird with an orange head", {"head": "orange"}),
        ("orange feet and beak, a black head, long tail", {"bill": "orange", "head": "black"}),
        ("this bird has spots of white on its neck and belly and a touch of red on the wings", {}),
    ],
)  # fmt: skip
def test_captions_of_photographs_name_colours_of_parts(caption, named):
    assert named_colours(caption) == named


def test_colour_words_mean_what_captions_call_so(birds: Path, monkeypatch):
    images, parts = opened(birds)
    model = PartLocator(PartLocatorConfig(width=8, size=64))
    palette = colour_words(images, read_set(model, images, parts))
    basic = to_lab(np.array([BASIC[colour] for colour in COLOURS]) / 255)
    assert len(images) < MENTIONS and palette == pytest.approx(basic, rel=1e-5)  # said too seldom
    monkeypatch.setattr("training.locator_judgement.MENTIONS", 5)
    palette = colour_words(images, read_set(model, images, parts))
    for part, colour in (("crown", "red"), ("throat", "yellow"), ("breast", "white"), ("tail", "black")):
        drawn = to_lab(np.array(INKS[part]) / 255)
        assert np.abs(palette[COLOURS.index(colour)] - drawn).max() < 6, colour  # JPEG and the reduction
    assert palette[COLOURS.index("blue")] == pytest.approx(basic[COLOURS.index("blue")], rel=1e-5)


# --- the network --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone, side", [("light", 16), ("squeezenet1_1", 15)])  # which has no padding
def test_the_locator_is_saved_and_reads_a_picture_alone_as_in_a_batch(
    tmp_path: Path, backbone: str, side: int
):
    torch.manual_seed(0)
    model = PartLocator(PartLocatorConfig(backbone, 16, 64, examples=3)).eval()
    model.layouts.uniform_(), model.layouts_seen.fill_(True), model.palette.uniform_(0, 50)
    images = torch.rand(3, 3, 64, 64) * 2 - 1
    heat, visible = model(images)
    assert heat.shape == (3, 15, side, side) and visible.shape == (3, 15)
    assert heat.sigmoid().mean() < 0.05  # the prior of an untrained map
    for whole, one in zip((heat, visible), model(images[1:2]), strict=True):
        torch.testing.assert_close(whole[1:2], one, rtol=1e-4, atol=1e-5)
    save_model(tmp_path, model.kind, model.state_dict(), asdict(model.config), "# card", half=False)
    loaded = PartLocator.load(tmp_path)
    for first, second in zip(model.read(images), loaded.read(images), strict=True):
        torch.testing.assert_close(first, second)
    assert torch.equal(loaded.layouts_seen, model.layouts_seen) and loaded.config == model.config


def overfit(root: Path, size: int, steps: int) -> tuple[PartLocator, Readings]:
    """A light locator after some steps on the same eight centre crops."""
    images, parts = opened(root, size=size)
    indices = np.arange(8)
    cuts = images.cuts(indices, None)
    inside = located_in(parts, indices, cuts, size)
    pictures = images.cut(indices, cuts).float() / 127.5 - 1
    places, visible = (
        torch.from_numpy(inside.places / size).float()[:, None],
        torch.from_numpy(inside.visible)[:, None],
    )
    torch.manual_seed(0)
    model = PartLocator(PartLocatorConfig(width=32, size=size))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        loss, _ = locator_loss(*model(pictures), places, visible, 1.0, 0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, read_set(model, images, parts, most=8)


def assert_read(model: PartLocator, read: Readings) -> None:
    """Every visible kind of part of the eight is found in its cell or the next, every other is seen to be missing."""
    seen = read.of_kinds[:, 0]
    assert ((read.visible[:8] >= 0.5) == seen[:8]).all()
    ours = [[p for p, of in enumerate(KIND_OF) if of == kind] for kind in KINDS]
    cell = 4 / model.size
    for i in range(8):
        for k in np.flatnonzero(seen[i]):
            places = read.places[i, 0, ours[k]][read.shown[i, 0, ours[k]]]
            assert np.abs(places - read.peaks[i, k, 0, :2]).max(1).min() <= 1.5 * cell, (i, KINDS[k])
            assert read.peaks[i, k, 0, 2] > 0.5, (i, KINDS[k])


def test_it_learns_eight_photographs_by_heart(realdata: Path, real_birds: Path):
    link_parts(realdata, real_birds)
    assert_read(*overfit(real_birds, 64, 150))


def test_it_learns_eight_drawings_by_heart(birds: Path):
    model, read = overfit(birds, 64, 120)
    assert_read(model, read)
    found = accuracy(model.config, *(read,) * 2)
    assert found.within == {kind: 1.0 for kind in KINDS} and found.visible == 1
    assert found.one_head == 1 and found.counts == {"beak": 1, "crown": 1, "tail": 1}
    assert found.told().startswith("of the parts that are visible, 100.0 % are found within a tenth")


def test_thresholds_are_those_by_which_most_counts_are_right():
    peaks, shown = np.zeros((4, len(KINDS), PEAKS, 3)), np.zeros((4, 1, len(PARTS)), bool)
    peaks[:, :, 0, 2] = np.array([0.9, 0.6, 0.34, 0.32])[:, None]  # the first two pictures show the part
    shown[:2] = True
    for kind in set(KINDS) & {"eye", "leg", "wing"}:  # of which every bird has two
        shown[
            :, :, [of == kind and part.startswith("left") for of, part in zip(KIND_OF, PARTS, strict=True)]
        ] = False
    readings = Readings(peaks, peaks[:, :, 0, 2], np.zeros((4, 1, len(PARTS), 2)), shown)
    assert peak_thresholds(readings) == [0.35] * len(KINDS)


def test_what_is_learnt_of_photographs_is_carried(birds: Path):
    images, parts = opened(birds)
    torch.manual_seed(0)
    model = PartLocator(PartLocatorConfig(width=8, size=64))
    found = calibrated(model, images, parts, examples=4)
    assert len(found.layouts) == found.config.examples == -(-len(images) // -(-len(images) // 4))
    read = read_set(model, images, parts)
    every = -(-len(images) // 4)
    assert found.layouts.numpy() == pytest.approx(read.peaks[::every, :, 0, :2])
    others = [i for i in range(len(images)) if i % every]
    likelihoods = layout_likelihood(
        read.peaks[others, :, 0, :2],
        read.visible[others] >= 0.5,
        found.layouts.numpy(),
        found.layouts_seen.numpy(),
    )
    assert found.config.least_likelihood == pytest.approx(np.percentile(likelihoods, 2))
    assert torch.equal(found.to_heat.weight, model.to_heat.weight)
    assert 0 <= measured(found, images, parts).put_together <= 1


# --- training -----------------------------------------------------------------------------------------------------


def test_a_killed_training_goes_on_as_if_it_had_not_been(birds: Path, tmp_path: Path, killed_after):
    train(words(birds, tmp_path, "whole", "run.sample_every=3"))
    killed_after(4, lambda: train(words(birds, tmp_path, "killed", "run.sample_every=3")))
    assert not (tmp_path / "killed" / "model").exists()
    train(words(birds, tmp_path, "killed", "run.sample_every=3"))
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "killed")]
    assert lines[0] == lines[1] and "test_put_together" in json.loads(lines[0][-1])
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert models[0] == models[1]
    loaded = PartLocator.load(tmp_path / "whole" / "model")
    assert loaded.config.examples > 0 and (tmp_path / "whole" / "model" / "README.md").read_text().startswith(
        "# Part"
    )


def test_a_pretrained_backbone_needs_its_weights_and_learns_at_its_own_rate(birds: Path, tmp_path: Path):
    with pytest.raises(UserError, match="name their file, backbone_weights=FILE, or take backbone=light"):
        train(words(birds, tmp_path, "a", "backbone=mobilenet_v2"))
    with pytest.raises(UserError, match="light learns from nothing"):
        train(words(birds, tmp_path, "b", "backbone_weights=x.pth"))
    model = PartLocator(PartLocatorConfig("squeezenet1_1", 8, 64))
    of = locator.TrainLocator(backbone="squeezenet1_1", backbone_rate=0.2)
    groups = locator.parameter_groups(model, of)
    assert groups[1]["scale"] == 0.2 and len(groups[1]["params"]) == len(list(model.backbone.parameters()))
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    of.backbone_rate = 0
    assert (
        len(locator.parameter_groups(model, of)) == 1 and not next(model.backbone.parameters()).requires_grad
    )


def test_a_step_is_a_function_of_seed_and_step(birds: Path):
    images, parts = opened(birds)
    config = load_config("train_locator", locator.TrainLocator, ["batch=6", "size=64", "together=1"])
    batches = []
    for step in (3, 3, 4):
        torch.manual_seed(step)
        batches.append(locator.located_batch(images, parts, step, config))
    assert all(torch.equal(a, b) for a, b in zip(*batches[:2], strict=True))
    assert not torch.equal(batches[0].images, batches[2].images)
    assert batches[0].places.shape == (6, 2, 15, 2) and batches[0].visible.any(2).all(1).any()


# --- metrics ------------------------------------------------------------------------------------------------------


def test_a_picture_with_a_pasted_head_is_no_whole_bird():
    """Through the rows that an extractor collects: a bird, one with a second head, one without any, a scrambled one."""
    parts = list(BIRD)
    scrambled = {part: BIRD[part] for part in HEAD_PARTS} | {
        "tail": BIRD["breast"], "breast": BIRD["tail"], "belly": (0.9, 0.1), "back": (0.9, 0.9),
        "right leg": (0.1, 0.1), "right wing": (0.1, 0.9),
    }  # fmt: skip
    of = [
        [BIRD],
        [BIRD, shifted(-0.4, 0.2, HEAD_PARTS)],
        [{p: BIRD[p] for p in parts if p not in HEAD_PARTS}],
        [scrambled],
    ]
    peaks = np.concatenate([painted_peaks(*birds) for birds in of])
    seen = peaks[:, :, 0, 2] > 0.3
    rows = np.concatenate([peaks.reshape(4, len(KINDS), -1), seen[..., None]], 2).reshape(4, -1)
    places, known = layout(BIRD)
    config = PartLocatorConfig(reach=REACH, examples=1, least_likelihood=-5.0)
    model = SimpleNamespace(
        config=config, layouts=torch.from_numpy(places), layouts_seen=torch.from_numpy(known), checksum="x"
    )
    found = whole_birds.judged(model, rows)
    assert found.heads.tolist() == [1, 2, 0, 1]
    assert found.is_bird.tolist()[0] and not found.is_bird[2:].any()
    assert found.counts[:, KINDS.index("beak")].tolist() == [1, 2, 0, 1]


def test_colours_count_where_the_part_was_found():
    palette = to_lab(np.array([BASIC[colour] for colour in COLOURS]) / 255)
    rows = np.zeros((2, len(KINDS), 4))
    rows[..., :3] = palette[COLOURS.index("black")]
    rows[:, KINDS.index("crown"), :3] = palette[COLOURS.index("red")]
    rows[..., 3] = 1
    rows[1, KINDS.index("tail"), 3] = 0.2  # not found
    model = SimpleNamespace(palette=torch.from_numpy(palette))
    named = [{"crown": "red", "head": "red", "tail": "white"}, {"wing": "black", "tail": "black"}]
    score, found = real_part_colours.score(model, rows.reshape(2, -1), named, 0)
    assert found == score.named == 4 and score.value == 3 / 4
    assert score.parts == {"head": (1.0, 1), "crown": (1.0, 1), "wing": (1.0, 1), "tail": (0.0, 1)}


@pytest.fixture(scope="module")
def trained(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A locator's folder that knows the drawings."""
    images, parts = opened(birds)
    model = calibrated(overfit(birds, 64, 120)[0], images, parts, 6)
    folder = tmp_path_factory.mktemp("locator") / "dots"
    save_model(folder, model.kind, model.state_dict(), asdict(model.config), "# card")
    return folder


def test_the_metrics_measure_a_folder_of_pictures(
    birds: Path, trained: Path, tmp_path: Path, capsys, monkeypatch
):
    """The set's own test pictures, saved: measured as generated they are as the real row."""
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    images, _ = opened(birds, "test")
    (tmp_path / "pictures").mkdir()
    for i in range(len(images)):
        square = images.batch([i], None)[0].permute(1, 2, 0).numpy()
        Image.fromarray(square).save(tmp_path / "pictures" / f"{i:02d}.png")
    given = ["--metric", "whole_birds,real_part_colours", "--pictures", tmp_path / "pictures", "--data", birds,
             "--locator", trained, "--out", tmp_path / "results", "--device", "cpu", "--json"]  # fmt: skip
    assert evaluate.main([str(word) for word in given]) == 0
    whole, colours = (json.loads(line) for line in capsys.readouterr().out.splitlines()[-2:])
    assert whole["value"] == whole["real"] and whole["interval"] == whole["real_interval"]
    assert whole["interval"]["of"] == f"95 % Wilson over {len(images)} images"
    shares = {row["name"]: row["value"] for row in whole["rows"]}
    assert sum(shares[f"generated, {heads}"] for heads in ("one head", "no head", "two heads or more")) == 1
    assert set(whole["parts"]) == {"beak", "crown", "eye", "tail"}
    assert sum(v for k, v in whole["parts"]["tail"].items() if k.startswith("real")) == pytest.approx(1)
    assert colours["value"] == colours["real"] and colours["chance"] == 1 / 11
    assert colours["protocol"]["named colours"] == 4 * len(images)
    assert whole["protocol"]["locator"] == colours["protocol"]["locator"] and whole["value"] > 0.7


@pytest.mark.parametrize("metric", ["whole_birds", "real_part_colours"])
def test_without_a_locator_the_metrics_say_how_to_train_one(birds: Path, trained: Path, metric: str):
    with pytest.raises(UserError, match=r"python train_locator.py experiment=part_locator_real") as error:
        evaluate.parse_options(["--metric", metric, "--data", str(birds)])
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="painted_birds is painted; name photographs"):
        evaluate.parse_options(["--metric", metric, "--locator", str(trained)])
