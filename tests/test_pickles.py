"""Pickles: what published sets hold is read, what carries code is refused and never run."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from data.cub import read_captions_pickle
from data.pickles import load_pickle


class Runs:
    """Unpickling it would create the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def write(path: Path, value: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_arrays_come_back(tmp_path, protocol):
    shared = np.arange(6, dtype=">i2").reshape(2, 3)
    value = {
        "names": ["001.A/b", ("ü", b"\x00\xff", b"")],
        1: [2**70, -1.5, True, None],
        "floats": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big-endian": [shared, shared],
        "text": np.array(["a", "crown"]),
        "bytes": np.array([b"a", b"bcd"]),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.float32(0.25),
        "int": np.int64(7),
    }
    got = load_pickle(write(tmp_path / "a.pickle", value, protocol))
    assert got.keys() == value.keys()
    assert got["names"] == value["names"] and got[1] == value[1]
    assert got["big-endian"][0] is got["big-endian"][1]
    for key, expected in value.items():
        if isinstance(expected, np.ndarray | np.generic):
            assert type(got[key]) is type(expected), key
            assert got[key].dtype == expected.dtype
            np.testing.assert_array_equal(got[key], expected)
    np.testing.assert_array_equal(got["big-endian"][0], shared)


def test_object_arrays_of_plain_values_come_back(tmp_path):
    value = np.empty((2, 2), object)
    value[0, 0], value[0, 1], value[1, 0], value[1, 1] = [1, 2], "a", np.arange(3.0), None
    got = load_pickle(write(tmp_path / "a.pickle", [value]))[0]
    assert got.shape == (2, 2) and got[0, 0] == [1, 2] and got[0, 1] == "a" and got[1, 1] is None
    np.testing.assert_array_equal(got[1, 0], np.arange(3.0))


def test_embeddings_of_python_2_are_read(tmp_path):
    """The form of char-CNN-RNN-embeddings.pickle: protocol 2 of Python 2, the data as a byte string."""
    data = np.array([[0.5, -2.0]], "<f4").tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01K\x02\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(data)]) + data + b"tb"
    )
    path = tmp_path / "embeddings.pickle"
    path.write_bytes(b"\x80\x02](" + array + b"e.")
    got = load_pickle(path)
    assert got[0].dtype == np.float32 and got[0].tolist() == [[0.5, -2.0]]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", ["alone", "list", "dict", "object array", "object scalar"])
def test_code_is_refused_and_not_run(tmp_path, protocol, wrap):
    evil = Runs(tmp_path / "ran")
    value: object = evil
    if wrap == "list":
        value = ["a", evil]
    elif wrap == "dict":
        value = {"a": [evil]}
    elif wrap.startswith("object"):
        value = np.empty(2 if wrap == "object array" else (), object)
        value[...] = evil  # type: ignore[index]
    path = write(tmp_path / "evil.pickle", value, protocol)
    with pytest.raises(UserError, match=r"evil\.pickle was refused.*(posix|nt)\.system") as caught:
        load_pickle(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    pickle.loads(path.read_bytes())  # it would have run
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"(S'ls'\nios\nsystem\n.",
        b"ccopyreg\n_reconstructor\n.",
    ],
)
def test_other_globals_are_refused(tmp_path, stream):
    path = tmp_path / "a.pickle"
    path.write_bytes(stream)
    with pytest.raises(UserError, match="was refused"):
        load_pickle(path)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"not a pickle",
        b"\x80\x02](U\x05a",  # cut short
        b"cnumpy\nndarray\n.",  # a bare function
        b"cnumpy\nndarray\n(tR.",  # an array never filled
        b"cnumpy\ndtype\n}S'__call__'\nI1\nsb.",  # a function altered
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        # an object array from raw bytes, which numpy would take for pointers
        b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\ntRI00\nS'AAAAAAAA'\ntb.",
        b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I9\ntcnumpy\ndtype\n(S'f4'\ntRI00\nS'AAAA'\ntb.",
    ],
)
def test_damaged_pickles_are_a_users_error(tmp_path, stream):
    path = tmp_path / "a.pickle"
    path.write_bytes(stream)
    with pytest.raises(UserError, match="not a readable pickle"):
        load_pickle(path)


def test_missing_pickle(tmp_path):
    with pytest.raises(UserError, match="cannot read the pickle"):
        load_pickle(tmp_path / "none.pickle")


def test_captions_pickle(tmp_path):
    words = {0: "<end>", 1: "red", 2: "bird"}
    path = write(tmp_path / "captions.pickle", [[[1, 2]], [[2]], words, {w: i for i, w in words.items()}])
    got = read_captions_pickle(path)
    assert got.train == [[1, 2]] and got.test == [[2]] and got.words == ["<end>", "red", "bird"]
    with pytest.raises(UserError, match="is not AttnGAN's captions.pickle"):
        read_captions_pickle(write(path, [1, 2]))
    with pytest.raises(UserError, match="does not number its 2 words"):
        read_captions_pickle(write(path, [[], [], {0: "a", 2: "b"}, {}]))


def test_real_captions_pickle(realdata):
    got = read_captions_pickle(realdata / "birds" / "captions.pickle")
    assert (len(got.train), len(got.test), len(got.words)) == (88550, 29330, 5450)
    assert got.words[0] == "<end>"


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x02Nr\x00\x00\x00\x10.",  # a place in the memo that takes 4 GB
        b"Np268435456\n.",
        b"\x80\x04\x95\x00\x00\x00\x00\x40\x00\x00\x00N.",  # a frame of 256 GB
        b"\x80\x05\x8e\x00\x00\x00\x00\x40\x00\x00\x00ab.",  # bytes of as many
        b"\x80\x05\x96\x00\x00\x00\x00\x40\x00\x00\x00ab.",  # a bytearray
        b"\x80\x02]" + b"K\x01" * 5000 + b"r\xff\xff\xff\x7f.",  # after a run of harmless ones
    ],
)
def test_a_pickle_cannot_ask_for_more_memory_than_it_fills(tmp_path, stream):
    import resource

    path = tmp_path / "a.pickle"
    path.write_bytes(stream)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="not a readable pickle"):
        load_pickle(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_hundred_thousand_values_are_walked_over(tmp_path):
    value = [list(range(1000)) for _ in range(100)] + [{i: str(i) for i in range(20_000)}]
    for protocol in range(6):
        assert load_pickle(write(tmp_path / "a.pickle", value, protocol)) == value
