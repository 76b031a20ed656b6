"""Layouts of captioned pictures: COCO's, CUB's without boxes or classes, and one that is added by a file."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cub import CLASSES, make_set, picture_path

from core.errors import UserError
from data import layouts, prepare
from data.captioned_images import load_images
from data.packed import cache_folder
from data.sampling import distinct_at, image_batch
from data.sets import ImageData, open_images, terms_of


def make_coco(root: Path, splits=("train2017", "val2017"), count: int = 5, images: str = "") -> Path:
    (root / "annotations").mkdir(parents=True)
    for part, split in enumerate(splits):
        folder = root / images / split
        folder.mkdir(parents=True)
        listed, annotations = [], []
        for i in range(count):
            key = 1000 * part + i
            name = f"{key:012d}.jpg"
            pixels = np.random.default_rng([part, i]).integers(0, 256, (30, 50, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name)
            listed.append({"id": key, "file_name": name, "width": 50, "height": 30})
            annotations += [
                {"image_id": key, "id": 10 * key + j, "caption": f"caption {j} of {key}.\n"}
                for j in range(i + 1)
            ]
        write_coco(root, split, {"images": listed, "annotations": annotations})
    return root


def write_coco(root: Path, split: str, value: object) -> None:
    (root / "annotations" / f"captions_{split}.json").write_text(json.dumps(value))


def read_coco(root: Path, split: str) -> dict:
    return json.loads((root / "annotations" / f"captions_{split}.json").read_text())


@pytest.mark.parametrize("images", ["", "images"])
def test_coco_is_read(tmp_path, images):
    root = make_coco(tmp_path / "coco", images=images)
    train = load_images(root, "train", 16, tmp_path / "cache")
    assert train.names == [f"{i:012d}" for i in range(5)] and not train.has_boxes and not train.has_classes
    assert [len(captions) for captions in train.captions] == [1, 2, 3, 4, 5]
    assert train.captions[1] == ["caption 0 of 1.", "caption 1 of 1."]
    assert train.class_ids.tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]  # each its own: what R-precision draws from are other pictures
    assert (
        load_images(root, "val2017", 16, tmp_path / "cache").names
        == load_images(root, "test", 16, tmp_path / "cache").names
    )


def test_without_boxes_the_centre_square_is_taken(tmp_path):
    root = make_coco(tmp_path / "coco")
    packed = load_images(root, "train", 16, tmp_path / "cache").pictures[2]
    with Image.open(root / "train2017" / "000000000002.jpg") as file:
        square = file.crop((10, 0, 40, 30)).resize((19, 19), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(packed, np.asarray(square).transpose(2, 0, 1))


def test_without_classes_every_picture_is_another_class(tmp_path):
    images = load_images(make_coco(tmp_path / "coco"), "train", 16, tmp_path / "cache")
    assert len(set(distinct_at(0, 5, images.class_ids, seed=0))) == 5
    assert image_batch(images, 0, 5, seed=0, distinct=True).class_ids.unique().numel() == 5
    with pytest.raises(UserError, match="the linear classifier needs the class of every picture"):
        images.require_classes("the linear classifier")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: [], "is not COCO's captions; expected"),
        (lambda v: v | {"annotations": None}, "is not COCO's captions"),
        (lambda v: v | {"images": []}, "lists no picture"),
        (lambda v: v | {"images": [*v["images"], v["images"][0]]}, "lists the picture 0 twice"),
        (lambda v: v | {"images": [{"id": 1}]}, "a picture without a file_name"),
        (lambda v: v | {"images": [{"id": [], "file_name": "a.jpg"}]}, "lists a without an id"),
        (lambda v: v | {"images": [{"id": 1, "file_name": "../a.jpg"}]}, "leads out of the set"),
        (lambda v: v | {"images": [{"id": 1, "file_name": "a\0.jpg"}]}, "is no file name"),
        (
            lambda v: v | {"annotations": [{"image_id": 77, "caption": "x"}]},
            "picture 77, which it does not list",
        ),
        (lambda v: v | {"annotations": [{"image_id": 0, "caption": 5}]}, "an annotation without a caption"),
    ],
)
def test_a_damaged_coco_file_is_named(tmp_path, change, message):
    root = make_coco(tmp_path / "coco")
    write_coco(root, "train2017", change(read_coco(root, "train2017")))
    with pytest.raises(UserError, match=rf"captions_train2017\.json .*{message}") as caught:
        load_images(root, "train", 16, tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_coco_splits_that_may_mean_several_or_none(tmp_path):
    root = make_coco(tmp_path / "coco", ("train2014", "train2017"), count=1)
    with pytest.raises(UserError, match="2 splits that begin with train: train2014, train2017"):
        load_images(root, "train", 16, tmp_path / "cache")
    assert len(load_images(root, "train2014", 16, tmp_path / "cache")) == 1
    with pytest.raises(UserError, match='no split "test" .*captions of train2014, train2017'):
        load_images(root, "test", 16, tmp_path / "cache")
    with pytest.raises(UserError, match='no split "tarin2014".*did you mean "train2014"'):
        load_images(root, "tarin2014", 16, tmp_path / "cache")


def test_pictures_of_coco_that_are_missing_are_damage(tmp_path):
    root = make_coco(tmp_path / "coco")
    (root / "train2017" / "000000000003.jpg").unlink()
    with pytest.raises(UserError, match="1 of 5 train pictures .*000000000003: no picture"):
        load_images(root, "train", 16, tmp_path / "cache")
    assert len(load_images(root, "train", 16, tmp_path / "cache", on_damaged="skip")) == 4


def test_oxford_102_without_boxes(tmp_path):
    """jpg/ without folders, captions in folders by class, no boxes: StackGAN's form of the flowers."""
    root = tmp_path / "flowers"
    (root / "jpg").mkdir(parents=True)
    for i in range(8):
        folder = root / "text_c10" / f"class_{i // 2 + 1:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (30 * i, 0, 0)).save(root / "jpg" / f"image_{i:05d}.jpg")
        (folder / f"image_{i:05d}.txt").write_text(f"flower {i}\nanother line")
    train, test = (load_images(root, split, 16, tmp_path / "cache") for split in ("train", "test"))
    assert set(train.class_ids) == {1, 2, 3} and set(test.class_ids) == {4}  # every fourth class
    assert train.captions[3] == ["flower 3", "another line"] and train.has_classes and not train.has_boxes
    (root / "train").mkdir()
    names = ["jpg/image_00004.jpg", "jpg/image_00000.jpg"]
    (root / "train" / "filenames.pickle").write_bytes(pickle.dumps(names))
    assert load_images(root, "train", 16, tmp_path / "cache").names == ["image_00004", "image_00000"]


