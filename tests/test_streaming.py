"""A stream is heard as the recording is: pieces, rates, partial texts, padding; and only where somebody speaks."""

from collections.abc import Iterator

import numpy as np
import pytest

from asr.audio import load_audio, resample
from asr.pauses import LONGEST_PIECE, Segmenter, framed, split
from asr.recognizer import END_SILENCE, Recognizer
from asr.streaming import StreamingRecognizer, StreamingResampler
from asr.voice_activity import STEP, VoiceActivity, speech_probability
from core.errors import UserError

RATE = 16_000
SAMPLES = ("blue_bird", "green_tail", "red_crown")


@pytest.fixture(scope="module")
def released(root) -> Recognizer:
    return Recognizer.load(root / "weights" / "recognizer")


@pytest.fixture(scope="module")
def clips(root) -> list[np.ndarray]:
    return [load_audio(root / "samples" / f"{name}.ogg") for name in SAMPLES]


def test_other_seeds_make_other_sounds():
    from evaluation.nonspeech import sounds

    one, again, other = sounds(), sounds(0), sounds(1)
    assert (
        all(np.array_equal(sound, again[name]) for name, sound in one.items()) and one.keys() == other.keys()
    )
    same = [name for name in one if np.array_equal(one[name], other[name])]
    assert same == ["silence 0", "silence 1", "silence 2", "silence 3"]


def blocks(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[i : i + size] for i in range(0, len(samples), size)]


# --- where somebody speaks ---


def test_the_network_is_the_published_one(clips, monkeypatch):
    """The expected numbers are those of silero-vad 6.2.3 itself (silero_vad.jit), window by window."""
    monkeypatch.setattr("asr.voice_activity.MOST_GAIN", 1.0)  # bringing quiet sound up is ours
    noise = np.random.default_rng(0).standard_normal(16 * STEP)
    sound = (0.5 * clips[0][: 16 * STEP] / np.abs(clips[0]).max() + 0.06 * noise).astype(np.float32)
    expected = [
        0.0083, 0.0104, 0.0472, 0.0391, 0.0210, 0.0191, 0.0125, 0.0202,
        0.8596, 0.7456, 0.8383, 0.9408, 0.9389, 0.9669, 0.9643, 0.9953,
    ]  # fmt: skip
    assert speech_probability(sound) == pytest.approx(expected, abs=2e-3)


def test_probabilities_do_not_depend_on_blocks_nor_speech_on_its_level(clips):
    whole = speech_probability(clips[1])
    for size in (160, 592, 16_000):
        activity = VoiceActivity()
        parts = [activity.feed(block) for block in blocks(clips[1], size)] + [activity.finish()]
        assert np.array_equal(np.concatenate(parts), whole)
    for gain in (0.1, 0.01):
        assert np.allclose(split(clips[1] * np.float32(gain)), split(clips[1]), atol=STEP)


def test_no_text_is_invented_where_nobody_speaks(released):
    """One sound in three of those that `evaluate.py --metric invented` measures, and their loudness is no reason."""
    from evaluation.nonspeech import sounds

    every = sounds()
    assert len(every) == 100 and all(np.abs(sound).max() <= 1 for sound in every.values())
    chosen = dict(list(every.items())[::3])
    texts = released.transcribe_batch(list(chosen.values()), beam=0)
    assert [name for name, text in zip(chosen, texts, strict=True) if text] == []
    # the one that voice activity takes for speech: its phones are less certain than those of any
    certain = released.phone_certainties(every["melody 4"])
    assert len(certain) == 1 and certain[0] < released.least_certainty
    assert released.transcribe(every["melody 4"]).no_speech
    assert released.transcribe_batch([every["melody 4"]]) == [""]
    heard = released.transcribe(every["melody 0"], beam=0)
    assert heard.no_speech and heard.why_nothing.startswith("no speech heard")


# --- pieces ---


