# ruff: noqa: E501
"""One factor, mask or layer made wrong at a time: does a test of a clone by itself fail? python tests/mutations.py

Each mutation is a pattern in the source text and what to put there instead, made in a temporary copy without the
complete reference tensors. A pattern that is not found is an error: after a renaming the table has to follow.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torchvision  # noqa: F401  what takes seconds is loaded once

ROOT = Path(__file__).resolve().parents[1]
SLOW = "not there_and_back and not backbone_takes and not published_size"  # and no reader of factors
ROOMS = ("t2i", "asr", "vision", "metrics", "evaluation", "search")


class Mutation(NamedTuple):
    name: str
    pattern: str  # a regular expression
    instead: str  # for its first place in a file; of several files one at a time
    tests: str  # files of tests/ without "test_", most likely first
    within: str = ""  # part of the file's path


GANS = "recorded stackgan originals attngan"
ATTNGAN, STACKGAN, DFGAN = "recorded originals attngan", "recorded stackgan", "recorded dfgan"
TEXT = "recorded damsm originals"
ASR = "recorded asr_model asr_encoders"
SWAPPED = "(lambda x, dim: F.glu(torch.cat(x.chunk(2, dim)[::-1], dim), dim))("

MUTATIONS = [
    # DAMSM
    Mutation("gamma1 doubled", r"gamma1: float = bounded\(4\.0", "gamma1: float = bounded(8.0", TEXT),
    Mutation("gamma2 5 -> 6", r"gamma2: float = bounded\(5\.0", "gamma2: float = bounded(6.0", TEXT),
    Mutation("gamma3 doubled", r"gamma3: float = bounded\(10\.0", "gamma3: float = bounded(20.0", TEXT),
    Mutation("padding counts among the words", r"\.masked_fill\(text\.is_pad\[None, :, :, None\], -torch\.inf\)", "", TEXT),
    Mutation("pictures of a class are mismatches", r"F\.pad\(same,", "F.pad(same & False,", TEXT),
    Mutation("captions are not told apart", r"F\.cross_entropy\(scores, target\) \+", "0.5 * F.cross_entropy(scores, target) +", TEXT),
    Mutation("relevance is not scaled by gamma2", r"\(gamma2 \* relevance\)", "(relevance)", TEXT),
    Mutation("mean sentence is not of unit variance", r"\* words\.shape\[2\] \*\* 0\.5", "", TEXT),
    Mutation("corners are not aligned", r"align_corners=True", "align_corners=False", TEXT),
    # conditioning augmentation
    Mutation("KL without its half", r"-0\.5 \* \(1 \+ log_var", "-1.0 * (1 + log_var", GANS),
    Mutation("KL with another sign", r"- mean\.square\(\) - log_var", "- mean.square() + log_var", GANS),
    Mutation("variance for standard deviation", r"exp\(0\.5 \* log_var\)", "exp(log_var)", GANS),
    Mutation("AttnGAN's gate on the wrong half", r"F\.glu\(at_least", SWAPPED + "at_least", ATTNGAN),
    Mutation("StackGAN's augmentation without ReLU", r"F\.relu\(at_least_float32\(self\.linear\(sentence\)\)\)", "at_least_float32(self.linear(sentence))", STACKGAN),
    Mutation("StackGAN's KL weight", r"kl_weight: float = bounded\(2\.0", "kl_weight: float = bounded(1.0", STACKGAN),
    # layers
    Mutation("upsampling kernel mirrored", r"view\(9, 3, 3\)\.flip\(1, 2\)", "view(9, 3, 3)", GANS),
    Mutation("residual halved", r"return x \+ self\.block\(x\)", "return x + 0.5 * self.block(x)", ATTNGAN),
    Mutation("slope 0.2 -> 0.1 of discriminators", r"\[nn\.BatchNorm2d\(outputs\)\] if normed else \[\]\), nn\.LeakyReLU\(0\.2\)", "[nn.BatchNorm2d(outputs)] if normed else []), nn.LeakyReLU(0.1)", GANS),
    Mutation("BatchNorm's eps of discriminators", r"\[nn\.BatchNorm2d\(outputs\)\] if normed", "[nn.BatchNorm2d(outputs, eps=1e-3)] if normed", GANS),
    Mutation("BatchNorm's momentum of discriminators", r"\[nn\.BatchNorm2d\(outputs\)\] if normed", "[nn.BatchNorm2d(outputs, momentum=0.2)] if normed", GANS),
    Mutation("padding of another caption (authors' mask)", r"view\(B, places\) % B", "view(B, places) // places", ATTNGAN),
    Mutation("no mask at padding (own mask)", r"hides = is_pad\[:, :, None\]", "hides = (is_pad & False)[:, :, None]", ATTNGAN),
    Mutation("condition after the features in StackGAN-v2", r"both\[::-1\] if", "both if", GANS),
    Mutation("DF-GAN's slope", r"x = F\.leaky_relu\(affine\(x, condition\), 0\.2\)", "x = F.leaky_relu(affine(x, condition), 0.1)", DFGAN),
    Mutation("DF-GAN's shortcut is left out", r"return hidden \+ F\.interpolate\(self\.shortcut\(x\), scale_factor=2\)", "return hidden", DFGAN),
    Mutation("DF-GAN's residual unscaled", r"self\.scale\.to\(residual\.dtype\) \* residual", "residual", DFGAN),
    Mutation("GAN-INT-CLS's slope", r"nn\.Linear\(config\.embedding, config\.text_width\), nn\.LeakyReLU\(0\.2\)", "nn.Linear(config.embedding, config.text_width), nn.LeakyReLU(0.1)", "gan_int_cls recorded"),
    Mutation("light encoder's slope", r"nn\.LeakyReLU\(0\.2, inplace=True\)", "nn.LeakyReLU(0.1, inplace=True)", "recorded", "encoders/image"),
    Mutation("ImageNet's mean", r"0\.485, 0\.456", "0.5, 0.456", "recorded backbones", "vision"),
    Mutation("ImageNet's deviation", r"\(0\.229, ", "(0.25, ", "recorded backbones", "vision"),
    # losses of generators and discriminators
    Mutation("AttnGAN: fakes weigh a half, not a third", r"is_real / 2 \+ \(is_fake \+ mismatched\) / 3", "is_real / 2 + (is_fake + mismatched) / 2", ATTNGAN),
    Mutation("AttnDCGAN: fakes weigh a third", r"is_real \+ \(is_fake \+ mismatched\) / 2", "is_real + (is_fake + mismatched) / 3", ATTNGAN, "attngan"),
    Mutation("StackGAN: mismatched weigh a third", r"is_real \+ \(is_fake \+ mismatched\) / 2", "is_real + (is_fake + mismatched) / 3", STACKGAN, "families/stackgan.py"),
    Mutation("DF-GAN: mismatched weigh a third", r"is_real \+ \(is_fake \+ mismatched\) / 2", "is_real + (is_fake + mismatched) / 3", DFGAN, "dfgan"),
    Mutation("projected: mismatched weigh a third", r"is_real \+ \(is_fake \+ mismatched\) / 2", "is_real + (is_fake + mismatched) / 3", "backbones recorded", "projected"),
    Mutation("AttnGAN: fakes are called real", r"(D\.conditional_logits\(of_fake, text\.sentence\)), False", r"\1, True", ATTNGAN, "attngan"),
    Mutation("StackGAN: mismatched are called real", r"(of_real\[:-1\], condition\[1:\]\)), False", r"\1, True", STACKGAN, "families/stackgan.py"),
    Mutation("mismatched with the next sentence", r"of_real\.roll\(-1, 0\)", "of_real.roll(1, 0)", DFGAN),
    Mutation("GAN-INT-CLS: mismatched with the sentence before", r"of_real\.roll\(1, 0\)", "of_real.roll(-1, 0)", "gan_int_cls recorded stackgan"),
    Mutation("AttnGAN: mismatched the other way", r"of_real\[:-1\], text\.sentence\[1:\]", "of_real[1:], text.sentence[:-1]", ATTNGAN),
    Mutation("power of the penalty", r"square \*\* \(power / 2\)", "square ** (power / 3)", DFGAN),
    Mutation("DF-GAN: weight of the penalty", r"penalty_weight: float = bounded\(2\.0", "penalty_weight: float = bounded(1.0", DFGAN),
    Mutation("lambda 5 -> 4", r"damsm_weight: float = bounded\(5\.0", "damsm_weight: float = bounded(4.0", ATTNGAN),
    Mutation("interpolated means", r"half : 2 \* half\]\) / 2", "half : 2 * half]) / 3", "gan_int_cls recorded stackgan"),
    Mutation("StackGAN-v2: colour covariances", r"\b5 \*", "4 *", STACKGAN, "stackgan_v2"),
    Mutation("hinge: the generator's sign", r"return -logits\.mean\(\) if", "return logits.mean() if", DFGAN, "losses"),
    # char-CNN-RNN
    Mutation("margin", r"margin: float = 1\.0", "margin: float = 0.9", "char_cnn_rnn recorded"),
    Mutation("update gate weighs the old state", r"update \* candidate \+ \(1 - update\) \* state", "update * state + (1 - update) * candidate", "char_cnn_rnn recorded"),
    Mutation("places in the alphabet from 0", r"enumerate\(ALPHABET, 1\)", "enumerate(ALPHABET, 0)", "char_cnn_rnn recorded"),
    Mutation("widest pooling", r"nn\.MaxPool1d\(3\)", "nn.MaxPool1d(3, 3, 1)", "char_cnn_rnn recorded"),
    # recogniser
    Mutation("CTC weight", r"CTC_WEIGHT = 0\.3", "CTC_WEIGHT = 0.4", ASR, "losses"),
    Mutation("label smoothing doubled", r"label_smoothing=smoothing", "label_smoothing=2 * smoothing", ASR),
    Mutation("attention looks at padding", r"query, key, value, is_pad\[:, None, None\]\)", "query, key, value, (is_pad & False)[:, None, None])", ASR),
    Mutation("attention looks at the future", r"positions\[None\] > positions\[:, None\]", "positions[None] > positions[:, None] + 1", ASR),
    Mutation("attention's scale", r"query\.shape\[-1\] \*\* -0\.5", "query.shape[-1] ** -0.4", ASR),
    Mutation("scale of features", r"FEATURE_SCALE = 0\.25", "FEATURE_SCALE = 0.5", ASR),
    Mutation("convolution sees padding", r"\.masked_fill\(is_pad\[\.\.\., None\], 0\.0\)$", "", ASR, "asr/"),
    # scores
    Mutation("FID: divisor N", r"np\.sqrt\(len\(features\) - 1\)", "np.sqrt(len(features))", "metrics recorded"),
    Mutation("R-precision: a candidate too few", r"candidates - 1, replace", "candidates - 2, replace", "recorded metrics"),
    Mutation("Inception Score: logarithm to base 2", r"np\.log\(p\[seen\]", "np.log2(p[seen]", "metrics recorded"),
    Mutation("KID: kernel squared", r"a\.shape\[1\] \+ 1\) \*\* 3", "a.shape[1] + 1) ** 2", "metrics recorded"),
    Mutation("chance of retrieval: captions are drawn with replacement", r"\(M - counts - j\)", "(M - counts)", "metrics"),
    # search
    Mutation("search: rows are not of unit length", r"F\.normalize\(features\.float\(\), dim=1, eps=1e-12\)", "features.float()", "search", "search"),
    Mutation("search: of equal scores the last row comes first", r"np\.argsort\(-scores, kind=\"stable\"\)", 'np.argsort(scores, kind="stable")[::-1]', "search", "search"),
    Mutation("search: no slack for rounding", r"least - slack", "least + slack", "search", "search"),
    Mutation("search: another encoder's index is kept", r"index\.about\[\"encoder\"\]\[\"sha256\"\] != checksum", "False", "search", "search/build"),
    Mutation("search: a changed picture keeps its row", r"entry\.file\.bytes, entry\.file\.changed, ", "", "search", "search"),
    Mutation("search: a file that was overwritten is believed", r" or int\(told\[\"probe\"\], 16\) != probe\(path, start=start\)", "", "search", "search"),
    Mutation("search: the next picture's captions", r"\[i, i \+ 1\]", "[i + 1, i + 2]", "search", "search"),
    Mutation("search: rows of zeros are sound", r"np\.abs\(lengths - 1\) > TOLERANCE", "lengths - 1 > TOLERANCE", "search", "search"),
    Mutation("search: damaged pictures stay", r"~np\.isnan\(_gathered\(found, keys, lambda rows: rows\.vectors\[:, 0\]\)\)", "np.full(len(keys), True)", "search", "search"),
]  # fmt: skip


def places(mutation: Mutation, root: Path) -> list[Path]:
    """The files of `root` that the pattern is found in."""
    pattern = re.compile(mutation.pattern, re.M)
    paths = (path for room in ROOMS for path in sorted((root / room).rglob("*.py")))
    return [
        path
        for path in paths
        if mutation.within in path.relative_to(root).as_posix()
        and pattern.search(path.read_text(encoding="utf-8"))
    ]


def copied(folder: Path) -> Path:
    """The files of the project in a folder with nothing beside it."""
    names = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith("weights/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def first_failure(root: Path, tests: str) -> str | None:
    """The first test that fails, or None where all pass; in a process that has loaded torch already."""
    report = root.parent / "report"
    child = os.fork()
    if child == 0:
        os.chdir(root)
        sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "tests")]
        with open(report, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            files = [f"tests/test_{name}.py" for name in tests.split()]
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", SLOW, *files])
            os._exit(int(code))
    _, status = os.waitpid(child, 0)
    if status == 0:
        return None
    text = report.read_text(encoding="utf-8")
    failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", text, re.M)
    if failed is None:
        raise RuntimeError(f"the tests could not be run: {text[-1000:]}")
    return failed[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutations with one of these in their name")
    words = parser.parse_args().words
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    lost = [m.name for m in chosen if not places(m, ROOT)]
    if lost:
        print("not found in the source; give them the new names: " + "; ".join(lost), file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    os.environ.pop("SAYBIRD_REALDATA", None)
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        root = copied(Path(folder) / "main")
        pairs = [(mutation, path) for mutation in chosen for path in places(mutation, root)]
        for mutation, path in pairs:
            before = path.read_text(encoding="utf-8")
            changed = re.sub(mutation.pattern, mutation.instead, before, count=1, flags=re.M)
            path.write_text(changed, encoding="utf-8")
            failed = first_failure(root, mutation.tests)
            path.write_text(before, encoding="utf-8")
            survived += failed is None
            where = path.relative_to(root).as_posix()
            print(f"| {mutation.name} | {where} | {failed or 'NO TEST FAILS'} |", flush=True)
    print(f"{len(pairs) - survived} of {len(pairs)} make a test fail")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
