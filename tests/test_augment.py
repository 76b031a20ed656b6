"""What is done to training sounds: each does what its name says, and all are functions of the generator."""

import time

import numpy as np
import pytest
import soundfile
import torch

from asr import augment as changes
from asr.augment import Augmentation, augment
from asr.features import LogMel
from core.errors import UserError

RATE = 16_000
OFF = {"speed": False, "noise": 0.0, "reverb": 0.0, "silence": 0.0}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def white(seconds: float = 1.0, seed: int = 9) -> np.ndarray:
    return (0.1 * rng(seed).standard_normal(round(RATE * seconds))).astype(np.float32)


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def power(samples: np.ndarray, low: float, high: float) -> float:
    spectrum = np.square(np.abs(np.fft.rfft(samples)))
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(spectrum[(hertz >= low) & (hertz < high)].mean())


@pytest.fixture(scope="module")
def noises(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("noises")
    soundfile.write(folder / "hum.wav", 0.3 * np.sin(2 * np.pi * 1000 * np.arange(4000) / RATE), RATE)
    soundfile.write(folder / "hiss.flac", white(0.5), RATE)
    (folder / "README.txt").write_text("of no use as a sound")
    return str(folder)


def everything(noises: str) -> Augmentation:
    return Augmentation(
        noise=0.7,
        reverb=0.7,
        room="shoebox",
        noise_folder=noises,
        recorded=0.5,
        band=0.5,
        level=0.5,
        codec=0.5,
        end_silence=0.5,
    )


def test_every_change_is_a_function_of_the_generator(noises):
    for seed in range(20):
        one, same, other = (augment(white(), rng(s), everything(noises))[0] for s in (seed, seed, seed + 100))
        assert one.dtype == np.float32 and np.isfinite(one).all()
        np.testing.assert_array_equal(one, same)
        assert len(one) != len(other) or not np.array_equal(one, other)


def test_what_is_switched_off_draws_nothing():
    """The recipe of the released recogniser gives the samples that it gave before there were other changes."""
    clip, plain = white(), Augmentation(noise=1.0, reverb=1.0, silence=0.0)
    drawn = rng(3)
    drawn.random()
    expected = changes.change_speed(clip, changes.SPEEDS[drawn.integers(len(changes.SPEEDS))])
    drawn.random()
    expected = changes.reverberate(expected, drawn, drawn.uniform(*plain.decay))
    drawn.random()
    loudness = np.sqrt(np.square(expected).mean()) * 10 ** (-drawn.uniform(*plain.snr) / 20)
    expected = expected + loudness * changes.coloured_noise(len(expected), drawn)
    np.testing.assert_array_equal(augment(clip, rng(3), plain)[0], expected.astype(np.float32))


@pytest.mark.parametrize("decay", [0.15, 0.4])
def test_a_room_fades_by_60_db_in_its_time(decay):
    click = np.zeros(RATE, np.float32)
    click[0] = 1.0
    found = []
    for seed in range(20):
        echo = changes.reverberate_in_shoebox(click, rng(seed), decay)
        assert echo[0] == pytest.approx(1.0, abs=1e-4) and np.abs(echo[1:]).max() < 4
        left = 10 * np.log10(np.cumsum(np.square(echo[::-1], dtype=np.float64))[::-1] + 1e-20)
        left -= left[0]
        found.append((np.argmax(left < -25) - np.argmax(left < -5)) / RATE * 3)
    assert np.median(found) == pytest.approx(decay, rel=0.2)


def test_the_images_of_a_room_are_those_of_three_reflections():
    cells, flips = changes._images()
    order = np.abs(2 * cells - flips).sum(axis=1)
    assert [int((order == n).sum()) for n in range(5)] == [1, 6, 18, 38, 0]  # of the octahedral numbers
    assert len({tuple(row) for row in np.hstack([cells, flips]).tolist()}) == len(order)


def test_recorded_noise_has_the_ratio_asked_for(noises):
    config = Augmentation(
        **OFF | {"noise": 1.0, "snr": (10.0, 10.0), "noise_folder": noises, "recorded": 1.0}
    )
    clip = white(2.0)
    heard = []
    for seed in range(12):
        noise = augment(clip, rng(seed), config)[0] - clip
        assert decibels(np.square(clip).sum() / np.square(noise).sum()) == pytest.approx(10, abs=0.1)
        heard.append(
            power(noise, 990, 1010) > 20 * power(noise, 3000, 4000)
        )  # the hum, repeated without a jump
    assert set(heard) == {True, False}


def test_folders_without_noise_are_a_users_error(tmp_path):
    for folder, said in ((tmp_path, "holds no recording"), (tmp_path / "no", "No such file")):
        with pytest.raises(UserError, match=said):
            changes.load_noises(str(folder))


def test_a_band_keeps_what_is_in_it():
    clip, lows, highs = white(), [], []
    for seed in range(20):
        out = changes.limit_band(clip, rng(seed))
        assert decibels(power(out, 900, 1500) / power(clip, 900, 1500)) == pytest.approx(0, abs=1)
        lows.append(decibels(power(out, 1, 25) / power(clip, 1, 25)))
        highs.append(decibels(power(out, 7600, 8000) / power(clip, 7600, 8000)))
    assert max(lows) < -6 and max(highs) < -6 and min(lows) < -30 and min(highs) < -25


def test_levels_are_clipped_in_steps_of_16_bits():
    clip = white()
    peaks = []
    for seed in range(60):
        out = changes.change_level(clip, rng(seed))
        np.testing.assert_allclose(out * 32767, np.rint(out * 32767), atol=2e-3)
        peaks.append(np.abs(out).max())
        assert np.count_nonzero(np.abs(out) > 0.9999) < len(out) / 2
    assert max(peaks) == pytest.approx(1.0) and min(peaks) < 0.05
    assert sum(peak > 0.9999 for peak in peaks) in range(5, 25)  # 12 of 52 dB
    assert not changes.change_level(np.zeros(10, np.float32), rng()).any()


def test_mu_law_is_that_of_g711():
    x = np.linspace(-1, 1, 5001, dtype=np.float32)
    out = changes.companded(x, rng())
    quiet = changes.companded(np.linspace(0, 0.02, 5001, dtype=np.float32), rng())
    assert len(np.unique(quiet)) + len(np.unique(out[x > 0.021])) == pytest.approx(128, abs=1)
    assert np.abs(out - x).max() < 0.023  # half a step at full scale, log(256) / 127 / 2
    tone = 0.5 * np.sin(np.arange(RATE) / 5).astype(np.float32)
    assert 36 < decibels(np.square(tone).sum() / np.square(changes.companded(tone, rng()) - tone).sum()) < 40


def test_silence_at_the_ends_leaves_the_sound_as_it_was():
    config = Augmentation(speed=False, noise=0, reverb=0, silence=0, end_silence=1.0)
    sound, before, after = white() + 2.0, [], []  # nowhere 0
    for seed in range(30):
        out, spoken = augment(sound, rng(seed), config)
        start = int(np.flatnonzero(out)[0])
        np.testing.assert_array_equal(out[start : start + len(sound)], sound)
        assert spoken and not out[:start].any() and not out[start + len(sound) :].any()
        before.append(start / RATE)
        after.append((len(out) - start - len(sound)) / RATE)
    for ends in (before, after):
        assert max(ends) <= 0.3 and min(ends) < 0.05 and max(ends) > 0.25
    assert before != after


def test_a_codec_errs_by_its_bits_in_every_band():
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
    for seed in range(10):
        out = changes.coded(tone, rng(seed))
        assert decibels(power(out, 430, 450) / power(tone, 430, 450)) == pytest.approx(0, abs=1.5)
        out = changes.coded(white(), rng(seed))
        for low in (200, 1000, 4000, 6000):
            assert decibels(power(out, low, 1.2 * low) / power(white(), low, 1.2 * low)) == pytest.approx(
                0, abs=3
            )
    noise = white()
    ratios = [
        decibels(np.square(noise).sum() / np.square(changes.coded(noise, rng(s)) - noise).sum())
        for s in range(20)
    ]
    assert 3 < min(ratios) < max(ratios) < 25
    for length in (1, 255, 256, 257, 1000):
        assert changes.coded(noise[:length], rng()).shape == (length,)


def test_all_of_it_costs_a_few_milliseconds(noises):
    clip, config = white(5.0), everything(noises)
    augment(clip, rng(), config)
    start = time.process_time()
    for seed in range(10):
        augment(clip, rng(seed), config)
    assert (time.process_time() - start) / 10 < 0.1  # about 10 ms on a quiet machine


def test_frequencies_are_stretched_as_another_vocal_tract_would():
    front_end = LogMel()

    def log_mel(hertz: float) -> torch.Tensor:
        tone = torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)[None]
        return front_end.power(tone).log().mean(dim=1)  # (1, 80)

    for factor in (0.9, 1.0, 1.12):
        warp = torch.from_numpy(changes.warp_matrix(factor))
        for hertz in (300.0, 1000.0, 3000.0):
            found, expected = (int(one.argmax()) for one in (log_mel(hertz) @ warp, log_mel(hertz * factor)))
            assert abs(found - expected) <= 1
        assert torch.allclose(warp.sum(dim=0), torch.ones(80))  # means stay means
    features = torch.randn(2, 7, 80, generator=torch.Generator().manual_seed(0))
    assert changes.warp_frequencies(features, [rng(), rng()], Augmentation()) is features
    warped = changes.warp_frequencies(features, [rng(1), rng(2)], Augmentation(vocal_tract=0.1))
    assert warped.shape == features.shape
    alone = changes.warp_frequencies(features[1:], [rng(2)], Augmentation(vocal_tract=0.1))
    assert torch.allclose(warped[1:], alone) and not torch.allclose(warped, features)
