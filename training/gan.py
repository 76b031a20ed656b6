"""Train a generator of pictures from captions, with a trained text encoder, or given features, as its reader.

With `torchrun --nproc-per-node 2 train_gan.py ...` several processes share every batch and compute what one would.
"""

import copy
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import MISSING
from torch import Tensor, nn

from core.errors import UserError
from core.files import sha256
from core.model_folder import load_discriminators, load_model, save_discriminators
from core.model_registry import DAMSM
from core.precision import autocast
from core.runtime import seed_step, set_up
from data.captioned_images import CaptionedImages
from data.sampling import hard_negatives, image_batch
from data.sets import ImageData, open_images, terms_of
from evaluation.validation import painted_scores
from pipeline import open_encoder
from t2i.encoders.damsm import Damsm
from t2i.encoders.lstm import TextFeatures
from t2i.encoders.precomputed import GivenSentences
from t2i.families.projected import load_network
from t2i.families.registry import FAMILIES, family_name, family_of
from t2i.painter import Painter, painter_of
from training import distributed as parallel
from training.config import RunConfig, load_config
from training.ema import update_ema
from training.run import Run
from training.schedule import every_epoch, linear_end, set_rate


@dataclass
class TrainGan:
    data: ImageData = field(default_factory=ImageData)
    run: RunConfig = field(default_factory=RunConfig)
    variants: ClassVar = {"gan": FAMILIES}
    gan: Any = MISSING  # the configuration of a family: gan=attngan, dfgan, ...
    # model folder of a DAMSM, a char-CNN-RNN or a painter, whose text encoder then reads, or a data root with
    # char-CNN-RNN-embeddings.pickle in train/ and test/
    encoder: str = str(DAMSM)
    network: str = ""  # file of the ImageNet weights of gan.network, which the discriminators look through
    start: str = ""  # painter to start from: Stage I for Stage II, a smaller one, or one of the same sizes
    batch: int = 20
    accumulate: int = 1  # batches whose gradients make one step
    # steps at the beginning in which the discriminators alone learn, for a start without its own
    discriminators_first: int = 0
    random_crop: bool = True  # False: the centre of every picture, whose bird is whole and in the middle
    wrong_captions: int = 0  # captions with a wrong colour, for each right one, that DAMSM must tell from it
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    halve_every: int = 0  # steps after which both rates are halved, 0 for never
    decay: float = 0.0  # share of the steps, at the end, over which both rates fall to 0
    beta1: float = 0.5  # Adam
    beta2: float = 0.999
    ema: float = 0.999
    channels_last: bool = False  # memory layout: slower on CPUs, faster on GPUs
    compile: bool = False  # torch.compile the generator and the discriminators' trunks
    measure_every: int = 0  # steps between measures of painted test captions, 0 for none
    measure_pictures: int = 500
    keep_every: int = 0  # steps between painters that are kept in the run's folder, 0 for none


def main() -> None:
    train(load_config("train_gan", TrainGan, sys.argv[1:], __doc__ or ""))


