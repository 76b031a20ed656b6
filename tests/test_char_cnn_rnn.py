"""char-CNN-RNN: alphabet, both forms, the joint embedding loss, the model folder, and the published features."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import UserError
from data.embeddings import read_embeddings, read_sentences
from data.sampling import distinct_at, indices_at
from t2i.encoders.char_cnn_rnn import (
    ALPHABET,
    CHARACTERS,
    FORMS,
    CharCnnRnn,
    CharEncoder,
    CharEncoderConfig,
    GatedUnits,
    ReluUnits,
    encode_characters,
    joint_embedding_loss,
    unknown_characters,
)
from t2i.encoders.registry import load_encoder
from t2i.families.attngan import AttnGanConfig
from t2i.families.attngan import Generator as AttnGenerator
from training import encoder as train_encoder

TEXTS = [
    "a red bird",
    "this bird has black wings, a white belly and a short yellow bill",
    "a small blue bird",
    "the bird is green all over, but for its orange crown",
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def tiny(**changes) -> CharEncoderConfig:
    sizes = dict(embedding=16, first_width=8, width=16, image_width=4, image_size=32)
    return CharEncoderConfig(**(sizes | changes))


# ---- alphabet ----


def test_the_alphabet_has_seventy_places_and_sixty_nine_characters():
    assert len(ALPHABET) == 70 and len(set(ALPHABET)) == 69
    places = encode_characters(["az09 -`}"])[0, :8].tolist()
    assert places == [1, 26, 27, 36, 70, 60, 58, 69]  # the hyphen is the later of its two


def test_unknown_characters_are_zeros_and_case_is_none():
    assert torch.equal(encode_characters(["A  Red\tBIRD \n"]), encode_characters(["a red bird"]))
    ids = encode_characters(["é bird"])[0]
    assert ids[0] == 0 and ids[1] == 70 and ids[6:].sum() == 0
    assert unknown_characters("É bird – a café bird") == ["é", "–"]


def test_a_text_is_201_characters():
    long = "bird " * 100
    assert encode_characters([long, long[:CHARACTERS]]).shape == (2, 201)
    assert torch.equal(encode_characters([long])[0], encode_characters([long + "and more"])[0])
    assert encode_characters(["b" * 300]).min() > 0


@pytest.mark.parametrize(
    "text, message", [("  ", "the caption is empty"), ("птица", "only unknown characters")]
)
def test_a_text_of_which_nothing_is_known_is_an_error(text, message):
    with pytest.raises(UserError, match=message) as caught:
        encode_characters(["a bird", text])
    assert "\n" not in str(caught.value)


# ---- text encoder ----


@pytest.mark.parametrize("form, parameters, steps", [("icml", 4_045_184, 18), ("cvpr", 1_814_144, 8)])
def test_both_forms_have_the_published_size(form, parameters, steps):
    with torch.device("meta"):
        encoder = CharCnnRnn(CharEncoderConfig(form=form))
        assert encoder.convolutions(torch.empty(2, 70, CHARACTERS)).shape[2] == steps
    assert sum(p.numel() for p in encoder.parameters()) == parameters


def test_recurrent_layers_are_the_loops_of_the_papers():
    def apply(linear: nn.Linear, x: Tensor, part: int = 0) -> Tensor:
        """One W x W map of those that `linear` holds."""
        W = linear.in_features
        return linear.weight[part * W : (part + 1) * W] @ x + linear.bias[part * W : (part + 1) * W]

    steps = torch.randn(2, 5, 4, dtype=torch.float64)
    gated, relu = GatedUnits(4).double(), ReluUnits(4).double()
    for row in range(2):
        x = steps[row]
        h = torch.tanh(apply(gated.from_input, x[0]))
        k = torch.relu(apply(relu.from_input, x[0]))
        for t in range(5):
            if t > 0:
                z = torch.sigmoid(apply(gated.from_input, x[t], 1) + apply(gated.to_gates, h, 0))
                r = torch.sigmoid(apply(gated.from_input, x[t], 2) + apply(gated.to_gates, h, 1))
                candidate = torch.tanh(apply(gated.from_input, x[t]) + apply(gated.to_candidate, r * h))
                h = z * candidate + (1 - z) * h
                k = torch.relu(apply(relu.from_input, x[t]) + apply(relu.from_state, k))
            torch.testing.assert_close(gated(steps)[row, t], h)
            torch.testing.assert_close(relu(steps)[row, t], k)


@pytest.mark.parametrize("form", FORMS)
def test_a_sentence_is_the_layers_of_the_papers(form: str):
    """Beside the recurrent layer, which has its own test."""
    encoder = CharCnnRnn(tiny(form=form)).double()
    for parameter in encoder.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    w = list(encoder.convolutions.parameters())
    ids = encode_characters(TEXTS)
    x = torch.zeros(4, 70, 201, dtype=torch.float64)
    for row, place in (ids > 0).nonzero().tolist():
        x[row, ids[row, place] - 1, place] = 1
    x = nn.functional.max_pool1d(nn.functional.conv1d(x, w[0], w[1]).relu(), 3)
    x = nn.functional.max_pool1d(nn.functional.conv1d(x, w[2], w[3]).relu(), 3)
    x = nn.functional.conv1d(x, w[4], w[5]).relu()
    x = x if form == "icml" else nn.functional.max_pool1d(x, 3, 2)
    states = encoder.recurrent(x.transpose(1, 2))
    expected = states.mean(1) @ encoder.to_sentence.weight.T + encoder.to_sentence.bias
    torch.testing.assert_close(encoder(ids).sentence, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_features_are_the_same_alone_in_a_batch_and_padded(form):
    encoder = CharEncoder(tiny(form=form)).eval()
    for parameter in encoder.text_encoder.parameters():
        torch.nn.init.uniform_(parameter, -0.5, 0.5)  # so narrow a network mutes what it reads otherwise
    together = encoder.encode(TEXTS)
    padded = encoder.encode([text + " " * 30 for text in TEXTS])
    assert together.words.shape == (4, 1, 16) and together.sentence.shape == (4, 16)
    assert not together.is_pad.any() and torch.equal(together.words[:, 0], together.sentence)
    for i, text in enumerate(TEXTS):
        alone = encoder.encode([text]).sentence[0]
        torch.testing.assert_close(together.sentence[i], alone, rtol=0, atol=1e-6)
        torch.testing.assert_close(padded.sentence[i], alone, rtol=0, atol=1e-6)
    assert torch.pdist(together.sentence).min() > 1e-2


def test_a_family_that_attends_to_words_takes_the_sentence_for_one():
    config = AttnGanConfig(stages=2, width=4, embedding=16, condition=6, noise=5, residual_blocks=1)
    text = CharEncoder(tiny()).eval().encode(TEXTS)
    painting = AttnGenerator(config)(torch.randn(4, 5), torch.randn(4, 6), text)
    assert painting.attention[0].shape == (4, 1, 64, 64)


# ---- loss ----


def pairs(seed: int = 0, B: int = 5, E: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(B, E, generator=draw, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("class_ids", [None, [3, 8, 3, 1, 8]])
def test_joint_embedding_loss_is_the_loop(class_ids):
    v, t = pairs()
    expected = 0.0
    for i in range(5):
        for j in range(5):
            if i == j or (class_ids and class_ids[i] == class_ids[j]):
                continue
            expected += max(0.0, 1.0 + float(v[i] @ t[j]) - float(v[i] @ t[i])) / 25
            expected += max(0.0, 1.0 + float(v[j] @ t[i]) - float(v[i] @ t[i])) / 25
    ids = None if class_ids is None else torch.tensor(class_ids)
    assert float(joint_embedding_loss(v, t, ids)) == pytest.approx(expected, rel=1e-12)


def test_joint_embedding_loss_has_its_numerical_gradient():
    v, t = (x.requires_grad_() for x in pairs())
    ids = torch.tensor([3, 8, 3, 1, 8])
    assert torch.autograd.gradcheck(lambda a, b: joint_embedding_loss(a, b, ids), (v, t), eps=1e-7, atol=1e-6)


def test_sentences_without_a_picture_are_told_apart_by_the_pictures_only():
    v, t = pairs()
    more = torch.randn(2, 3, dtype=torch.float64)
    expected = float(joint_embedding_loss(v, t))
    for i in range(5):
        expected += sum(max(0.0, 1.0 + float(v[i] @ other) - float(v[i] @ t[i])) / 25 for other in more)
    assert float(joint_embedding_loss(v, torch.cat([t, more]))) == pytest.approx(expected, rel=1e-12)


def test_joint_embedding_loss_is_exact_under_autocast():
    v, t = (x.float() for x in pairs(E=64))
    with torch.autocast("cpu", torch.bfloat16):
        cast = joint_embedding_loss(v, t)
    assert torch.equal(cast, joint_embedding_loss(v, t))


def test_pairs_that_lead_by_the_margin_cost_nothing():
    assert float(joint_embedding_loss(torch.eye(3), torch.eye(3))) == 0
    assert float(joint_embedding_loss(torch.eye(3), torch.eye(3), margin=2.0)) == pytest.approx(2 * 6 / 9)


# ---- the trained whole ----


def learn(model: CharEncoder, images: Tensor, steps: int) -> list[float]:
    """The losses of so many steps on `TEXTS` and their pictures."""
    optimizer, ids, losses = torch.optim.Adam(model.parameters(), lr=1e-2), encode_characters(TEXTS), []
    for _ in range(steps):
        loss = joint_embedding_loss(model.image_encoder(images)[1], model.text_encoder(ids).sentence)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("form", FORMS)
def test_the_encoder_learns_four_captions_of_given_features(form):
    model = CharEncoder(tiny(form=form, image="precomputed", first_width=16, width=32))
    features = torch.randn(4, 16)
    losses = learn(model, features, 120)
    assert (
        losses[0] == pytest.approx(1.5, abs=0.1) and losses[-1] < 0.1
    )  # 24 margins over 16 when nothing is known
    scores = model.encode_images(features)[1] @ model.encode(TEXTS).sentence.T
    assert scores.argmax(0).tolist() == scores.argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("form", FORMS)
def test_both_encoders_learn_together(form):
    model = CharEncoder(tiny(form=form, first_width=16, width=32))
    colours = torch.tensor([[1.0, -1, -1], [-1, -1, -1], [-1, -1, 1], [-1, 1, -1]])
    losses = learn(model, colours[:, :, None, None] + 0.2 * torch.randn(4, 3, 32, 32), 80)
    assert min(losses[-10:]) < 0.4 * losses[0]


def test_given_features_are_passed_on_and_checked():
    model = CharEncoder(tiny(image="precomputed"))
    features = torch.randn(2, 16)
    regions, image = model.encode_images(features)
    assert torch.equal(regions[:, 0], features) and torch.equal(image, features)
    with pytest.raises(UserError, match=r"shape \(2, 3, 8, 8\) were given, \(images, 16\) was expected"):
        model.encode_images(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_encoder_answers_as_before(tmp_path: Path, form):
    model = CharEncoder(tiny(form=form)).eval()
    model.save(tmp_path, "# card", {"steps": 3})
    loaded = CharEncoder.load(tmp_path)
    assert loaded.config == model.config and loaded.training_info == {"steps": 3}
    assert len(loaded.checksum) == 64 and not loaded.training
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    near = dict(rtol=1e-2, atol=1e-3)  # stored as float16
    torch.testing.assert_close(loaded.encode(TEXTS).sentence, model.encode(TEXTS).sentence, **near)
    torch.testing.assert_close(loaded.encode_images(images)[1], model.encode_images(images)[1], **near)


def test_an_encoder_of_another_alphabet_or_kind_is_refused(tmp_path: Path):
    CharEncoder(tiny()).save(tmp_path, "# card", {})
    (tmp_path / "vocabulary.json").write_text(json.dumps("abc"))
    with pytest.raises(UserError, match="not this encoder's alphabet"):
        CharEncoder.load(tmp_path)
    header = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(header.replace("char-encoder", "damsm"))
    with pytest.raises(UserError, match='holds a "damsm" model, a "char-encoder" model was expected'):
        CharEncoder.load(tmp_path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"form": "nips"}, 'encoder.form="nips": one of icml, cvpr was expected'),
        ({"image": "none"}, 'encoder.image="none": one of light, precomputed was expected'),
        ({"width": 1}, "encoder.width=1: a whole number from 2 to 4096 was expected"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(UserError) as caught:
        tiny(**changes)
    assert str(caught.value) == message


# ---- training ----


def train(monkeypatch, world: Path, runs: Path, name: str, *more: str) -> Path:
    """A few steps of a narrow encoder by train_encoder.py; the run's folder."""
    words = [
        "encoder=char_cnn_rnn", "encoder.embedding=16", "encoder.first_width=8", "encoder.width=16",
        "encoder.image_width=4", "encoder.image_size=32", "batch=8", f"data.root={world / 'painted_birds'}",
        f"data.cache={runs / 'cache'}", f"run.root={runs}", f"run.name={name}", "run.steps=4", "run.log_every=1",
        "run.sample_every=3", "run.threads=1", "run.device=cpu", *more,
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train_encoder.py", *words])
    train_encoder.main()
    return runs / name


def test_a_trained_encoder_is_saved_and_goes_on_as_if_never_stopped(tiny_world, tmp_path, monkeypatch):
    whole = train(monkeypatch, tiny_world, tmp_path, "whole")
    train(monkeypatch, tiny_world, tmp_path, "halved", "run.steps=2")
    halved = train(monkeypatch, tiny_world, tmp_path, "halved")
    states = [torch.load(run / "checkpoint.pt", weights_only=True)["model"] for run in (whole, halved)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (whole, halved)]
    assert weights[0] == weights[1]

    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [0, 1, 2, 3]
    assert [line["step"] for line in lines if "r_precision" in line] == [2, 3]
    model = load_encoder(whole / "model")
    assert isinstance(model, CharEncoder) and model.training_info["batch"] == 8
    assert model.encode(["a text of any words"]).sentence.shape == (1, 16)
    card = (whole / "model" / "README.md").read_text()
    assert card.startswith("# char-CNN-RNN") and "201 characters" in card
    config = (whole / "config.yaml").read_text()
    with pytest.raises(UserError, match="encoder.form .icml then, cvpr now."):
        train(monkeypatch, tiny_world, tmp_path, "whole", "encoder.form=cvpr")
    assert (whole / "config.yaml").read_text() == config


def test_it_is_told_from_wrong_captions_and_wants_pictures(tiny_world, tmp_path, monkeypatch):
    losses = []
    for wrong in (0, 2):
        run = train(
            monkeypatch, tiny_world, tmp_path, f"wrong{wrong}", f"hard_negatives={wrong}", "run.steps=1"
        )
        losses.append(json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["loss"])
    assert losses[1] > losses[0] + 1  # two of them for each of 8 right ones, a margin of 1 each, over 64
    with pytest.raises(UserError, match="set embedding to their width, or image=light to encode images"):
        train(monkeypatch, tiny_world, tmp_path, "given", "encoder.image=precomputed")


def test_a_batch_has_no_two_pictures_of_a_class_where_there_are_enough():
    class_ids = np.repeat(np.arange(50), 4) * 7
    seen: set[int] = set()
    for step in range(40):
        items = distinct_at(step, 40, class_ids, seed=3)
        assert len(set(class_ids[items])) == 40
        np.testing.assert_array_equal(items, distinct_at(step, 40, class_ids, seed=3))
        seen |= set(items.tolist())
    assert seen == set(range(200))
    assert not np.array_equal(distinct_at(0, 40, class_ids, 3), distinct_at(1, 40, class_ids, 3))
    np.testing.assert_array_equal(distinct_at(5, 60, class_ids, 3), indices_at(5, 60, 200, 3))


def test_the_rate_falls_by_a_fiftieth_every_epoch():
    rate = train_encoder.SCHEDULES[CharEncoder.recipe.schedule]
    assert [rate(step, 30_000, 150) for step in (0, 149, 150, 29_999)] == pytest.approx(
        [1, 1, 0.98, 0.98**199]
    )


# ---- the published features ----

NAMES = ["001.A/a_1", "001.A/a_2", "002.B/b_1"]


def folder_with(tmp_path: Path, value: object, protocol: int = 4) -> Path:
    (tmp_path / "train").mkdir(exist_ok=True)
    (tmp_path / "train" / "filenames.pickle").write_bytes(pickle.dumps(NAMES, protocol=2))
    pickled = value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol)
    (tmp_path / "train" / "char-CNN-RNN-embeddings.pickle").write_bytes(pickled)
    return tmp_path


