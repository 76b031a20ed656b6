"""What our own code computes where nobody has published tensors, recorded: python tests/recorded.py

Weights and inputs follow a formula, so the file holds results only. A record shows that nothing has changed; that it
is right, the loops and plain reimplementations in the other tests show. Record again after a change on purpose.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests" / "reference"))

from golden import probe  # noqa: E402
from make import step_of  # noqa: E402

from t2i.encoders.base import TextFeatures  # noqa: E402
from t2i.encoders.char_cnn_rnn import CharEncoder, CharEncoderConfig  # noqa: E402
from t2i.encoders.damsm import Damsm, DamsmConfig  # noqa: E402
from t2i.encoders.image import IMAGE_ENCODERS  # noqa: E402
from t2i.encoders.lstm import TextEncoder, pad_captions  # noqa: E402
from t2i.families.attngan import AttnGanConfig  # noqa: E402
from t2i.families.dfgan import DfGanConfig  # noqa: E402
from t2i.families.gan_int_cls import GanIntClsConfig  # noqa: E402
from t2i.families.projected import ProjectedConfig  # noqa: E402
from t2i.families.registry import family_of  # noqa: E402
from t2i.families.stackgan import StackGanConfig  # noqa: E402
from t2i.families.stackgan_v2 import StackGanV2Config  # noqa: E402
from t2i.vocabulary import Vocabulary  # noqa: E402

FILE = ROOT / "tests" / "reference" / "own.safetensors"
Values = dict[str, Tensor]


# ---- numbers without a random generator ----


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """As if drawn evenly from [-1, 1]: a hash of each place, in whole numbers, the same on every machine."""
    x = torch.arange(int(np.prod(shape))) + 1_000_003 * (seed + 1)
    for factor, shift in ((2654435761, 15), (2246822519, 13), (3266489917, 16)):
        x = (x * factor) & 0xFFFFFFFF
        x ^= x >> shift
    return (x.double() / 2**31 - 1).to(dtype).view(shape)


def filled(module: Any, dtype: torch.dtype = torch.float64) -> Any:
    """The module with weights by the formula: products keep their variance, nothing is zero or trivially one."""
    module.to(dtype)
    with torch.no_grad():
        for place, (name, value) in enumerate(module.state_dict().items()):
            if not value.is_floating_point():
                value.fill_(3)
                continue
            drawn = numbers(*value.shape, seed=place, dtype=dtype)
            if name.endswith("running_var"):
                drawn = 1 + drawn / 2
            elif value.ndim >= 2:
                drawn = drawn * (3 / value[0].numel()) ** 0.5
            else:
                drawn = 0.3 * drawn + (1 if name.endswith("weight") else 0)
            value.copy_(drawn)
    return module


def sampled(value: Tensor, most: int = 48) -> Tensor:
    """At most that many values, evenly spread, and the mean square of all."""
    value = value.detach().double().flatten()
    return torch.cat([value[:: step_of(len(value), most)], value.square().mean()[None]])


def gradients(module: nn.Module) -> Tensor:
    """One number a parameter: its gradient along a fixed direction, over its length; 0 where it has none."""
    found = []
    for p in module.parameters():
        g = torch.zeros_like(p) if p.grad is None else p.grad
        found.append((g * numbers(*p.shape, seed=7, dtype=g.dtype)).sum().detach().double())
    module.zero_grad()
    return torch.stack(found)


def texts(count: int, E: int = 16) -> TextFeatures:
    """`count` captions of 5, 3, 4, 2, ... words, with zeros at padding."""
    lengths = torch.tensor([5, 3, 4, 2, 1, 5][:count])
    is_pad = torch.arange(5)[None] >= lengths[:, None]
    words = numbers(count, 5, E, seed=11).masked_fill(is_pad[..., None], 0.0)
    return TextFeatures(words, is_pad, numbers(count, E, seed=12))


# ---- families ----

CAPTIONS = ["a red bird with black wings", "a blue bird", "black wings", "a bird with wings"]


def small_damsm(**changes: object) -> Damsm:
    sizes = {"embedding": 16, "word_width": 8, "image_width": 2, "image_size": 32, "dropout": 0.0}
    config = DamsmConfig(**(sizes | changes))  # type: ignore[arg-type]
    return filled(Damsm(config, Vocabulary.build(CAPTIONS)))


def family(config: object, B: int = 4, **of_losses: Any) -> Values:
    """Images, losses and gradients of one training step, then images in eval mode.

    Beside the B captions there are two that describe none of the pictures, and two pictures are of one class.
    """
    torch.manual_seed(0)  # for what is translated
    of = family_of(config)
    losses, module = of.loss(**of_losses), sys.modules[of.loss.__module__]
    networks = of.build(config)
    G, Ds = filled(networks["generator"]).train(), filled(networks["discriminators"]).train()
    damsm = small_damsm().eval().requires_grad_(False) if of.needs(config, losses).image_encoder else None
    text, class_ids = texts(B + 2), torch.tensor([3, 1, 3, 2])
    noise, epsilon = numbers(B, config.noise, seed=1), numbers(B, config.condition, seed=2)  # type: ignore[attr-defined]
    real = tuple(numbers(B, 3, s, s, seed=3) for s in of.resolutions(config))

    inputs = noise, epsilon, text.rows(0, B)
    if of.name == "gan_int_cls":
        inputs = module.interpolated(inputs, losses)
    output = G(*inputs)
    values = {f"image{i}": sampled(image) for i, image in enumerate(output.images)}
    values |= {f"attention{i}": sampled(weights) for i, weights in enumerate(output.attention)}
    if output.mean.numel():
        values |= {"mean": sampled(output.mean), "log_var": sampled(output.log_var)}
    loss, logs = module.discriminator_loss(Ds, real, output, text.rows(0, B), losses, 0)
    loss.backward()
    values |= {f"d/{name}": value.detach().double() for name, value in logs.items()}
    values |= {"d/loss": loss.detach(), "d/gradients": gradients(Ds)}

    Ds.requires_grad_(False)
    loss, logs = module.generator_loss(Ds, output, text, class_ids, damsm, losses)
    loss.backward()
    values |= {f"g/{name}": value.detach().double() for name, value in logs.items()}
    values |= {"g/loss": loss.detach(), "g/gradients": gradients(G)}
    values |= {f"g/{k}": sampled(v) for k, v in G.state_dict().items() if k.endswith("running_var")}

    with torch.no_grad():
        output = G.eval()(noise, epsilon, text.rows(0, B))
        features = Ds.eval()[-1].features(real[-1])
        # StackGAN's discriminators see the mean of the augmentation, the others the sentence
        condition = output.mean if "StackGan" in type(config).__name__ else text.sentence[:B]
        values["eval/logits"] = sampled(Ds[-1].conditional_logits(features, condition))
    return values | {f"eval/image{i}": sampled(image) for i, image in enumerate(output.images)}


TINY = {"width": 4, "discriminator_width": 4, "embedding": 16, "noise": 5}
GAN = TINY | {"condition": 6, "residual_blocks": 1}
FAMILIES: dict[str, tuple[object, dict[str, Any]]] = {
    "attngan": (AttnGanConfig(**GAN, stages=2), {}),
    "attngan, original mask": (AttnGanConfig(**GAN, stages=2, mask="original", unconditional=False), {}),
    "attngan, hinge": (
        AttnGanConfig(
            **GAN, stages=2, discriminator_norm="none", discriminator_max_channels=16, first_attention=32, first_width=6
        ),
        {"adversarial": "hinge", "penalty_weight": 0.5, "translation": 0.1},
    ),
    "attngan, projected": (AttnGanConfig(**GAN, stages=1, backbone="squeezenet1_1", mixing_width=4), {}),
    "stackgan 1": (StackGanConfig(**GAN), {}),
    "stackgan 2": (StackGanConfig(**GAN, stage=2), {}),
    "stackgan_v2": (StackGanV2Config(**GAN, stages=2), {"colour_weight": 50.0, "unconditional_weight": 0.5}),
    "dfgan": (DfGanConfig(**TINY, size=32), {"damsm_weight": 0.5}),
    "dfgan, grown": (
        DfGanConfig(**TINY, size=64, grown_from=32, max_multiplier=16), {"penalty_power": 3.0, "translation": 0.1}
    ),
    "gan_int_cls": (GanIntClsConfig(**TINY, text_width=6), {"interpolation_weight": 0.5, "mismatched_share": 0.25}),
    "projected": (
        ProjectedConfig(
            **TINY, size=32, backbone="mobilenet_v2", backbone_size=64, mixing_width=4, text_width=3
        ),
        {"damsm_weight": 0.5},
    ),
}  # fmt: skip


# ---- encoders ----


def of_pairs(model: Damsm | CharEncoder, size: int) -> Values:
    """Features and the loss of four pairs, with two captions more and a second caption of each."""
    images, class_ids = numbers(4, 3, size, size, seed=4), torch.tensor([3, 1, 3, 2])
    more = [] if isinstance(model, CharEncoder) else ["a black bird", "a red bird"]
    loss, logs = model.train().loss(images, CAPTIONS + more, class_ids, extra_captions=CAPTIONS[::-1])
    loss.backward()
    values = {"loss": loss.detach(), "gradients": gradients(model)}
    values |= {name: value.detach() for name, value in logs.items()}
    model.eval()
    text, (regions, image) = model.encode(CAPTIONS), model.encode_images(images)
    values |= {"words": sampled(text.words), "sentence": sampled(text.sentence)}
    return values | {"regions": sampled(regions), "image": sampled(image)}


def damsm(**changes: object) -> Values:
    model = small_damsm(**changes)
    return of_pairs(model, 48)


def char_encoder(form: str) -> Values:
    config = CharEncoderConfig(form=form, embedding=16, first_width=8, width=16, image_width=2, image_size=32)
    return of_pairs(filled(CharEncoder(config)), 48)


def text_encoder(sentence: str, rnn: str) -> Values:
    encoder = filled(TextEncoder(12, 16, 10, 0.0, sentence, rnn))
    text = encoder(*pad_captions([[1, 2, 3, 4, 5, 6, 7], [3, 1], [9, 8, 7, 6]]))
    probe([text.words, text.sentence]).backward()
    return {
        "words": sampled(text.words),
        "sentence": sampled(text.sentence),
        "gradients": gradients(encoder),
    }


def pretrained(name: str) -> Values:
    encoder = filled(IMAGE_ENCODERS[name](embedding=16, width=2, size=64)).train()
    regions, image = encoder(numbers(3, 3, 80, 80, seed=5))
    probe([regions, image]).backward()
    return {"regions": sampled(regions), "image": sampled(image), "gradients": gradients(encoder)}


def part_classifier() -> Values:
    from evaluation.part_classifier import PartClassifier, PartClassifierConfig

    config = PartClassifierConfig(
        ["head", "wings", "belly"], ["red", "blue", "grey", "black"], width=4, size=32
    )
    model = filled(PartClassifier(config)).train()
    images = numbers(3, 3, 40, 40, seed=6)
    logits = model(images)
    probe([logits]).backward()
    values = {"logits": sampled(logits), "gradients": gradients(model)}
    return values | {"features": sampled(model.eval().features(images)), "eval": sampled(model(images))}


# ---- recogniser ----


def sound() -> tuple[Tensor, Tensor]:
    """Two clips (2, S) of tones and noise, the second shorter, and their lengths."""
    t = torch.arange(8000, dtype=torch.float64) / 16_000
    clips = [(2 * torch.pi * f * t * (1 + t)).sin() * 0.3 + 0.05 * numbers(8000, seed=f) for f in (300, 700)]
    return torch.stack(clips).float(), torch.tensor([8000, 6100])


def log_mel() -> Values:
    from asr.audio import resample
    from asr.features import LogMel

    features, is_pad = LogMel()(*sound())
    clip = resample(sound()[0][0].numpy(), 22_050)
    values = {"features": sampled(features, 200), "is_pad": sampled(is_pad.double())}
    return values | {"resampled": sampled(torch.from_numpy(clip))}


def recogniser() -> Values:
    """The joint loss of two clips, with its gradients, and the logits that it comes from."""
    from asr.features import LogMel
    from asr.losses import attention_loss, ctc_loss, joint_loss
    from asr.model import ModelConfig, SpeechModel

    config = ModelConfig(
        width=16, heads=2, encoder_layers=2, decoder_layers=2, feed_forward=24, kernel=5, dropout=0.0
    )
    model = filled(SpeechModel(config, 12), torch.float32)
    tokens, lengths = torch.tensor([[3, 5, 5, 9, 2], [7, 4, 3, 0, 0]]), torch.tensor([5, 3])
    outputs = model(*LogMel()(*sound()), tokens)
    ctc, is_pad, logits, *_ = outputs
    loss = joint_loss(outputs, tokens, lengths)
    loss.total.backward()
    values = {name: getattr(loss, name).detach().double() for name in ("total", "ctc", "attention")}
    values |= {"ctc logits": sampled(ctc), "logits": sampled(logits), "gradients": gradients(model)}
    values["of each, ctc"] = ctc_loss(ctc, is_pad, tokens, lengths).detach().double()
    values["of each, attention"] = attention_loss(logits, tokens, lengths, 0.2).detach().double()
    return values


# ---- scores ----


def scores() -> Values:
    from metrics.coverage import manifold
    from metrics.fid import frechet_distance
    from metrics.inception_score import inception_score
    from metrics.kid import kernel_distance
    from metrics.r_precision import r_precision
    from metrics.retrieval import retrieval
    from metrics.variety import mean_pairwise_distance

    a, b = numbers(150, 6, seed=8).numpy(), (0.8 * numbers(130, 6, seed=9) + 0.1).numpy()
    p = (3 * numbers(120, 5, seed=10)).softmax(1).numpy()
    captions = a + 0.4 * numbers(150, 6, seed=13).numpy()
    found = retrieval(a, captions, np.arange(150))
    r = r_precision(a, captions, np.arange(150) // 5, candidates=20)
    results = {
        "fid": [frechet_distance(a, b)],
        "inception score": inception_score(p),
        "kid": kernel_distance(a, b, subsets=5, subset_size=60),
        "manifold": manifold(a, b),
        "r precision": [r.value, r.std],
        "retrieval": [*found.text_to_picture.values(), *found.picture_to_text.values()],
        "variety": mean_pairwise_distance(a, np.arange(150) // 3),
    }
    return {name: torch.tensor(list(value), dtype=torch.float64) for name, value in results.items()}


CASES: dict[str, Callable[[], Values]] = {
    **{name: lambda of=of: family(of[0], **of[1]) for name, of in FAMILIES.items()},
    "damsm": damsm,
    "damsm, mean, gru": lambda: damsm(sentence="mean", rnn="gru"),
    "char_cnn_rnn, icml": lambda: char_encoder("icml"),
    "char_cnn_rnn, cvpr": lambda: char_encoder("cvpr"),
    "text encoder, mean": lambda: text_encoder("mean", "lstm"),
    "text encoder, gru": lambda: text_encoder("last", "gru"),
    "mobilenet_v2": lambda: pretrained("mobilenet_v2"),
    "squeezenet1_1": lambda: pretrained("squeezenet1_1"),
    "part classifier": part_classifier,
    "log-mel": log_mel,
    "recogniser": recogniser,
    "scores": scores,
}
IN_FLOAT32 = ("log-mel", "recogniser")


def main() -> None:
    from safetensors.torch import save_file

    values = {f"{case}/{k}": v.double().clone() for case, run in CASES.items() for k, v in run().items()}
    save_file(values, FILE)
    print(f"{FILE.name}: {FILE.stat().st_size / 2**10:.0f} KiB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
