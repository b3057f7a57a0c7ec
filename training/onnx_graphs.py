"""A correction as ONNX graphs, for programs without PyTorch.

``model.onnx``: photo, reduced, to the grid of its correction. ``fit.onnx``: a pair of small pictures to a grid, for
callers that convert colours between them. ``slice.onnx``: photo of any size and grid to the corrected photo.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from expcorr_core import __version__
from expcorr_core.bilateral.direct import fit_directly
from expcorr_core.bilateral.nodes import DEFAULT_SIZE
from expcorr_core.corrector import PAIR_SIZE, Corrector
from expcorr_core.files import replacing
from expcorr_core.image.resize import resize
from expcorr_core.method.weights_file import AS_IT_IS, FORMAT, NORMALISED, VALUE_RANGE
from expcorr_core.settings import Settings

from .onnx_operators import TRANSLATIONS, slice_rows

EXAMPLE = (96, 128)  # height and width of the pictures to trace with; the graphs take any
PHOTO = (1, 3, "height", "width")
GRID = (1, *DEFAULT_SIZE, 3, 4)
SMALLEST = 256  # values of a tensor that is stored in half precision


class Fit(nn.Module):
    """The grid that leads from one small picture to another."""

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        source, target = (resize(image, PAIR_SIZE)[0].double() for image in (before, after))
        change = fit_directly(source, target - source, torch.ones_like(source[:1]), DEFAULT_SIZE)
        return (change + torch.eye(3, 4, dtype=torch.float64)).float()[None]


class Correction(nn.Module):
    """What the corrector finds of a reduced photo with default settings: grid, corrected picture, opinion."""

    def __init__(self, corrector: Corrector) -> None:
        super().__init__()
        self.corrector, self.fit = corrector, Fit()

    def forward(self, photo: Tensor) -> tuple[Tensor, ...]:
        corrected, well_exposed = self.corrector.examine(photo, Settings())
        found = (self.fit(photo, corrected), corrected)
        return found if well_exposed is None else (*found, well_exposed)


def traced(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> ir.Model:
    """A module's graph for pictures of any height and width."""
    free = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations within PyTorch
        program = torch.export.export(module.eval(), tuple(inputs.values()), dynamic_shapes=(free,) * len(inputs))
        exported = torch.onnx.export(
            program, dynamo=True, input_names=[*inputs], output_names=outputs, opset_version=18, verbose=False,
            optimize=False, custom_translation_table=TRANSLATIONS,
        )  # fmt: skip
    assert exported is not None
    # In place of the exporter's own optimisation, which searches for rewrites for minutes.
    optimizer.inline(exported.model)
    optimizer.fold_constants(exported.model)
    optimizer.remove_unused_nodes(exported.model)
    for value in (*exported.model.graph.inputs, *exported.model.graph.outputs):
        if value.shape is not None and len(value.shape) == 4:
            value.shape = ir.Shape(PHOTO)
    return exported.model


def _halved(model: ir.Model) -> ir.Model:
    """The same graph with large weights stored in half precision; it computes in float32 as before."""
    copy = ir.from_proto(ir.to_proto(model))
    for name, value in list(copy.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST:
            continue
        stored = ir.Value(name=f"{name}_half", const_value=ir.tensor(tensor.numpy().astype("float16")))
        cast = ir.Node("", "Cast", [stored], [ir.AttrInt64("to", ir.DataType.FLOAT)])
        value.replace_all_uses_with(cast.outputs[0])
        del copy.graph.initializers[name]
        copy.graph.initializers.add(stored)
        copy.graph.insert_before(copy.graph[0], cast)
    return copy


def _named(model: ir.Model, words: str, metadata: Mapping[str, str]) -> ir.Model:
    """With a description, and without what only the exporter wants to know."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        node.metadata_props.clear()
        node.doc_string = None
    model.producer_name, model.producer_version = FORMAT, __version__
    model.doc_string = model.graph.doc_string = words
    model.graph.name = FORMAT
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    return model


def slice_graph() -> ir.Model:
    """The graph that slices, without limits, any rows of a photo."""
    model = ir.from_proto(slice_rows.to_model_proto())
    photo, grid, place = model.graph.inputs
    [corrected] = model.graph.outputs
    corrected.name = "corrected"
    shapes = {photo: (1, 3, "rows", "width"), grid: GRID, place: (2,), corrected: (1, 3, "rows", "width")}
    for value, shape in shapes.items():
        value.shape = ir.Shape(shape)
    words = (
        "Rows of a photo, corrected by a grid: place is the first row, and the height of the whole photo. No limits."
    )
    return _named(model, words, {"format": FORMAT})


def write_graphs(folder: Path, corrector: Corrector) -> list[Path]:
    """Write the graphs of a corrector that computes in float32.

    Args:
        folder: where to; it is made, and files of these names are replaced.
        corrector: its network.

    Returns:
        The files: ``model.onnx``, ``model_fp16.onnx``, ``fit.onnx`` and ``slice.onnx``.
    """
    network = corrector.network
    photo = torch.rand(1, 3, *EXAMPLE)
    Fit()(photo, photo)  # makes the constants of the fit, which the exporter takes as they are
    metadata = {
        "format": FORMAT,
        "architecture": json.dumps(network.architecture.to_dict()),
        "value_range": VALUE_RANGE,
        "input": NORMALISED if network.normalised else AS_IT_IS,
        "training": json.dumps(network.training_record),
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    found = Correction(corrector)
    names = ("grid", "corrected", "well_exposed")[: len(found(photo))]
    model = traced(found, {"photo": photo}, names)
    model = _named(model, "From a photo of at most 512 x 512 pixels to the bilateral grid of its correction.", metadata)
    fit = traced(Fit(), {"before": photo, "after": photo.sqrt()}, ("grid",))
    graphs = {
        "model.onnx": model,
        "model_fp16.onnx": _halved(model),
        "fit.onnx": _named(fit, "The bilateral grid that leads from a small picture to another.", {"format": FORMAT}),
        "slice.onnx": slice_graph(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, graph in graphs.items():
        with replacing(folder / name) as temporary:
            ir.save(graph, temporary)
    return [folder / name for name in graphs]
