"""A trained model as ONNX graphs, float and int8, with every head as an output of its own."""

from __future__ import annotations

import contextlib
import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from overtone.data.batches import Encoded
from overtone.errors import MissingExtraError
from overtone.inference import quantise
from overtone.models.model import EncoderModel
from overtone.run import write_atomic

OPSET = 20
"""The first that has GELU as one operator; as five they take an eighth of the time of an int8 pass."""

NARROW = 32
"""Layers with fewer outputs stay float: there is little to gain, and their error goes into the answer."""


class _Heads(nn.Module):
    """A model that gives its outputs in a row, as a graph has them."""

    def __init__(self, model: EncoderModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(input_ids, attention_mask).values())


def export(model: EncoderModel, folder: Path, calibration: Encoded) -> dict[str, Path]:
    """Write ``float.onnx`` and ``int8.onnx``: ids and mask (B, T) of int64 → an output (B, L) for each task.

    In int8 the backbone's weights have a scale an output channel, and activations are measured as they come;
    ONNX Runtime's dynamic quantisation passes over the heads' layers, and those are kept in fp16. Each file
    is written whole or not at all.

    Args:
        model: in evaluation mode, its adapter merged.
        folder: where the files go.
        calibration: texts on which the range of the activations is measured, one at least; no labels are
            needed. Training rows, so that the rows of the gate stay unseen.

    Returns:
        ``float`` and ``int8`` → its file.

    Raises:
        MissingExtraError: the packages for it are not installed.
        RunError: a file could not be written.
    """
    graphs = {
        "float": _graph(model, calibration),
        "int8": _int8(_graph(quantise.prepare(model, calibration), calibration)),
    }
    paths = {name: folder / f"{name}.onnx" for name in graphs}
    for name, graph in graphs.items():
        write_atomic(paths[name], graph.SerializeToString())
    return paths


def _graph(model: EncoderModel, texts: Encoded) -> Any:  # noqa: ANN401 - the package has no types
    """The model as a float graph."""
    try:
        import onnxruntime  # noqa: F401  # so that all of them are missed at once
        import onnxscript  # noqa: F401
        import torch.onnx as exporter
    except ImportError as error:
        raise MissingExtraError("onnx", "an export") from error
    wrapped = _Heads(copy.deepcopy(model).cpu()).eval()
    # As a graph, the plain formula needs none of the checks that the fused one brings along.
    wrapped.model.body.backbone.config._attn_implementation = "eager"  # type: ignore[union-attr]
    ids, mask = texts.take([0, 0, 0]).pad([0, 1, 2])
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with _quiet():
        program = exporter.export(
            wrapped,
            (ids, mask),
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=list(model.heads),
            dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    for node in graph.graph.node:  # where in the code it came from, paths of this machine among it
        del node.metadata_props[:]
        node.doc_string = ""
    return graph


def _int8(graph: Any) -> Any:  # noqa: ANN401
    """The graph with the weights of the backbone's layers in int8, and those of wide heads in fp16."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    widths = {tensor.name: _outputs(tensor) for tensor in graph.graph.initializer}
    layers = [node for node in graph.graph.node if node.op_type == "MatMul"]
    wide = [node.name for node in layers if widths.get(node.input[1], 0) >= NARROW]
    del graph.graph.value_info[:]  # the quantiser turns weights round, and then these shapes are wrong
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            graph,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=wide,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        found = onnx.load(path)
    _halve(found)
    return found


def _halve(graph: Any) -> None:  # noqa: ANN401
    """Keep the matrices that are still float, those of the heads, in fp16; they are read as fp32 again."""
    from onnx import TensorProto, helper, numpy_helper

    for tensor in [each for each in graph.graph.initializer if _outputs(each) >= NARROW]:
        if tensor.data_type == TensorProto.FLOAT:
            name = tensor.name
            halved = numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), f"{name}.half")
            tensor.CopyFrom(halved)
            graph.graph.node.insert(0, helper.make_node("Cast", [halved.name], [name], to=TensorProto.FLOAT))


def _outputs(tensor: Any) -> int:  # noqa: ANN401
    """The smaller side of a matrix, which a layer's outputs are at least; 0 of what is no matrix."""
    return min(tensor.dims) if len(tensor.dims) == 2 else 0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter and the quantiser say about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
