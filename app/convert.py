"""The authors' checkpoints to model folders, and back.

    python convert.py bird_AttnGAN2.pth text_encoder200.pth --captions captions.pickle --out weights/bird-attngan
    python convert.py text_encoder200.pth image_encoder200.pth --captions captions.pickle --out weights/bird-damsm
    python convert.py netG_210000.pth netD0.pth netD1.pth netD2.pth --encoder runs/char_cnn_rnn/model --out bird-v2
    python convert.py weights/bird-attngan --back --out originals

Takes files of AttnGAN (and its DAMSM), StackGAN and StackGAN-v2 in PyTorch, and DF-GAN, and tells them apart by what
they hold. A generator becomes a painter, with its discriminators beside it; two encoders become a DAMSM.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import Parser, UserError


def parser() -> Parser:
    p = Parser(prog="convert.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source", nargs="+", type=Path, metavar="FILE",
                   help="the authors' .pth files; with --back a model folder")  # fmt: skip
    p.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    p.add_argument("--captions", type=Path, metavar="PICKLE",
                   help="captions.pickle, which numbers the words of a text encoder")  # fmt: skip
    p.add_argument("--encoder", type=Path, metavar="FOLDER",
                   help="a trained encoder of ours, or a data root with given features, instead of theirs")  # fmt: skip
    p.add_argument("--mask", choices=("own", "original"), default="own",
                   help="AttnGAN's attention mask: a caption's own, or misaligned as the authors' is")  # fmt: skip
    p.add_argument("--max-words", "--words", dest="words", type=int, default=25,
                   help="longest caption that is read (default 25, as in the authors' evaluation)")  # fmt: skip
    p.add_argument("--back", action="store_true", help="write the authors' files from a model folder")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    if args.out.exists() and any(args.out.iterdir() if args.out.is_dir() else [args.out]):
        raise UserError(f"--out {args.out} is there already; choose a new folder")
    written = to_originals(args.source, args.out) if args.back else from_originals(args)
    print("\n".join(written))
    return 0


# ---- theirs to ours ----


def from_originals(args: argparse.Namespace) -> list[str]:
    """Write the model folder. Raises UserError where a file does not fit or one is missing."""
    from t2i.interop import read_original

    networks: dict[str, Any] = {}
    source: dict[str, Path] = {}
    for path in args.source:
        for name, state in read_original(path).items():
            if name in networks:
                raise UserError(f"{source[name]} and {path} both hold a {name}; give one of them")
            networks[name], source[name] = state, path
    vocabulary = read_vocabulary(args.captions) if args.captions else None
    if any(name.endswith("G") for name in networks):
        return [write_painter(networks, source, vocabulary, args)]
    if networks.keys() == {"text_encoder", "image_encoder"}:
        return [write_damsm(networks, source, vocabulary, args)]
    held = ", ".join(networks)
    raise UserError(f"the files hold {held}; a generator, or a text and an image encoder, was expected")


def read_vocabulary(path: Path) -> list[str]:
    """The words of AttnGAN's captions.pickle in the order of their numbers."""
    from data.pickles import load_pickle
    from t2i.vocabulary import END

    content = load_pickle(path)
    numbered = content[2] if isinstance(content, list | tuple) and len(content) == 4 else None
    if not isinstance(numbered, dict) or sorted(numbered) != list(range(len(numbered))) or numbered[0] != END:
        raise UserError(
            f"{path} is not AttnGAN's captions.pickle: [train, test, words by number, numbers] was expected"
        )
    return [str(numbered[number]) for number in range(len(numbered))]


def read_text_encoder(networks: dict[str, Any], vocabulary: list[str] | None, path: Path, words: int) -> Any:
    """A DAMSM on the meta device whose sizes are those of the files."""
    import torch

    from t2i.encoders.damsm import Damsm, DamsmConfig
    from t2i.interop import sizes_told, text_sizes
    from t2i.vocabulary import Vocabulary

    with sizes_told():
        sizes = text_sizes(networks["text_encoder"])
    known = sizes.pop("vocabulary_size")
    if vocabulary is None:
        raise UserError(
            f"{path} numbers its {known} words as captions.pickle does; give that file: --captions"
        )
    if len(vocabulary) != known:
        raise UserError(
            f"--captions has {len(vocabulary)} words, {path} was trained on {known}; give the file it was trained with"
        )
    config = DamsmConfig(**sizes, image="inception", image_size=299, max_words=words)
    with torch.device("meta"):
        return Damsm(config, Vocabulary(vocabulary))


def write_damsm(
    networks: dict[str, Any], source: dict[str, Path], vocabulary: list[str] | None, args: argparse.Namespace
) -> str:
    from t2i.interop import encoder_names, fill

    model = read_text_encoder(networks, vocabulary, source["text_encoder"], args.words)
    fill(model, networks, encoder_names(model.config.rnn), source)
    model.save(args.out, card("DAMSM encoders", source), training(source), half=False)
    return f"{args.out}: text and image encoder, {len(model.vocabulary)} words"


