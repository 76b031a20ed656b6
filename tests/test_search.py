"""search/: the index on disk, exact and approximate search, and what a finder finds. An untrained tiny encoder."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UserError
from core.files import sha256
from data.captioned_images import load_images
from data.sampling import to_unit
from metrics.retrieval import retrieval
from search import build, storage
from search.approximate import ApproximateSearch
from search.exact import ExactSearch, best_of
from search.finder import CAPTIONS, Finder, read_query
from search.journal import Journal
from search.sources import open_source
from t2i.encoders.damsm import Damsm


def unit_rows(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def birds(tiny_world: Path, tmp_path: Path) -> Path:
    """A copy of the tiny painted birds that a test may change."""
    return Path(shutil.copytree(tiny_world / "painted_birds", tmp_path / "painted_birds", symlinks=True))


@pytest.fixture
def damsm(tiny_world: Path) -> Path:
    return tiny_world / "damsm"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the encoder has seen so far."""
    calls: list[int] = []
    encode = Damsm.encode_images

    def counted(self, images):
        calls.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(Damsm, "encode_images", counted)
    return calls


# ---- exact search ----


def test_exact_search_finds_what_sorting_finds():
    vectors, queries = unit_rows(500), unit_rows(7, seed=1)
    found = ExactSearch(vectors).search(queries, 10)
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    expected = np.argsort(-scores, axis=1)[:, :10]
    assert (found.rows == expected).all()
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, expected, 1), atol=1e-12)


def test_ties_are_in_the_order_of_the_rows_wherever_they_lie():
    vectors = unit_rows(300)
    twins = [3, 50, 64, 299]
    vectors[twins] = vectors[3]
    for rows in (10, 3, 1):  # also where the last place is between two of them
        found = ExactSearch(vectors).search(vectors[3:4], rows)
        assert found.rows[0, :4].tolist() == twins[:rows]
    assert len(set(found.scores[0, :4])) == 1


def test_a_query_finds_the_same_alone_and_among_others():
    vectors, queries = unit_rows(400), unit_rows(40, seed=1)
    many = ExactSearch(vectors).search(queries, 5)
    alone = ExactSearch(vectors).search(queries[17:18], 5)
    assert (many.rows[17] == alone.rows[0]).all() and (many.scores[17] == alone.scores[0]).all()


def test_more_than_there_is_finds_all():
    vectors = unit_rows(3)
    assert sorted(ExactSearch(vectors).search(vectors[:1], 10).rows[0]) == [0, 1, 2]


def test_too_few_candidates_are_filled_up():
    found = best_of(unit_rows(9), np.array([4]), unit_rows(1, seed=2)[0], 3)
    assert found.rows.tolist() == [4, -1, -1] and found.scores[1] == -np.inf


def test_approximate_search_agrees_with_exact_search(tmp_path: Path):
    pytest.importorskip("usearch", reason="usearch is not installed: pip install -e '.[search-large]'")
    vectors = unit_rows(300)
    vectors[7] = vectors[200]
    graph = ApproximateSearch(vectors, tmp_path / "x.index.pictures-1.usearch")
    queries = np.concatenate([vectors[:5], vectors[200:201], unit_rows(10, seed=3)])
    expected, found = ExactSearch(vectors).search(queries, 5), graph.search(queries, 5)
    assert (expected.rows == found.rows).mean() > 0.95
    same = expected.rows == found.rows
    assert (expected.scores[same] == found.scores[same]).all()  # scored alike, to the last digit
    assert found.rows[5, :2].tolist() == [7, 200]
    assert graph.search(queries[:1], 1).rows.shape == (1, 1)
    again = ApproximateSearch(vectors, tmp_path / "x.index.pictures-1.usearch")  # from its file
    assert (again.search(queries, 5).rows == found.rows).all()
    path = tmp_path / "x.index.pictures-1.usearch"
    for content in (path.read_bytes()[:-1000], b"no graph" * 99):  # damaged, it is made again
        path.write_bytes(content)
        assert (ApproximateSearch(vectors, path).search(queries, 5).rows == found.rows).mean() > 0.95
    assert (
        ApproximateSearch(vectors[:100], path).search(queries, 5).rows.max() < 100
    )  # as one of other rows is