def features(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 10, 1024)).astype(np.float32)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", [list, np.asarray, lambda x: list(x.astype(np.float64))])
def test_features_of_a_split_are_read(tmp_path, protocol, form):
    expected = features()
    read = read_embeddings(folder_with(tmp_path, form(expected), protocol), "train")
    assert read.dtype == np.float32 and read.shape == (3, 10, 1024)
    np.testing.assert_array_equal(read, expected)


def test_features_that_python_2_wrote_are_read(tmp_path):
    """Protocol 2 as Python 2 writes it: array data as byte strings, numpy under its old names."""
    expected, stream = features(), b"\x80\x02]("
    for picture in expected:
        data = picture.tobytes()
        stream += (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            b"(K\x01K\x0aM\x00\x04\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
            b"K\x00tb\x89T" + len(data).to_bytes(4, "little") + data + b"tb"
        )
    read = read_embeddings(folder_with(tmp_path, stream + b"e."), "train")
    np.testing.assert_array_equal(read, expected)


def test_captions_come_with_their_features(tmp_path):
    folder_with(tmp_path, list(features()))
    (tmp_path / "train").rename(tmp_path / "test")
    folder_with(tmp_path, list(features()))
    for name in NAMES[::2]:  # the second picture has no captions
        path = tmp_path / "text" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name} {i}\n" for i in range(10)))
    texts, read = read_sentences(tmp_path)
    assert texts == [f"{name} {i}" for name in (NAMES[0], NAMES[2]) for i in range(10)] * 2
    np.testing.assert_array_equal(read, np.concatenate([features()[[0, 2]].reshape(-1, 1024)] * 2))
    (tmp_path / "text").rename(tmp_path / "texts")
    with pytest.raises(UserError, match="text has the captions of no train picture"):
        read_sentences(tmp_path)


