"""The recogniser's model, losses and decoding: shapes, padding, and exact answers on small cases."""

import itertools

import numpy as np
import pytest
import torch

from asr.augment import Augmentation, augment, mask_features
from asr.batches import BatchPlan
from asr.decode import align, greedy_ctc, joint_search, prefix_beam_search
from asr.features import LogMel, pad_samples
from asr.layers import Subsampling, subsample
from asr.losses import LossWeights, attention_loss, consistency_loss, ctc_loss, joint_loss
from asr.model import ModelConfig, Outputs, SpeechModel
from asr.tokenizer import BLANK, EDGE, Tokenizer, normalise
from core.errors import UserError

TINY = ModelConfig(
    width=32, heads=2, encoder_layers=2, decoder_layers=1, feed_forward=64, kernel=5, dropout=0.0
)


def tiny_model(seed: int = 0, vocabulary: int = 30) -> SpeechModel:
    torch.manual_seed(seed)
    return SpeechModel(TINY, vocabulary).eval()


def sounds(*seconds: float) -> list[np.ndarray]:
    """Clips with a melody each, so that no two frames are alike."""
    clips = []
    for number, length in enumerate(seconds):
        t = np.arange(int(16_000 * length)) / 16_000
        rng = np.random.default_rng(number)
        pitch = 300 + 200 * np.sin(2 * np.pi * (1 + number) * t)
        clips.append(
            (0.3 * np.sin(2 * np.pi * pitch * t) + 0.01 * rng.standard_normal(len(t))).astype(np.float32)
        )
    return clips


def features_of(clips: list[np.ndarray], extra: int = 0, filler: float = 0.0):
    """Features and mask of clips, with `extra` more samples of padding that hold `filler`."""
    samples, lengths = pad_samples(clips)
    samples = torch.nn.functional.pad(samples, (0, extra))
    for row, length in zip(samples, lengths, strict=True):
        row[length:] = filler
    return LogMel()(samples, lengths)