def test_without_usearch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "usearch.index", None)
    with pytest.raises(UserError, match="search-large"):
        ApproximateSearch(unit_rows(3), tmp_path / "graph.usearch")


# ---- the index ----


def test_an_index_holds_what_the_encoder_makes_of_each_picture(birds: Path, damsm: Path, tmp_path: Path):
    found = Finder.open(birds, encoder=damsm, index=tmp_path / "a.index").index
    images, encoder = load_images(birds, "test", 64, tmp_path), Damsm.load(damsm)
    _, expected = encoder.encode_images(to_unit(images.batch(range(len(images)), None)))
    expected = torch.nn.functional.normalize(expected, dim=1).numpy()
    np.testing.assert_allclose(found.pictures, expected, atol=1e-5)
    texts = [text for of in images.captions for text in of]
    sentences = torch.nn.functional.normalize(encoder.encode(texts).sentence, dim=1).detach().numpy()
    np.testing.assert_allclose(found.captions, sentences, atol=1e-5)
    assert [found.caption(row)[0] for row in range(len(texts))] == texts
    assert [found.picture(i).name for i in range(len(found))] == images.names
    first = found.picture(0)
    assert (birds / first.source).is_file() and first.captions == images.captions[0]
    with Image.open(birds / first.source) as file:
        assert file.size == (first.width, first.height)
    assert found.about["encoder"] == {"name": "damsm", "sha256": sha256(damsm / "model.safetensors")}


def test_safetensors_reads_the_file_too(birds: Path, damsm: Path, tmp_path: Path):
    from safetensors.numpy import load_file

    index = Finder.open(birds, encoder=damsm, index=tmp_path / "a.index").index
    theirs = load_file(tmp_path / "a.index")
    assert theirs.keys() == index.arrays.keys()
    assert all((theirs[name] == index.arrays[name]).all() for name in theirs)


def test_an_index_is_made_once(birds: Path, damsm: Path, encoded: list[int]):
    made = Finder.open(birds, encoder=damsm)
    assert sum(encoded) == len(made.index) and made.index.path.parent == birds / "cache" / "search"
    stamp = made.index.path.stat().st_mtime_ns
    again = Finder.open(birds, encoder=damsm, build=False)
    (again.index.path.with_name(f"{again.index.path.name}.seen")).unlink()
    Finder.open(birds, encoder=damsm, build=False)  # known by its content where the files' times are unknown
    assert sum(encoded) == len(made.index) and again.index.path.stat().st_mtime_ns == stamp


def test_what_has_changed_is_encoded_anew_and_nothing_else(birds: Path, damsm: Path, encoded: list[int]):
    before = Finder.open(birds, encoder=damsm)
    names = [before.index.picture(i).name for i in range(len(before.index))]
    rows = np.array(before.index.pictures)
    encoded.clear()
    picture = birds / before.index.picture(2).source
    Image.new("RGB", (200, 180), "red").save(picture)
    (birds / "text" / f"{names[4]}.txt").write_text("a red bird\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no index of .*painted_birds \(test\) as it is now"):
        Finder.open(birds, encoder=damsm, build=False)
    after = Finder.open(birds, encoder=damsm).index
    assert encoded == [1]
    same = [i for i in range(len(names)) if i != 2]
    assert (after.pictures[same] == rows[same]).all() and (after.pictures[2] != rows[2]).any()
    assert after.picture(4).captions == ["a red bird"] and after.picture(2).width == 200
    assert (before.index.pictures == rows).all()  # which an open page still reads