def test_features_are_taken_by_name(tmp_path):
    folder = folder_with(tmp_path, list(features()))
    read = read_embeddings(folder, "train", [NAMES[2], NAMES[0]])
    np.testing.assert_array_equal(read, features()[[2, 0]])
    with pytest.raises(UserError, match="has no features of 009.Z/z: filenames.pickle does not list it"):
        read_embeddings(folder, "train", ["009.Z/z"])


@pytest.mark.parametrize(
    "value, message",
    [
        (features(2), "has the features of 2 pictures, filenames.pickle lists 3"),
        ({"a": 1}, "holds a dict, a list of one array per picture was expected"),
        ([*features(2), features(1)[0, :9]], r"002.B/b_1 have the shape \(9, 1024\), an array \(10, 1024\)"),
        ([*features(2), [1.0]], "002.B/b_1 are a list, an array"),
        (np.zeros((3, 10, 1024), np.int64), "001.A/a_1 are of type int64, an array"),
        (np.full((3, 10, 1024), np.nan), "001.A/a_1 are not all finite"),
        (b"not a pickle", "is not a readable pickle"),
    ],
)
def test_other_contents_are_told_in_one_line(tmp_path, value, message):
    with pytest.raises(UserError, match=message) as caught:
        read_embeddings(folder_with(tmp_path, value), "train")
    assert "\n" not in str(caught.value)


def test_missing_files_are_told_in_one_line(tmp_path):
    folder = folder_with(tmp_path, list(features()))
    with pytest.raises(UserError, match="no .*char-CNN-RNN-embeddings.pickle; take it from StackGAN's data"):
        read_embeddings(folder, "test")
    (folder / "train" / "filenames.pickle").unlink()
    with pytest.raises(UserError, match="no .*filenames.pickle, which says whose features"):
        read_embeddings(folder, "train")