def train(config: TrainGan) -> None:
    """Train as configured and write the run's folder. Raises UserError for what a user can mend."""
    device = parallel.join(set_up(config.run.threads, config.run.device))
    encoder = open_encoder(config.encoder).to(device)
    damsm = encoder if isinstance(encoder, Damsm) else None
    config.gan.embedding = encoder.config.embedding
    family = family_of(config.gan)
    check(config, encoder)
    run = Run(config, config.run, parallel.is_first())
    state = run.restore()
    if run.is_complete(state):
        return
    sizes = family.resolutions(config.gan)
    with parallel.first_alone():  # which draws and packs the pictures where that is still to be done
        train_set, test_set = (open_images(config.data, split, sizes[-1]) for split in ("train", "test"))

    torch.manual_seed(config.run.seed)
    G = family.Generator(config.gan).to(device)
    Ds = family.build_discriminators(config.gan)
    before = state.get("before", {}) if state else {}
    if config.start and not state:
        before = start_from(config.start, G, Ds, text_checksum(encoder))
    if config.network:  # of which discriminators to start from hold another copy
        load_network(Ds, config.network)
    Ds.to(device)
    average = copy.deepcopy(G).requires_grad_(False)
    reader = painter_of(average, encoder)
    betas = (config.beta1, config.beta2)
    opt_g = torch.optim.Adam(G.parameters(), lr=config.lr_generator, betas=betas, fused=True)
    judging = [
        p for p in Ds.parameters() if p.requires_grad
    ]  # a pretrained network among them stays as it is
    opt_d = torch.optim.Adam(judging, lr=config.lr_discriminator, betas=betas, fused=True)
    kept = {"generator": G, "discriminators": Ds, "average": average, "opt_g": opt_g, "opt_d": opt_d}
    if state:
        for name, part in kept.items():
            part.load_state_dict(state[name])
    paint = prepare(config, G, Ds, damsm, sizes)

    for step in run.steps(state):
        seed_step(config.run.seed, step)
        rate = linear_end(step, config.run.steps, config.decay) * every_epoch(step, config.halve_every, 0.5)
        set_rate(opt_g, config.lr_generator * rate)
        set_rate(opt_d, config.lr_discriminator * rate)
        first = step * config.accumulate
        parts = [draw(config, train_set, reader, at, sizes) for at in range(first, first + config.accumulate)]

        for part in parts:
            # of several batches the graphs would not fit into memory together: painted once more below
            with autocast(device, config.run.precision), torch.set_grad_enabled(len(parts) == 1):
                painting = paint(part.noise, part.epsilon, part.text)
            with autocast(device, config.run.precision):
                loss, d_logs = family.discriminator_loss(Ds, part.real, painting, part.text, config.gan, step)
            (loss / len(parts)).backward()
        update(opt_d)

        g_logs, generator_learns = {}, step >= config.discriminators_first
        set_requires_grad(judging, False)  # a third of the step's work, and nobody would use those gradients
        for part in parts if generator_learns else []:
            with autocast(device, config.run.precision):
                if len(parts) > 1:
                    painting = paint(part.noise, part.epsilon, part.text)
                loss, g_logs = family.generator_loss(
                    Ds, painting, part.all_text, part.class_ids, damsm, config.gan
                )
            (loss / len(parts)).backward()
        if generator_learns:
            update(opt_g)
        set_requires_grad(judging, True)

        update_ema(average, G, step, config.ema)
        run.log(step, **g_logs, **d_logs)
        if parallel.is_first() and run.due(step, config.run.sample_every):
            run.image(step, "grid", sample_grid(reader, test_set))
        if parallel.is_first() and run.due(step, config.measure_every):
            run.record(step, **painted_scores(reader, encoder, test_set, config.measure_pictures))
        if parallel.is_first() and run.due(step, config.keep_every):
            folder = run.folder / "kept" / f"{step + 1:06d}"
            keep(reader, folder, config, sizes, step + 1, run.elapsed, encoder, before)
        if run.save_due(step):
            run.save(step, before=before, **{name: part.state_dict() for name, part in kept.items()})

    if parallel.is_first():
        save_discriminators(run.model_folder, Ds.state_dict())  # for a training that starts from this one
        keep(reader, run.model_folder, config, sizes, config.run.steps, run.elapsed, encoder, before)
        print(f"{run.model_folder}: a painter of {sizes[-1]} px pictures")
    parallel.leave()


def set_requires_grad(parameters: Iterable[nn.Parameter], requires_grad: bool) -> None:
    for p in parameters:
        p.requires_grad_(requires_grad)