@pytest.fixture(scope="module")
def long_recording(clips) -> np.ndarray:
    """Sentences with pauses of many lengths, one stretch without any, and silence at the end."""
    quiet = [np.zeros(int(s * RATE), np.float32) for s in (0.1, 0.7, 1.7, 2.5)]
    run = [clips[i % 3][RATE // 5 : -RATE // 5] for i in range(7)]
    return np.concatenate(
        [quiet[3], clips[0], quiet[1], clips[1], quiet[2], clips[2], quiet[3], *run, quiet[3]]
    )


@pytest.mark.parametrize("size", [592, 70_001])
def test_a_stream_is_cut_where_the_recording_is(long_recording, size):
    whole = split(long_recording)
    segmenter, found, fed = Segmenter(), [], 0
    for block in blocks(long_recording, size):
        before = segmenter.needed
        closed = segmenter.feed(block)
        fed += len(block)
        assert all(
            first >= before and last <= fed for first, last in closed
        )  # nothing that was let go is asked for
        assert fed - segmenter.needed <= (LONGEST_PIECE + 2) * RATE + size
        found += closed
    assert found + segmenter.finish() == whole
    assert len(whole) >= 5 and all(0 < last - first <= LONGEST_PIECE * RATE for first, last in whole)
    assert all(a[1] <= b[0] for a, b in zip(whole, whole[1:], strict=False))
    loud = np.abs(long_recording) > 0.05
    for first, last in whole:
        loud[first:last] = False
    assert not loud.any()


# --- rates ---


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("size", [137, 4_410])
def test_a_stream_is_resampled_as_the_recording_is(rate, size):
    sound = np.random.default_rng(rate).standard_normal(rate // 2 + 7).astype(np.float32)
    resampler = StreamingResampler(rate)
    parts = [resampler.feed(block) for block in blocks(sound, size)] + [resampler.finish()]
    assert np.allclose(np.concatenate(parts), resample(sound, rate), atol=1e-6)
    assert all(len(part) for part in parts[8:-2]) or size == 137  # it does not wait for the end
    assert len(resampler._sound) < 4 * max(size, 2_000)


def test_a_rate_that_cannot_be_is_refused(released):
    with pytest.raises(UserError, match="1000 to 768000 Hz"):
        StreamingRecognizer(released, rate=10)
    with pytest.raises(UserError, match="int64"):
        StreamingRecognizer(released).feed(np.zeros(100, np.int64))


# --- texts ---


@pytest.mark.parametrize("size", [592, 1600, 16_000])
def test_a_stream_ends_in_the_transcript_of_the_recording(released, clips, size, monkeypatch):
    monkeypatch.setattr("asr.streaming.INTERVAL", 1.5)  # a test need not look often
    sound = np.concatenate([clips[0], np.zeros(2 * RATE, np.float32), clips[2]])
    listener = StreamingRecognizer(released, beam=0)
    seen = [listener.feed(block) for block in blocks(sound, size)]
    heard = listener.finish()
    assert heard == released.transcribe(sound, beam=0)  # words, times and confidences too
    assert heard.text == " ".join(released.transcribe(clip, beam=0).text for clip in (clips[0], clips[2]))
    assert any(partial.tentative for partial in seen) and seen[0] == ("", "")
    assert seen[-1].stable.startswith(released.transcribe(clips[0], beam=0).text)  # finished long ago
    assert len(listener._sound) < (LONGEST_PIECE + 2) * RATE


def test_a_stereo_stream_of_another_rate_is_heard(released, clips, monkeypatch):
    monkeypatch.setattr("asr.streaming.INTERVAL", 9.0)
    sound = np.repeat(clips[1], 3)  # 48 kHz
    stereo = (np.stack([sound, sound], axis=1) * 32767).astype(np.int16)
    listener = StreamingRecognizer(released, rate=48_000, beam=0)
    for block in blocks(stereo, 4_800):
        listener.feed(block)
    expected = released.transcribe((48_000, stereo), beam=0)
    heard = listener.finish()
    assert heard.text == expected.text and heard.seconds == expected.seconds
    assert heard.loudest == pytest.approx(expected.loudest, rel=1e-4)


@pytest.fixture
def with_ends(released) -> Iterator[Recognizer]:
    """As recognisers are trained now; the first releases do without."""
    released.end_silence = END_SILENCE
    yield released
    released.end_silence = None


def test_a_clip_is_heard_alike_alone_in_a_batch_and_padded(with_ends, clips):
    alone = [with_ends.transcribe(clip, beam=0).text for clip in clips]
    assert with_ends.transcribe_batch((clips * 6)[:16], beam=0) == (alone * 6)[:16]
    for before, after in ((160_000, 0), (0, 160_000), (160_077, 12_345)):
        padded = [np.pad(clip, (before, after)) for clip in clips]
        for clip, longer in zip(clips, padded, strict=True):
            (first, last), (first_of, last_of) = split(longer)[0], split(clip)[0]
            one, two = framed(longer[first:last], 0.1)[0], framed(clip[first_of:last_of], 0.1)[0]
            assert np.array_equal(one, two)
    assert with_ends.transcribe_batch(padded, beam=0) == alone


def test_nothing_fed_is_no_speech(released):
    heard = StreamingRecognizer(released).finish()
    assert heard == released.transcribe(np.zeros(0, np.float32)) and heard.no_speech
