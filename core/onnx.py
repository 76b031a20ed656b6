"""Networks as ONNX files, which run without torch: in onnxruntime, and in a browser in onnxruntime-web."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import UserError
from core.files import write_bytes

FEWEST_HALVED = 256  # numbers of a weight that is worth a conversion


def write_onnx(
    network: nn.Module,
    example: dict[str, Tensor],
    outputs: Sequence[str],
    dynamic: dict[str, dict[int, Any]],
    path: Path,
) -> None:
    """Write a network in eval mode. example: its inputs by name; dynamic: of an input the axes that may differ, each
    with its `torch.export.Dim`.

    Weights that float16 holds exactly, as it does those of a model folder, are kept in it; all is computed in float32.
    Raises UserError where the packages are missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  the exporter's
    except ImportError as error:
        raise UserError(
            f'{error.name} is missing, which writes ONNX files: pip install "saybird[onnx]"'
        ) from error
    shapes = {name: dynamic.get(name) for name in example}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts about each other
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network.eval(), kwargs=example, dynamo=True, dynamic_shapes=shapes, output_names=list(outputs),
            verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    halve(model.graph)
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())


def halve(graph: Any) -> None:
    """Keep the weights of an onnx.GraphProto in float16 where that loses nothing; what reads them gets float32."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        half = values.astype(np.float16)
        if values.size < FEWEST_HALVED or not np.array_equal(half.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