def test_another_encoder_has_another_index(birds: Path, damsm: Path, tmp_path: Path, encoded: list[int]):
    Finder.open(birds, encoder=damsm, index=tmp_path / "a.index")
    other = Path(shutil.copytree(damsm, tmp_path / "damsm"))
    model = Damsm.load(other)
    model.image_encoder.to_global.weight.mul_(-1)  # as another training might have it
    model.save(other, "# card", {})
    encoded.clear()
    found = Finder.open(birds, encoder=other, index=tmp_path / "a.index")
    assert (
        sum(encoded) == len(found.index) and found.index.about["encoder"]["sha256"] == found.encoder.checksum
    )


@pytest.mark.parametrize("damage", ["cut", "changed", "header", "nothing", "other"])
def test_an_index_that_is_not_whole_is_made_again(damage: str, birds: Path, damsm: Path):
    first = Finder.open(birds, encoder=damsm)
    path, whole = first.index.path, first.find("a red bird")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes({
        "cut": content[:-100],
        "changed": content[:middle] + bytes(200) + content[middle + 200 :],
        "header": b"\xff" * 8 + content[8:],
        "nothing": b"",
        "other": b"this is no index\n" * 50,
    }[damage])  # fmt: skip
    assert storage.read_index(path) is None
    assert Finder.open(birds, encoder=damsm).find("a red bird") == whole


def test_a_damaged_index_never_ends_in_a_traceback(birds: Path, damsm: Path, tmp_path: Path):
    """Every byte may be wrong: the file is refused, or says what it can, or is named in one line."""
    path = Finder.open(birds, encoder=damsm, index=tmp_path / "a.index").index.path
    content, rng = path.read_bytes(), np.random.default_rng(0)
    length, refused = int.from_bytes(content[:8], "little"), 0
    for i in [*rng.integers(8 + length, size=150), *rng.integers(len(content), size=50)]:
        changed = bytearray(content)
        changed[i] = rng.integers(256)
        path.write_bytes(changed)
        index = storage.read_index(path)
        refused += index is None
        if index is not None:
            assert {"mark", "left_out"} <= index.about.keys() and index.about["encoder"]["sha256"]
    assert refused > 100
    index = Finder.open(birds, encoder=damsm, index=path).index
    index.arrays["text"] = np.zeros_like(index.arrays["text"])  # between the blocks that are looked at
    with pytest.raises(UserError, match="a.index is damaged; remove it"):
        index.picture(0)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "I;16", "1", "LA"])
def test_a_picture_of_any_mode_may_be_asked_for(mode: str):
    red = Image.new("RGB", (90, 70), (200, 30, 30))
    picture = Image.new("I;16", (90, 70), 200 * 256) if mode == "I;16" else red.convert(mode)
    square = read_query(picture, 32)
    assert square.shape == (3, 32, 32)
    expected = {"L": 81, "LA": 81, "1": square[0].mean()}.get(mode, 200)
    assert square[0].mean() == pytest.approx(expected, abs=3)


def test_a_file_that_is_no_index_is_not_overwritten(birds: Path, damsm: Path, tmp_path: Path):
    photograph = tmp_path / "bird.jpg"
    photograph.write_bytes(b"\xff\xd8 a photograph")
    with pytest.raises(UserError, match="bird.jpg is there and is no index"):
        Finder.open(birds, encoder=damsm, index=photograph)
    assert photograph.read_bytes() == b"\xff\xd8 a photograph"
    cut = Finder.open(birds, encoder=damsm, index=tmp_path / "a.index").index.path
    cut.write_bytes(cut.read_bytes()[:300])
    assert Finder.open(birds, encoder=damsm, index=cut)
    in_folder = Finder.open(birds, encoder=damsm, index=tmp_path).index.path
    assert in_folder == tmp_path / "painted_birds-test-damsm.index"