def check(config: TrainGan, encoder: nn.Module) -> None:
    """Raises UserError for what would only fail later."""
    name = family_name(config.gan)
    through = getattr(config.gan, "network", "")
    if config.network and not through:
        raise UserError(f"network={config.network} is for gan=projected, and for gan=attngan with "
                        f"gan.network=mobilenet_v2; gan={name} looks through none")  # fmt: skip
    if through and not config.network:
        raise UserError(
            f"gan={name} looks through an ImageNet network: name its file, network={through}.safetensors"
        )
    if isinstance(encoder, GivenSentences | Painter):
        seen = "given features" if isinstance(encoder, GivenSentences) else f"the painter {config.encoder}"
        if config.measure_every:
            raise UserError(f"measure_every needs an encoder that sees pictures, {seen} cannot; set it to 0")
        if isinstance(encoder, Painter) and getattr(config.gan, "damsm_weight", 0) > 0:
            raise UserError(
                f"gan.damsm_weight={config.gan.damsm_weight:g} needs an encoder that sees pictures, {seen} cannot; "
                "set it to 0, or encoder to the DAMSM that guided it"
            )
    processes = parallel.processes()
    if config.batch < 2 and name in ("dfgan", "projected"):
        raise UserError(
            f"batch={config.batch}: gan={name} mismatches pictures of one batch; choose 2 or more"
        )
    if config.batch % processes:
        raise UserError(
            f"batch={config.batch} cannot be shared by {processes} processes; choose a multiple of them"
        )
    if processes > 1 and getattr(config.gan, "interpolate", 0) > 0:
        raise UserError("gan_int_cls paints between the sentences of a batch, which several processes would not share; "
                        "set gan.interpolate=0, or use one process")  # fmt: skip


class Part(NamedTuple):
    """What a pass learns from. real: (B, 3, s, s) of every size; text: the captions of the pictures, all_text: with the
    wrong ones after them; class_ids (B,); noise (B, Z), epsilon (B, C)."""

    real: tuple[Tensor, ...]
    text: TextFeatures
    all_text: TextFeatures
    class_ids: Tensor
    noise: Tensor
    epsilon: Tensor


def draw(config: TrainGan, birds: CaptionedImages, reader: Painter, at: int, sizes: list[int]) -> Part:
    """The batch number `at`, with noise from the present state of torch's random numbers."""
    device = next(reader.generator.parameters()).device
    batch = image_batch(birds, at, config.batch, config.run.seed, random_crop=config.random_crop)
    images = batch.images.to(device)
    if config.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    wrong = hard_negatives(batch.captions, config.wrong_captions, at, config.run.seed)
    all_text = reader.encode(batch.captions + wrong)
    noise = torch.randn(config.batch, config.gan.noise, device=device)
    epsilon = torch.randn(config.batch, config.gan.condition, device=device)
    text = all_text.rows(0, config.batch)
    return Part(pyramid(images, sizes), text, all_text, batch.class_ids.to(device), noise, epsilon)


def prepare(config: TrainGan, G: nn.Module, Ds: nn.ModuleList, damsm: Damsm | None, sizes: list[int]) -> Any:
    """Lay out, share between processes and compile the networks as configured; returns what paints."""
    if config.channels_last:
        G.to(memory_format=torch.channels_last)
        Ds.to(memory_format=torch.channels_last)
    if parallel.processes() > 1:
        parallel.share_generator(G)
        for D, side in zip(Ds, sizes[-len(Ds) :], strict=True):
            parallel.share_discriminator(D, side)
        if damsm is not None:
            parallel.share(damsm.image_encoder, "forward", [])
    if not config.compile:
        return G
    for D in Ds:
        D.features = torch.compile(D.features)
    return torch.compile(G)


def update(optimizer: torch.optim.Optimizer) -> None:
    """One step down the gradients that were collected."""
    parallel.combine_gradients(p for group in optimizer.param_groups for p in group["params"])
    optimizer.step()
    optimizer.zero_grad()


def start_from(folder: str, G: nn.Module, Ds: nn.ModuleList, encoder: str) -> dict[str, Any]:
    """Give the networks a trained painter's weights; what it lacks, such as Stage II, begins anew, and so do
    discriminators that do not fit.

    Returns which painter it is, with all the pictures that it had seen and the hours of its training.

    Raises UserError where a tensor of its generator has no place here, or it listens to another encoder.
    """
    files = load_model(folder, Painter.kind)
    trained_with = files.training.get("encoder", encoder)
    if trained_with != encoder:
        raise UserError(
            f"{folder} was trained with another text encoder; set encoder to that one (SHA-256 {trained_with[:16]})"
        )
    begun = load_parts(G, files.state, "generator.", folder)
    beside = load_discriminators(folder)
    shapes = [{key: value.shape for key, value in state.items()} for state in (beside, Ds.state_dict())]
    if fit := shapes[0] == shapes[1]:
        Ds.load_state_dict(beside)
    new = f", of which {begun} tensors begin anew" if begun else ""
    print(f"{folder}: started from its generator{new}; its discriminators {'go on' if fit else 'begin anew'}")
    earlier = files.training.get("before", {})
    pictures = files.training.get("steps", 0) * files.training.get("batch", 0) + earlier.get("pictures", 0)
    hours = files.training.get("hours", 0.0) + earlier.get("hours", 0.0)
    return {"painter": files.checksum, "pictures": pictures, "hours": round(hours, 4)}