def write_painter(
    networks: dict[str, Any], source: dict[str, Path], vocabulary: list[str] | None, args: argparse.Namespace
) -> str:
    import torch
    from torch import nn

    from core.model_folder import save_discriminators
    from pipeline import load_condition_encoder
    from t2i.families.registry import family_of
    from t2i.interop import config_of, encoder_names, fill, names_of, sizes_told
    from t2i.painter import painter_of

    texts: dict[str, Any] = {
        name: networks.pop(name) for name in ("text_encoder", "image_encoder") if name in networks
    }
    with sizes_told():
        config = config_of(networks)
    if hasattr(config, "mask"):
        config.mask = args.mask
    family, names = family_of(config), names_of(config)
    with torch.device("meta"):
        model = nn.ModuleDict(family.build(config))
    fill(model, networks, names, source)
    if "text_encoder" in texts:
        encoder = read_text_encoder(texts, vocabulary, source["text_encoder"], args.words)
        fill(encoder, texts, encoder_names(encoder.config.rnn), source)
    elif args.encoder:
        encoder = load_condition_encoder(args.encoder)
    else:
        raise UserError(
            "a painter needs the text encoder it was trained with: give its file and --captions, or --encoder FOLDER"
        )
    if encoder.config.embedding != config.embedding:
        raise UserError(
            f"the text encoder gives {encoder.config.embedding} features, the generator was trained on "
            f"{config.embedding}; give the one it was trained with"
        )
    painter = painter_of(model["generator"], encoder)
    painter.save(args.out, card(f"{family.name} painter", source), training(source), half=False)
    judged = {key: value for key, value in model["discriminators"].state_dict().items() if not value.is_meta}
    if judged:
        save_discriminators(args.out, judged)
    sides = " and ".join(map(str, family.resolutions(config)))
    return f"{args.out}: a {family.name} painter of {sides} px" + (", with discriminators" if judged else "")


def training(source: dict[str, Path]) -> dict[str, Any]:
    from core.files import sha256

    return {"converted_from": {path.name: sha256(path) for path in sorted(set(source.values()))}}


def card(what: str, source: dict[str, Path]) -> str:
    from t2i.interop import stored_types

    lines = []
    for path in sorted(set(source.values())):
        of, types = ", ".join(n for n in source if source[n] == path), stored_types(path)
        lines.append(f"- {path.name}: {of}{'' if types == 'float32' else f', stored as {types} there'}")
    files = "\n".join(lines)
    return f"""# {what}, converted

From the authors' checkpoints, in float32, every weight with the value that it has in their files (rounded where these
have float64):

{files}

Their terms are those of the files.
"""


# ---- ours to theirs ----


def to_originals(source: list[Path], out: Path) -> list[str]:
    """Write the authors' files from a painter's or a DAMSM's folder, one line for each."""
    from core.files import write_torch
    from core.model_folder import load_discriminators, model_kind
    from t2i.encoders.damsm import Damsm
    from t2i.interop import State, encoder_names, names_of, networks_of
    from t2i.painter import Painter

    if len(source) != 1:
        raise UserError(f"--back takes one model folder, {len(source)} were given")
    (folder,) = source
    networks: dict[str, State] = {}
    family = None
    if model_kind(folder) == Damsm.kind:
        damsm = Damsm.load(folder)
        if damsm.config.image != "inception":
            raise UserError(
                f"{folder} has the light image encoder, which the authors do not know; only image=inception goes back"
            )
        networks = networks_of(damsm.state_dict(), encoder_names(damsm.config.rnn))
    else:
        painter = Painter.load(folder)
        family = painter.config
        state = {f"generator.{key}": value for key, value in painter.generator.state_dict().items()}
        if not getattr(family, "backbone", "") and getattr(family, "discriminator_norm", "batch") == "batch":
            judges = load_discriminators(folder)  # others than these the authors' code does not have
            state |= {f"discriminators.{key}": value for key, value in judges.items()}
        networks = networks_of(state, names_of(family))
        if painter.encoder.kind == Damsm.kind:  # the one text encoder whose file the authors' code reads
            networks |= networks_of(painter.encoder.state_dict(), encoder_names(painter.encoder.config.rnn))
    files = {out / name: content for name, content in original_files(networks, family)}
    for path, content in files.items():
        write_torch(path, content)
    return list(map(str, files))


def original_files(networks: dict[str, Any], family: Any) -> list[tuple[str, Any]]:
    """File names and what they hold, as the authors' code writes them."""
    from t2i.families.dfgan import DfGanConfig
    from t2i.families.stackgan_v2 import StackGanV2Config

    # the released files are older than the counters, which came back as 0
    networks = {
        name: {key: v for key, v in state.items() if not key.endswith("num_batches_tracked") or int(v)}
        for name, state in networks.items()
    }
    if isinstance(family, DfGanConfig):
        text = [("text_encoder.pth", networks.pop("text_encoder"))] if "text_encoder" in networks else []
        return [("state_epoch.pth", {"model": networks}), *text]
    files = []
    for name, state in networks.items():
        wrapped = isinstance(family, StackGanV2Config) and name.startswith("net")
        name = "netG" if name in ("STAGE1_G", "STAGE2_G") else name
        files.append((f"{name}.pth", {f"module.{key}": v for key, v in state.items()} if wrapped else state))
    return files
