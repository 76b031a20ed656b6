"""Encoders by name: what every one of them must do, the Conformer's parts, and one that is registered from outside."""

from dataclasses import replace

import pytest
import torch

from asr.encoders import conformer
from asr.encoders.base import ModelConfig
from asr.encoders.registry import ENCODERS, build_encoder, register
from asr.losses import joint_loss
from asr.model import SpeechModel
from core.errors import UserError
from examples import asr_encoder_gru  # registers "gru"


def tiny(encoder: str) -> ModelConfig:
    return ModelConfig(
        encoder=encoder, width=16, heads=2, encoder_layers=2, decoder_layers=1, feed_forward=24, kernel=5, dropout=0.0
    )  # fmt: skip


def features(*frames: int, longest: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (B, T, 80) and is_pad (B, T) of clips of so many frames, padded with rubbish."""
    T = max(*frames, longest)
    clips = [torch.randn(T, 80, generator=torch.Generator().manual_seed(n)) for n in frames]
    is_pad = torch.arange(T)[None] >= torch.tensor(frames)[:, None]
    return torch.stack(clips), is_pad


@pytest.mark.parametrize("name", ["transformer", "conformer", "conformer, half rate", "gru"])
@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(name, training):
    torch.manual_seed(0)
    config = tiny(name.partition(",")[0])
    if "half rate" in name:
        config.encoder_layers, config.half_rate = 4, 2
    encoder = build_encoder(config).train(training)
    clips = (37, 64, 41)
    x, is_pad = features(*clips)
    memory, memory_pad = encoder(x, is_pad)
    assert memory.shape == (3, -(-64 // encoder.subsampling), 16)
    assert (~memory_pad).sum(dim=1).tolist() == [-(-n // encoder.subsampling) for n in clips]
    longer = torch.nn.functional.pad(x, (0, 0, 0, 30), value=9.0)
    padded, padded_pad = encoder(longer, torch.nn.functional.pad(is_pad, (0, 30), value=True))
    torch.testing.assert_close(padded[~padded_pad], memory[~memory_pad], rtol=1e-4, atol=1e-5)
    if not training:
        for i, n in enumerate(clips):
            alone, _ = encoder(x[i : i + 1, :n], torch.zeros(1, n, dtype=torch.bool))
            torch.testing.assert_close(alone[0], memory[i][~memory_pad[i]], rtol=1e-4, atol=1e-5)


def test_blocks_in_the_middle_see_half_as_many_frames():
    torch.manual_seed(0)
    config = tiny("conformer")
    config.encoder_layers, config.half_rate = 5, 3
    encoder = build_encoder(config).eval()
    seen = []
    for block in encoder.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    x, is_pad = features(60)  # 15 frames of 40 ms
    memory, middle, _ = encoder.with_middle(x, is_pad)
    assert seen == [15, 8, 8, 8, 15] and memory.shape == middle.shape == (1, 15, 16)
    # where these blocks change nothing, all frames pass as they are
    for block in encoder.blocks[1:4]:
        for module in (block.first, block.second):
            torch.nn.init.zeros_(module[-1].weight), torch.nn.init.zeros_(module[-1].bias)
        for module in (block.attention.to_out, block.convolution.to_out):
            torch.nn.init.zeros_(module.weight), torch.nn.init.zeros_(module.bias)
    others = build_encoder(replace(config, encoder_layers=2, half_rate=0)).eval()
    others.load_state_dict(encoder.state_dict() | {
        key.replace("blocks.4", "blocks.1"): value for key, value in encoder.state_dict().items() if "blocks.4" in key
    }, strict=False)  # fmt: skip
    torch.testing.assert_close(encoder(x, is_pad)[0], others(x, is_pad)[0])


def test_a_half_rate_needs_a_block_on_either_side():
    config = replace(tiny("conformer"), half_rate=1)
    with pytest.raises(UserError, match="half_rate=1, encoder_layers=2: .* two blocks fewer"):
        SpeechModel(config, 12)


@pytest.mark.parametrize("name", ["transformer", "conformer", "gru"])
def test_steps_of_training_lower_the_loss(name):
    torch.manual_seed(0)
    model = SpeechModel(tiny(name), 12).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    x, is_pad = features(40, 52)
    tokens, lengths = torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([3, 2])
    losses = []
    for _ in range(20):
        loss = joint_loss(model(x, is_pad, tokens), tokens, lengths).total
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_relative_positions_by_hand():
    torch.manual_seed(0)
    T, P = 5, 9
    score = torch.randn(2, 3, T, P)
    shifted = conformer._by_distance(score)
    for i in range(T):
        for j in range(T):
            assert torch.equal(shifted[..., i, j], score[..., i, T - 1 - (i - j)])
    # attention alone sees distances, not places: what is moved gives what is moved
    attention = conformer.RelativeAttention(8, 2)
    torch.nn.init.normal_(attention.distance_bias)
    x = torch.randn(1, 6, 8)
    codes = conformer.sinusoids(torch.arange(5, -6, -1), 8)
    whole = attention(x, codes, torch.zeros(1, 6, dtype=torch.bool))
    later = attention(
        torch.cat([torch.randn(1, 2, 8), x[:, :4]], 1), codes, torch.tensor([[True] * 2 + [False] * 4])
    )
    alone = attention(x[:, :4], codes[2:-2], torch.zeros(1, 4, dtype=torch.bool))
    torch.testing.assert_close(later[:, 2:], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole[:, :4], alone, atol=1e-3)


def test_names_of_encoders():
    with pytest.raises(
        UserError, match='no speech encoder "conformr" .*did you mean "conformer".*transformer'
    ):
        build_encoder(tiny("conformr"))
    register("gru", asr_encoder_gru.GruEncoder)  # the same again is no harm
    with pytest.raises(ValueError, match="registered already"):
        register("conformer", asr_encoder_gru.GruEncoder)
    assert {"transformer", "conformer", "gru"} <= set(ENCODERS)
    for wrong in ({"heads": 7}, {"kernel": 4}, {"width": 6, "heads": 2}):
        with pytest.raises(UserError, match="="):
            SpeechModel(ModelConfig(**wrong), 12)


def test_an_encoder_from_outside_trains_by_the_trainer_and_is_loaded_again(tmp_path):
    from test_recognizer import make_set

    from asr.recognizer import Recognizer
    from training.asr import RunConfig, SpeechData, TrainAsr, train

    make_set(tmp_path / "LJ")
    data = SpeechData(root=str(tmp_path / "LJ"), cache=str(tmp_path / "cache"), spoken=False)
    run = RunConfig(name="gru", root=str(tmp_path), steps=2, threads=1, device="cpu", sample_every=0)
    train(TrainAsr(data=data, model=tiny("gru"), run=run, batch_seconds=6, warmup=1, beam=0))
    recognizer = Recognizer.load(tmp_path / "gru" / "model")
    assert isinstance(recognizer.model.encoder, asr_encoder_gru.GruEncoder)
