"""Data-parallel training under `torchrun` that computes what one process would compute on the whole batch.

Every process has the whole batch. The large networks see its own rows of it, and what they return is gathered again,
so that heads and losses, which compare the pairs of a batch with each other, see all of it in every process. Tensors
are of two kinds: whole (the same in every process) or a process's own rows; `own_rows` and `all_rows` lead from one to
the other, and each is the other's gradient. BatchNorm takes its statistics from all rows. Without `torchrun` nothing
here has an effect.
"""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from core.errors import UserError
from t2i.families.base import GeneratorOutput

T = TypeVar("T")


def join(device: torch.device) -> torch.device:
    """Meet the other processes of `torchrun`, where there are any; the device of this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """True for the process that writes files; for one alone, too."""
    return not dist.is_initialized() or dist.get_rank() == 0


@contextmanager
def main_process_first() -> Iterator[None]:
    """The first process does this while the others wait; then they do it too."""
    if not is_first():
        dist.barrier()
    yield
    if is_first() and dist.is_initialized():
        dist.barrier()


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def refuse_several(script: str) -> None:
    """For a trainer that does not share its batches. Raises UserError under `torchrun` with several processes."""
    if (count := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise UserError(
            f"{script} trains in one process, and {count} would each train everything; start it without torchrun"
        )


@contextmanager
def explained() -> Iterator[None]:
    """Say in one line that another process of a shared training is gone, or that memory ran out. Raises UserError."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in text:
            raise UserError(
                "there is not enough memory for this training; choose a smaller batch or narrower networks"
            ) from error
        if isinstance(error, dist.DistError) or (
            dist.is_initialized() and ("gloo" in text or "NCCL" in text)
        ):
            raise UserError(
                f"another process of this training ended ({text.splitlines()[0][:120]}); see what it said, and start "
                "all of them again: they go on from the last checkpoint"
            ) from error
        raise


# ---- rows ----


class _OwnRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor) -> Tensor:
        count, rest = divmod(len(whole), processes())
        if rest:
            raise UserError(
                f"{len(whole)} pictures cannot be shared by {processes()} processes; choose a multiple of them as batch"
            )
        return whole[dist.get_rank() * count :][:count].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return all_rows(gradients[0])


class _AllRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        whole = rows.new_empty((processes() * len(rows), *rows.shape[1:]))
        if not rows.numel():
            return whole
        # bytes, since not every backend knows every type
        dist.all_gather(list(_bytes(whole).chunk(processes())), _bytes(rows))
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return own_rows(gradients[0])


class _Sum(torch.autograd.Function):
    """Over all processes; of gradients likewise, for each of them saw its own rows with the sum."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0].contiguous())


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.view(-1).view(torch.uint8)


def own_rows(whole: Tensor) -> Tensor:
    """(B, ...), the same in every process -> this one's (B / processes, ...)."""
    return _OwnRows.apply(whole)


def all_rows(rows: Tensor) -> Tensor:
    """The rows of every process, in order: (B / processes, ...) -> (B, ...)."""
    return _AllRows.apply(rows)


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of batches, each process computing its own rows; without gradients (to sample, say) all of them."""

    def of_all(*whole: Any) -> Any:
        if not torch.is_grad_enabled():
            return function(*whole)
        return tree_map_only(Tensor, all_rows, function(*tree_map_only(Tensor, own_rows, whole)))

    return of_all


# ---- networks ----


class SharedBatchNorm(nn.Module):
    """BatchNorm whose statistics in training are those of all rows; has the parameters and buffers of `norm`.

    PyTorch's own SyncBatchNorm works on GPUs only.
    """

    running_mean: Tensor  # (C,)
    running_var: Tensor  # (C,)
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d):
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.momentum = norm.momentum or 0.0
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)
        self.train(norm.training)  # which one of a frozen stage is not

    def forward(self, x: Tensor) -> Tensor:
        """x (B / processes, C, ...) -> the same shape."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        if not self.training:
            mean, var = self.running_mean, self.running_var
        else:
            over = [0, *range(2, x.ndim)]
            count = x.numel() // x.shape[1] * processes()
            values = x.float() if x.dtype == torch.bfloat16 else x
            mean = _Sum.apply(values.sum(over)) / count
            var = _Sum.apply((values - mean.view(shape)).square().sum(over)) / count
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(
                    (var * count / max(count - 1, 1)).to(self.running_var.dtype), self.momentum
                )
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (x * scale.view(shape) + (self.bias - mean * scale).view(shape)).to(x.dtype)


def share(module: nn.Module, method: str, parameters: Iterable[Tensor]) -> None:
    """Let `method` of a module compute this process's rows only; `parameters` are those that it uses."""
    used = {id(p) for p in parameters}
    for owner in list(module.modules()):
        for name, child in owner.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d) and id(child.weight) in used:
                setattr(owner, name, SharedBatchNorm(child))
    setattr(module, method, shared(getattr(module, method)))
    for p in module.parameters():
        if id(p) in used:
            p.of_own_rows = True  # type: ignore[attr-defined]


def share_generator(G: nn.Module) -> None:
    """Each process computes its own rows. Attention, which no loss reads, is left out of what is gathered."""
    forward = G.forward

    def without_attention(*inputs: Any) -> Any:
        output = forward(*inputs)
        return output._replace(attention=()) if isinstance(output, GeneratorOutput) else output

    G.forward = without_attention
    share(G, "forward", G.parameters())


def share_discriminator(D: Any, side: int) -> None:
    """Each process looks at its own pictures; the heads, which see pairs of the whole batch, see all of them."""
    twin = copy.deepcopy(D).to("meta")
    features = twin.features(torch.empty(2, 3, side, side, device="meta"))
    of_twin = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    if not of_twin:  # of a frozen stage, whose images it does not see
        return
    gradients = torch.autograd.grad(features.sum(), list(of_twin.values()), allow_unused=True)
    used = [name for name, gradient in zip(of_twin, gradients, strict=True) if gradient is not None]
    share(D, "features", [p for name, p in D.named_parameters() if name in used])


def combine_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """After a backward pass: the gradient of the whole batch, in every process.

    A shared network's is the sum of what its processes saw; a head's, which saw everything everywhere, is the mean.
    """
    if processes() == 1:
        return
    with_gradient = [p for p in parameters if p.grad is not None]
    for p in with_gradient:
        assert p.grad is not None
        if not getattr(p, "of_own_rows", False):
            p.grad /= processes()
    sum_gradients(with_gradient)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """After a backward pass through a sum over this process's rows: the gradient of the sum over all of them."""
    if processes() == 1:
        return
    with_gradient = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in with_gradient])  # type: ignore[union-attr]
    dist.all_reduce(flat)
    for p, gradient in zip(with_gradient, flat.split([p.numel() for p in with_gradient]), strict=True):
        p.grad = gradient.view_as(p)


# ---- items of any number ----


def own_items(items: Sequence[T]) -> Sequence[T]:
    """Every n-th of a batch's items is this process's, of n; none where a batch has fewer items."""
    return items[dist.get_rank() :: processes()] if dist.is_initialized() else items


def total(part: Tensor) -> Tensor:
    """The sum of a tensor over all processes, without a gradient."""
    if processes() == 1:
        return part
    summed = part.detach().clone()
    dist.all_reduce(summed)
    return summed