def text_checksum(encoder: Any) -> str:
    """Of the model that the text encoder came with; a painter knows that of the one it was trained with."""
    return encoder.training_info["encoder"] if isinstance(encoder, Painter) else encoder.checksum


def load_parts(module: nn.Module, state: dict[str, Tensor], prefix: str, source: str) -> int:
    """Load what `state` has under `prefix`; returns how many tensors of the module it lacks."""
    weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    own = module.state_dict()
    for key, value in weights.items():
        if key not in own or own[key].shape != value.shape:
            expected = (
                f"{tuple(own[key].shape)} was expected" if key in own else "which this network does not have"
            )
            raise UserError(
                f"{source}: {prefix}{key} has shape {tuple(value.shape)}, {expected}; choose the same sizes "
                "(to grow: gan.grown_from its side, half its width and twice its gan.most for every doubling)"
            )
    module.load_state_dict(weights, strict=False)
    return len(own.keys() - weights.keys())


def pyramid(images: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """images (B, 3, S, S) -> the same at every side of `sizes`, the last of which is S."""
    smaller = [F.interpolate(images, (s, s), mode="bilinear", antialias=True) for s in sizes[:-1]]
    return (*smaller, images)


def sample_grid(painter: Painter, birds: CaptionedImages, count: int = 16) -> Tensor:
    """The painter's pictures of fixed test captions and seeds, a uint8 grid (3, H, W)."""
    from torchvision.utils import make_grid

    captions = [birds.captions[i][0] for i in range(0, len(birds), max(len(birds) // count, 1))][:count]
    painting = painter.paint(captions, range(len(captions)))
    grid = make_grid(painting.images[-1], nrow=8, normalize=True, value_range=(-1, 1))
    return (grid * 255).round().to(torch.uint8)


LIMITS = {
    "words": "knows the words of its vocabulary only",
    "characters": "reads the first 201 characters of a text",
    "given": "knows the captions of its set only, whose features are no part of this folder,",
}


def keep(
    painter: Painter,
    folder: Path,
    config: TrainGan,
    sizes: list[int],
    steps: int,
    seconds: float,
    encoder: Any,
    before: dict[str, Any],
) -> None:
    """Write the painter's model folder as it is after so many steps; before: as `start_from` returns it."""
    training = {
        "data": config.data.root,
        "steps": steps,
        "batch": config.batch * config.accumulate,
        "seed": config.run.seed,
        "encoder": text_checksum(encoder),
        "network": sha256(Path(config.network)) if config.network else None,
        "hours": round(seconds / 3600, 4),
    }
    training |= {"before": before} if before else {}
    painter.save(folder, card(config, sizes, training, LIMITS[painter.reads]), training)


def card(config: TrainGan, sizes: list[int], training: dict, limits: str) -> str:
    family = family_of(config.gan)
    looked = ""
    if training["network"]:
        looked = (
            f" Its discriminators looked through an ImageNet network (SHA-256 {training['network'][:16]})."
        )
    origin = "from nothing"
    if before := training.get("before"):
        origin = f"from a painter (SHA-256 {before['painter'][:16]})"
        if before["hours"]:  # unknown of a converted one
            origin += f" of {before['pictures']:,} pictures seen and {before['hours']:.2f} hours"
    return f"""# {family_name(config.gan)} painter, {" and ".join(map(str, sizes))} px

Paints a picture from a caption: a generator (EMA weights) and the text encoder that it was trained with (SHA-256
{training["encoder"][:16]}). {(family.__doc__ or "").splitlines()[0]}

Trained {origin} on `{config.data.root}`: {training["steps"]} steps of {training["batch"]} pictures, seed
{config.run.seed}, {training["hours"]:.2f} hours.{looked}{terms_of(config.data)}

Limits: {limits} and paints what its data shows; its figures stand in the project's
README.
"""