def test_pictures_in_no_folders_have_no_classes(tmp_path):
    for i in range(8):
        for folder, write in (("images", None), ("text", f"a thing {i}")):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "set" / folder / f"{i}"
            if write:
                path.with_suffix(".txt").write_text(write)
            else:
                Image.new("RGB", (20, 20)).save(path.with_suffix(".png"))
    train, test = (
        load_images(tmp_path / "set", split, 16, tmp_path / "cache") for split in ("train", "test")
    )
    assert (len(train), test.names) == (6, ["3", "7"]) and not train.has_classes


def test_names_with_suffixes_and_backslashes(tmp_path):
    root = make_set(tmp_path / "set")
    path = root / "train" / "filenames.pickle"
    names = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps([name.replace("/", "\\") + ".jpg" for name in names]))
    assert load_images(root, "train", 16, tmp_path / "cache").names == names


def test_a_layout_is_added_by_one_file_and_one_line(tmp_path, monkeypatch, capsys, root):
    spec = importlib.util.spec_from_file_location("folder", root / "examples" / "data_set_folder.py")
    folder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(folder)
    place = tmp_path / "mine"
    place.mkdir()
    for i in range(8):
        Image.new("RGB", (40, 30), (30 * i, 0, 0)).save(place / f"{i}.jpg")
        (place / f"{i}.txt").write_text(f"picture {i}\n" * (i + 1))
    with pytest.raises(UserError, match="has not the layout of CUB or COCO"):
        load_images(place, "train", 16, tmp_path / "cache")
    monkeypatch.setattr(layouts, "LAYOUTS", [*layouts.LAYOUTS, folder.LAYOUT])  # the line
    monkeypatch.setattr(prepare, "LAYOUTS", layouts.LAYOUTS)
    prepare.main(["folder", "--source", str(place), "--root", str(tmp_path), "--size", "16"])
    said = capsys.readouterr().out
    assert "train: 6 pictures at 16 px, 1 to 7 captions each" in said and "test: 2 pictures" in said
    assert "no bounding boxes" in said and "no classes" in said and "folder is ready" in said
    images = open_images(ImageData(root=str(place), painted=False), "train", 16)
    assert images.names == ["0", "1", "2", "4", "5", "6"] and (place / "cache" / "train-16.bin").is_file()