@pytest.mark.parametrize("frames", range(1, 42))
def test_subsampling_formula(frames):
    is_pad = torch.zeros(1, frames, dtype=torch.bool)
    flat = [torch.nn.Conv1d(i, o, 3, stride=2, padding=1) for i, o in ((80, 6), (6, 6), (6, 6))]
    longer = (
        torch.arange(60)[None] >= frames
    )  # a clip of that many frames in a longer batch keeps as many real frames
    for factor, count in ((4, 2), (8, 3)):
        both = Subsampling(6, factor, channels=3)
        for convolve in (lambda x, is_pad, count=count: subsample(flat[:count], x, is_pad), both):
            x, x_is_pad = convolve(torch.randn(1, frames, 80), is_pad)
            assert x.shape == (1, -(-frames // factor), 6) and x_is_pad.shape == x.shape[:2]
            assert (~convolve(torch.randn(1, 60, 80), longer)[1]).sum() == x.shape[1]


def test_padding_changes_no_encoding():
    model, clips = tiny_model(), sounds(0.71, 1.30, 0.98)
    together, pads = model.encoder(*features_of(clips, extra=5000, filler=0.7))
    for clip, row, is_pad in zip(clips, together, pads, strict=True):
        alone, alone_pad = model.encoder(*features_of([clip]))
        assert not alone_pad.any() and (~is_pad).sum() == alone.shape[1]
        torch.testing.assert_close(row[: alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)


def test_padding_changes_no_loss_and_no_gradient():
    model, clips = tiny_model(), sounds(0.71, 1.30, 0.98)
    texts = [[5, 6, 7, 7, 9], [8], [10, 11, 12]]

    def losses(indices, extra_frames=0, extra_tokens=0):
        features, is_pad = features_of([clips[i] for i in indices], extra=extra_frames)
        lengths = torch.tensor([len(texts[i]) for i in indices])
        tokens = torch.full((len(indices), int(lengths.max()) + extra_tokens), 3)
        for row, i in zip(tokens, indices, strict=True):
            row[: len(texts[i])] = torch.tensor(texts[i])
        ctc, frame_pad, logits, *_ = model(features, is_pad, tokens)
        return ctc_loss(ctc, frame_pad, tokens, lengths) + attention_loss(logits, tokens, lengths, 0.1)

    together = losses([0, 1, 2], extra_frames=7000, extra_tokens=4)
    alone = torch.cat([losses([i]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    gradients = []
    for total in (together.sum(), alone.sum()):
        model.zero_grad()
        total.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("search", ["ctc", "beam"])
def test_padding_changes_no_text(search):
    model, clips = tiny_model(3), sounds(0.71, 1.30, 0.98)

    def texts(chosen, extra=0):
        memory, is_pad = model.encoder(*features_of(chosen, extra=extra))
        ctc = model.to_ctc(memory)
        if search == "ctc":
            return greedy_ctc(ctc.log_softmax(-1), is_pad)
        return [h.tokens for h in joint_search(model.decoder, memory, ctc, is_pad, width=3)]

    alone = [texts([clip])[0] for clip in clips]
    assert texts(clips) == alone
    assert texts(clips, extra=9000) == alone
    assert any(alone)


def test_dropout_repeats_with_its_seed():
    config = ModelConfig(**{**vars(TINY), "dropout": 0.5})
    torch.manual_seed(0)
    model = SpeechModel(config, 30).train()
    features, is_pad = features_of(sounds(0.5))
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model.encoder(features, is_pad)[0])
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


def test_texts_of_one_clip_decode_as_alone():
    """Several texts of a clip are the queries of one attention."""
    model = tiny_model()
    memory, is_pad = model.encoder(*features_of(sounds(0.9, 0.6)))
    tokens = torch.tensor([[EDGE, 4, 9, 9, 5], [EDGE, 7, 6, 2, 8], [EDGE, 3, 3, 4, 2], [EDGE, 5, 8, 6, 7]])
    together = model.decoder(tokens, memory, is_pad)
    for row in range(4):
        clip = slice(row // 2, row // 2 + 1)
        alone = model.decoder(tokens[row, None], memory[clip], is_pad[clip])
        torch.testing.assert_close(together[row, None], alone, rtol=1e-4, atol=1e-5)


def ctc_of(log_probs: torch.Tensor, text: tuple[int, ...]) -> float:
    """Log probability of exactly `text`, summed over every path of log_probs (T, V)."""
    total = -float("inf")
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        merged = [c for c, before in zip(path, (BLANK, *path[:-1]), strict=True) if c not in (before, BLANK)]
        if tuple(merged) == text:
            total = np.logaddexp(total, sum(log_probs[t, c].item() for t, c in enumerate(path)))
    return total


def test_a_wide_search_finds_every_text_with_the_sum_over_its_paths():
    torch.manual_seed(0)
    frames, vocabulary = 5, 4  # blank, edge, two letters
    log_probs = torch.randn(frames, vocabulary, dtype=torch.float64)
    log_probs[:, EDGE] = -1e4
    log_probs = log_probs.log_softmax(-1)
    texts = [text for n in range(frames + 1) for text in itertools.product((2, 3), repeat=n)]
    exact = {text: ctc_of(log_probs, text) for text in texts}
    found = prefix_beam_search(log_probs.numpy(), width=1000)
    assert {tuple(one.tokens) for one in found} == {text for text, score in exact.items() if score > -np.inf}
    for one in found:
        assert one.score == pytest.approx(exact[tuple(one.tokens)], abs=1e-9)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_search_score_equals_torchs_loss_on_a_long_clip():
    torch.manual_seed(1)
    log_probs = (6 * torch.randn(300, 30)).log_softmax(-1)
    best = prefix_beam_search(log_probs.numpy(), width=50)[0]
    is_pad = torch.zeros(1, 300, dtype=torch.bool)
    text = torch.tensor([best.tokens])
    exact = -ctc_loss(log_probs[None], is_pad, text, torch.tensor([len(best.tokens)])).item()
    assert exact - 1.0 < best.score <= exact + 1e-3  # some paths were pruned
    path = greedy_ctc(log_probs[None], is_pad)[0]
    of_path = -ctc_loss(log_probs[None], is_pad, torch.tensor([path]), torch.tensor([len(path)])).item()
    assert exact >= of_path


def joint_score(model, memory, ctc, is_pad, text: list[int], weight: float) -> float:
    tokens, lengths = torch.tensor([text], dtype=torch.long), torch.tensor([len(text)])
    logits = model.decoder(torch.tensor([[EDGE, *text]]), memory, is_pad)
    attention = -attention_loss(logits, tokens, lengths, 0.0).item()
    return weight * -ctc_loss(ctc, is_pad, tokens, lengths).item() + (1 - weight) * attention


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_wide_beam_finds_the_best_of_all_texts(weight):
    model = tiny_model(5, vocabulary=4)
    memory, is_pad = model.encoder(*features_of(sounds(0.2)))
    frames = memory.shape[1]
    ctc = model.to_ctc(memory)
    ctc[..., EDGE] = -1e4
    scores = {}
    for text in (list(t) for n in range(frames + 1) for t in itertools.product((2, 3), repeat=n)):
        if len(text) + sum(a == b for a, b in zip(text, text[1:], strict=False)) <= frames:
            scores[tuple(text)] = joint_score(model, memory, ctc, is_pad, text, weight)
    best = max(scores, key=scores.get)
    found = joint_search(model.decoder, memory, ctc, is_pad, width=1000, ctc_weight=weight)[0]
    assert tuple(found.tokens) == best
    assert found.score == pytest.approx(scores[best], abs=1e-3)


def test_the_best_joint_score_of_the_searchs_texts_wins():
    for seed in range(4):
        model = tiny_model(seed)
        memory, is_pad = model.encoder(*features_of(sounds(0.6, 0.8)))
        ctc = model.to_ctc(memory)
        for clip, found in enumerate(joint_search(model.decoder, memory, ctc, is_pad, width=8)):
            rows = slice(clip, clip + 1)
            frames = ctc[clip][~is_pad[clip]].log_softmax(-1).detach().numpy()
            texts = [one.tokens for one in prefix_beam_search(frames, width=8)]
            scores = [joint_score(model, memory[rows], ctc[rows], is_pad[rows], t, 0.3) for t in texts]
            assert len(texts) == 8 and found.tokens == texts[int(np.argmax(scores))]
            assert found.score == pytest.approx(max(scores), abs=1e-3)


def test_alignment_and_greedy():
    vocabulary = 6
    path = [0, 0, 3, 3, 0, 3, 4, 4, 0]
    log_probs = torch.full((len(path), vocabulary), -8.0)
    log_probs[torch.arange(len(path)), torch.tensor(path)] = 0.0
    log_probs = log_probs.log_softmax(-1)
    assert greedy_ctc(log_probs[None], torch.zeros(1, len(path), dtype=torch.bool)) == [[3, 3, 4]]
    assert align(log_probs, [3, 3, 4]) == [(2, 3), (5, 5), (6, 7)]
    assert align(log_probs, [3] * 6) is None  # eleven frames would be needed
    assert align(log_probs, []) is None


def test_overfits_two_clips():
    tokenizer = Tokenizer()
    texts = ["a red bird", "blue wings"]
    features, is_pad = features_of(sounds(1.0, 1.2))
    spelt = [tokenizer.encode(text) for text in texts]
    lengths = torch.tensor([len(ids) for ids in spelt])
    tokens = torch.tensor(spelt)
    model = tiny_model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(120):
        loss = joint_loss(model(features, is_pad, tokens), tokens, lengths, LossWeights(smoothing=0.0))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert loss.total.item() < 0.05
    model.eval()
    memory, frame_pad = model.encoder(features, is_pad)
    ctc = model.to_ctc(memory)
    for found in (
        greedy_ctc(ctc, frame_pad),
        [h.tokens for h in joint_search(model.decoder, memory, ctc, frame_pad, width=4)],
    ):
        assert [tokenizer.decode(ids) for ids in found] == texts


def test_bfloat16_autocast_trains():
    model = tiny_model().train()
    features, is_pad = features_of(sounds(0.6, 0.9))
    tokens, lengths = torch.tensor([[3, 4], [5, 0]]), torch.tensor([2, 1])

    def total():
        return joint_loss(model(features, is_pad, tokens), tokens, lengths).total

    exact = total()
    with torch.autocast("cpu", torch.bfloat16):
        rough = total()
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    rough.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_clip_without_words_has_a_loss():
    """Noise teaches the model to say nothing."""
    model = tiny_model()
    features, is_pad = features_of(sounds(0.6))
    tokens = torch.zeros(1, 0, dtype=torch.long)
    loss = joint_loss(model(features, is_pad, tokens), tokens, torch.tensor([0]))
    assert all(part.isfinite() for part in loss)


def test_consistency_is_half_the_symmetric_divergence_of_two_views():
    """Against torch's own divergence, frame by frame; padding counts nothing."""
    torch.manual_seed(0)
    logits = torch.randn(4, 3, 5, requires_grad=True)  # two clips, two views
    is_pad = torch.tensor([[False] * 3, [False, False, True]] * 2)
    found = consistency_loss(logits, is_pad)
    p, q = logits.softmax(-1).chunk(2)
    both = (p * (p / q).log() + q * (q / p).log()).sum(-1)  # (2, 3)
    torch.testing.assert_close(found, 0.5 * torch.stack([both[0].sum(), both[1, :2].sum()]))
    # each view is drawn to the other as it stands: of KL(target || view) the gradient is view - target
    found.sum().backward()
    torch.testing.assert_close(logits.grad[0], 0.5 * (p[0] - q[0]).detach(), atol=1e-6, rtol=1e-4)
    assert consistency_loss(logits[:1].repeat(2, 1, 1), is_pad[:2] & False).item() == pytest.approx(
        0.0, abs=1e-6
    )


def test_the_joint_loss_is_made_of_its_parts():
    model = tiny_model(2)
    features, is_pad = features_of(sounds(0.9, 0.7))
    features, is_pad = features.repeat(2, 1, 1), is_pad.repeat(2, 1)
    features[2:] += 0.3 * torch.randn(features[2:].shape, generator=torch.Generator().manual_seed(0))
    tokens, lengths = torch.tensor([[3, 4], [5, 0]] * 2), torch.tensor([2, 1] * 2)
    outputs = model(features, is_pad, tokens)
    ends = (lengths + 1).sum()
    ctc, middle = (
        ctc_loss(logits, outputs.is_pad, tokens, lengths).sum() / ends
        for logits in (outputs.ctc_logits, outputs.middle_logits)
    )
    attention = attention_loss(outputs.logits, tokens, lengths, 0.1).sum() / ends
    consistency = consistency_loss(outputs.ctc_logits, outputs.is_pad).sum() / (ends / 2)
    found = joint_loss(outputs, tokens, lengths, LossWeights(ctc=0.4, intermediate=0.25, consistency=0.2))
    expected = 0.4 * (0.75 * ctc + 0.25 * middle + 0.2 * consistency) + 0.6 * attention
    torch.testing.assert_close(found.total, expected)
    # in two processes, each with one clip: their losses are parts of the whole
    parts = [
        joint_loss(
            Outputs(*(None if part is None else part[i::2] for part in outputs)), tokens[i::2], lengths[i::2],
            LossWeights(ctc=0.4, intermediate=0.25, consistency=0.2), ends,
        ).total
        for i in range(2)
    ]  # fmt: skip
    torch.testing.assert_close(sum(parts), found.total)


def test_a_batch_takes_clips_as_often_as_their_weight():
    lengths = np.full(400, 16_000)
    plan = BatchPlan(lengths, 8.0, seed=1, weights=np.repeat([0.25, 1.0, 2.5, 0.0], 100))
    taken = np.concatenate([plan.batch(step) for step in range(len(plan._epoch(0)))])
    times = np.bincount(taken, minlength=400).reshape(4, 100)
    assert (
        set(times[1]) == {1} and set(times[3]) == {0} and set(times[0]) == {0, 1} and set(times[2]) == {2, 3}
    )
    assert times.sum(axis=1)[[0, 2]] == pytest.approx([25, 250], abs=15)


def test_tokenizer():
    tokenizer = Tokenizer()
    assert normalise("  A grey-blue bird\u2019s TAIL, caf\u00e9; 12 m! ") == "a grey blue bird's tail cafe m"
    assert tokenizer.decode(tokenizer.encode("It's Red.")) == "it's red"
    assert len(tokenizer) == 30 and min(tokenizer.encode("abc' z")) > EDGE
    assert Tokenizer.from_json(tokenizer.as_json()).characters == tokenizer.characters
    start = ["<blank>", "<edge>"]
    for wrong in (["a", "b"], None, {}, start, [*start, 1], [*start, "ab"], [*start, "a", "a"], [start, "a"]):
        with pytest.raises(UserError, match="vocabulary"):
            Tokenizer.from_json(wrong)


def test_the_first_epochs_may_go_from_short_to_long():
    lengths = np.random.default_rng(0).integers(16_000, 8 * 16_000, 200)
    plan = BatchPlan(lengths, 24.0, seed=1, sorted_epochs=1)
    steps, seen = 0, 0
    while seen < 200:
        seen += len(plan.batch(steps))
        steps += 1
    longest = [int(lengths[plan.batch(step)].max()) for step in range(2 * steps)]
    first, second = longest[:steps], longest[steps:]
    assert (
        all(b > 0.8 * a for a, b in itertools.pairwise(first))
        and first[0] < 2 * 16_000 < 7 * 16_000 < first[-1]
    )
    assert any(b < 0.5 * a for a, b in itertools.pairwise(second))
    assert sorted(np.concatenate([plan.batch(step) for step in range(steps)])) == list(range(200))


def test_batches_are_a_function_of_the_step():
    lengths = np.random.default_rng(0).integers(16_000, 96_000, 300)
    plan = BatchPlan(lengths, 24.0, seed=1)
    batches = [plan.batch(step) for step in range(120)]
    again = BatchPlan(lengths, 24.0, seed=1)
    for step in (97, 3, 119, 0):
        assert np.array_equal(again.batch(step), batches[step])
    assert not np.array_equal(BatchPlan(lengths, 24.0, seed=2).batch(0), batches[0])
    for batch in batches:
        assert lengths[batch].max() * len(batch) <= 24 * 16_000
    epoch, seen = 0, []
    while len(seen) < len(lengths):
        seen += batches[epoch].tolist()
        epoch += 1
    assert sorted(seen) == list(range(len(lengths)))  # an epoch has every clip once
    with pytest.raises(UserError, match="batch_seconds"):
        BatchPlan(lengths, 2.0, seed=0)
    with pytest.raises(UserError, match="no clips"):
        BatchPlan(np.array([], int), 2.0, seed=0)


def test_augmentation_is_a_function_of_its_generator():
    clip = sounds(1.0)[0]
    always = Augmentation(noise=1.0, reverb=1.0, silence=0.0)
    changed = [augment(clip, np.random.default_rng([7, i]), always)[0] for i in (0, 0, 1)]
    assert np.array_equal(changed[0], changed[1])
    assert not np.array_equal(changed[0][:8000], changed[2][:8000])
    assert all(sound.dtype == np.float32 and np.isfinite(sound).all() for sound in changed)
    assert all(0.85 < len(sound) / len(clip) < 1.15 for sound in changed)
    noise, is_spoken = augment(clip, np.random.default_rng(0), Augmentation(silence=1.0))
    assert not is_spoken and len(noise) == len(clip)
    none = Augmentation(speed=False, noise=0.0, reverb=0.0, silence=0.0)
    assert np.array_equal(augment(clip, np.random.default_rng(0), none)[0], clip)
    features, is_pad = features_of(sounds(1.0, 0.4))
    masked = [
        mask_features(features, is_pad, [np.random.default_rng(i) for i in (3, 4)], always) for _ in range(2)
    ]
    assert torch.equal(*masked) and not torch.equal(masked[0], features)