def test_a_killed_build_goes_on_where_it_was(birds, damsm, tmp_path, monkeypatch, encoded):
    monkeypatch.setattr(build, "PICTURES_AT_ONCE", 2)
    path = tmp_path / "a.index"
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        append = Journal.append

        def append_and_die(self, keys, vectors, sizes=None):
            append(self, keys, vectors, sizes)
            if self.rows().keys.size >= 4:
                os.kill(os.getpid(), signal.SIGKILL)

        Journal.append = append_and_die
        Finder.open(birds, encoder=damsm, index=path)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert storage.read_index(path) is None and not path.exists()
    found = Finder.open(birds, encoder=damsm, index=path).index
    assert encoded == [2]  # of six, four were done
    assert sorted(p.name for p in tmp_path.glob("*a.index*")) == [".a.index.lock", "a.index"]
    np.testing.assert_allclose(np.linalg.norm(found.pictures, axis=1), 1, atol=1e-5)


def test_rows_that_never_reached_the_disk_are_encoded_again(tmp_path: Path):
    journal = Journal(tmp_path / "j", 8)
    journal.append(np.arange(5, dtype=np.uint64), unit_rows(5, 8))
    journal.append(
        np.array([9], np.uint64), np.full((1, 8), np.nan, np.float32)
    )  # a damaged picture, which is known
    size = journal.path.stat().st_size
    with open(journal.path, "ab") as file:
        file.write(bytes(2 * journal.type.itemsize + 3))
    again = Journal(tmp_path / "j", 8)
    assert again.path.stat().st_size == size and again.rows().keys.tolist() == [0, 1, 2, 3, 4, 9]


def test_damaged_pictures_are_left_out_and_named(birds: Path, damsm: Path, tmp_path: Path, caplog):
    listed = Finder.open(birds, encoder=damsm, index=tmp_path / "b.index").index
    damaged = listed.picture(1)
    (birds / damaged.source).write_bytes(b"no picture")
    (birds / listed.picture(3).source).unlink()
    found = Finder.open(birds, encoder=damsm, index=tmp_path / "a.index")
    assert "1 of 5 pictures" in caplog.text and damaged.name in caplog.text
    assert set(found.index.about["left_out"]) == {damaged.name, listed.picture(3).name}
    assert [found.index.picture(i).name for i in range(4)] == [listed.picture(i).name for i in (0, 2, 4, 5)]
    assert found.index.caption(len(found.index.captions) - 1)[1].name == listed.picture(5).name