# --- what is said, and where caches are ---


def test_prepare_says_what_training_needs(tmp_path, capsys):
    root = make_set(tmp_path / "set")
    prepare.main(["cub", "--source", str(root), "--root", str(tmp_path), "--size", "16"])
    said = capsys.readouterr().out
    assert "train: 4 pictures of 2 classes at 16 px, 10 captions each" in said
    assert "fewer than a usual batch: train with batch=4 or less" in said
    (root / "train" / "class_info.pickle").write_bytes(pickle.dumps([1, 1, 1, 1]))
    with pytest.raises(UserError, match="all 4 training pictures .* are of one class"):
        prepare.main(["cub", "--source", str(root), "--root", str(tmp_path), "--size", "16"])


def test_captions_in_other_scripts_are_reported(tmp_path, caplog):
    root = make_set(tmp_path / "set")
    first, second = (root / "text" / CLASSES[0] / f"Bird_0_{i}.txt" for i in range(2))
    first.write_text("красная птица\na red bird\n", encoding="utf-8")
    images = load_images(root, "train", 16, tmp_path / "cache")
    assert images.captions[0] == ["a red bird"] and f"the first is of {CLASSES[0]}/Bird_0_0" in caplog.text
    second.write_text("青い鳥\n", encoding="utf-8")
    with pytest.raises(UserError, match="1 of 4 .*Bird_0_1: no caption with a word in Latin letters"):
        load_images(root, "train", 16, tmp_path / "cache")


def test_advice_fits_the_caller(tmp_path):
    root = make_set(tmp_path / "set")
    picture_path(root, f"{CLASSES[0]}/Bird_0_0").write_bytes(b"")
    with pytest.raises(UserError, match="leave them out with data.on_damaged=skip"):
        open_images(ImageData(root=str(root), painted=False), "train", 16)
    with pytest.raises(UserError, match="leave them out with --skip-damaged"):
        prepare.main(["cub", "--source", str(root), "--root", str(tmp_path), "--size", "16"])


def test_terms_are_those_of_cub_alone(tmp_path):
    root = make_set(tmp_path / "mine")
    assert terms_of(ImageData(root=str(root))) == ""
    assert "on request" in terms_of(ImageData(root=str(root), terms="on request"))
    names = ["001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg"]
    (root / "CUB_200_2011" / "images.txt").write_text(f"1 {names[0]}\n")
    assert "non-commercial research" in terms_of(ImageData(root=str(root)))


def test_the_cache_is_in_the_set_or_where_it_is_told(tmp_path, monkeypatch):
    assert cache_folder(tmp_path) == tmp_path / "cache" and cache_folder(tmp_path, "x") == Path("x")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path / "set")  # read-only
    assert cache_folder(tmp_path / "set") == tmp_path / "set-cache"
    (tmp_path / "set" / "cache").mkdir(parents=True)
    assert cache_folder(tmp_path / "set") == tmp_path / "set" / "cache"