def test_what_is_no_set_and_no_encoder_is_refused(birds: Path, damsm: Path, tiny_world: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has not the layout of CUB or COCO"):
        Finder.open(tmp_path / "empty", encoder=damsm)
    with pytest.raises(UserError, match=r'no split "tset".*did you mean "test"'):
        Finder.open(birds, "tset", encoder=damsm)
    with pytest.raises(
        UserError, match="did you mean"
    ):  # a folder that holds a set is not taken for one of pictures
        open_source(tiny_world)
    with pytest.raises(UserError, match="parts.csv: not an image"):
        Finder.open(birds, encoder=damsm).find(birds / "parts.csv")
    with pytest.raises(UserError, match="zzz qqq"):
        Finder.open(birds, encoder=damsm).find("zzz qqq")


# ---- what is found ----


def test_a_finder_ranks_as_the_metric_does(birds: Path, damsm: Path):
    """Recall by search is that of evaluate.py --metric retrieval, both ways."""
    found = Finder.open(birds, encoder=damsm)
    index = found.index
    expected = retrieval(index.pictures, index.captions, index.picture_of, ks=(1, 3))
    rows = found.search(index.captions, 3).rows
    for k in (1, 3):
        own = (rows[:, :k] == index.picture_of[:, None]).any(1).mean()
        assert own == pytest.approx(expected.text_to_picture[k])
    rows = found.search(index.pictures, 3, CAPTIONS).rows
    own = (index.picture_of[rows[:, :3]] == np.arange(len(index))[:, None]).any(1).mean()
    assert own == pytest.approx(expected.picture_to_text[3])


def test_hits_are_ranked_with_the_caption_nearest_to_the_query(birds: Path, damsm: Path):
    found = Finder.open(birds, encoder=damsm)
    text = found.index.picture(3).captions[2]
    hits = found.find(text, 6)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    own = next(hit for hit in hits if hit.picture.name == found.index.picture(3).name)
    assert own.caption == text and Path(own.source).is_file()


def test_captions_are_found_by_picture_none_twice(birds: Path, damsm: Path):
    names = [path.stem for path in (birds / "text").rglob("*.txt")]
    for path in (birds / "text").rglob("*.txt"):
        path.write_text("a red bird\nA red  bird\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    found = Finder.open(birds, encoder=damsm)
    picture = Path(found.source.path_of(found.index.picture(0).source))
    every = found.find(picture, 1000, CAPTIONS)
    texts = [" ".join(hit.caption.lower().split()) for hit in every]
    assert names and len(set(texts)) == len(texts) and texts.count("a red bird") == 1
    assert set(texts) == {
        " ".join(t.lower().split()) for i in range(6) for t in found.index.picture(i).captions
    }
    assert found.find(picture, 3, CAPTIONS) == every[:3]
    with Image.open(picture) as file:  # as a page has it
        assert [hit.score for hit in found.find(file.copy(), 3)] == pytest.approx(
            [hit.score for hit in found.find(picture, 3)], abs=1e-6
        )


def test_a_folder_of_ones_own_is_searched_by_text(birds: Path, damsm: Path, tmp_path: Path):
    mine = tmp_path / "mine"
    (mine / "2024").mkdir(parents=True)
    pictures = sorted((birds / "CUB_200_2011" / "images").rglob("*.jpg"))[:3]
    for i, (name, path) in enumerate(zip(("a.jpg", "2024/a.JPG", "2024/b.png"), pictures, strict=True)):
        with Image.open(path) as file:
            file.save(mine / name, format="PNG" if i == 2 else "JPEG")
    (mine / "notes.txt").write_text("no picture", encoding="utf-8")
    (mine / ".hidden.jpg").write_bytes(b"")
    found = Finder.open(mine, encoder=damsm)
    assert [found.index.picture(i).name for i in range(3)] == ["2024/a.JPG", "2024/b.png", "a.jpg"]
    assert (
        len(found.index) == 3
        and len(found.find("a red bird")) == 3
        and found.find("a red bird")[0].caption == ""
    )
    with pytest.raises(UserError, match="has no captions to find"):
        found.find("a red bird", what=CAPTIONS)
    with pytest.raises(UserError, match="without splits"):
        open_source(mine, "test")
    assert Finder.open(mine, encoder=damsm, build=False)  # its own cache is no part of it


def test_all_of_a_set(birds: Path, damsm: Path):
    counts = [len(Finder.open(birds, split, encoder=damsm).index) for split in ("train", "test", "all")]
    assert counts == [24, 6, 30]


def test_a_text_needs_no_image_encoder(birds: Path, damsm: Path):
    Finder.open(birds, encoder=damsm)
    found = Finder.open(birds, encoder=damsm)
    found.find("a red bird")
    assert not found.encoder.loaded.sees_images
    found.find(Path(found.source.path_of(found.index.picture(0).source)))
    assert found.encoder.loaded.sees_images


def test_speech_to_image_finds_too(birds: Path, damsm: Path):
    from pipeline import SpeechToImage

    found = Finder.open(birds, encoder=damsm)
    assert SpeechToImage(None, None).find("a red bird", found, 2) == found.find("a red bird", 2)


def test_real_photographs_are_indexed_as_they_lie(real_birds: Path, tmp_path: Path):
    """Links to CUB's photographs, boxes and captions, with the released encoder."""
    found = Finder.open(real_birds, index=tmp_path / "real.index")
    assert len(found.index) == 12 and len(found.index.captions) == 120 and found.encoder.name == "real-damsm"
    hits = found.find("a black bird", 12)
    assert len(hits) == 12 and all(Path(hit.source).is_file() and hit.caption for hit in hits)
    assert json.loads(json.dumps([hit._asdict() for hit in hits]))
