"""A trained module as an ONNX file: exporting, running, comparing and timing it."""

import contextlib
import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from onnxruntime import InferenceSession

from src.errors import CheckpointError, ConfigError
from src.models.costs import cpu_threads, median_ms
from src.models.predictor import Predictor
from src.params import ParameterSpace

METADATA = "nsm"  # key of the metadata that holds the description
INPUTS, OUTPUTS = ("image", "aux"), ("value", "std")
OPSET = 20  # fixed, so that a newer PyTorch writes the same operators
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# Whose messages are not for the user, and from which level on they would be.
CHATTY = {
    "torch.onnx": logging.ERROR,  # it misses torchvision, which nothing here needs
    "onnx_ir": logging.WARNING,
    "onnxscript": logging.WARNING,
}

Inputs = tuple[np.ndarray, np.ndarray]
Outputs = Sequence[np.ndarray]


def check_packages() -> None:
    """Refuse to begin without the packages of the extra `export`."""
    try:
        for package in PACKAGES:
            importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Exporting needs {', '.join(PACKAGES)}, and {error.name} is missing. Install them: pip install '.[export]'"
        ) from error


def output_names(predictor: Predictor) -> list[str]:
    """Names of the outputs, in their order: `value`, `std`, and `NAME_probability` of every category."""
    return [*OUTPUTS, *(f"{spec.name}_probability" for spec in predictor.categories)]


def to_onnx(predictor: Predictor, description: dict[str, Any]) -> ModelProto:
    """The network as an ONNX graph with a dynamic batch axis, its description inside.

    Args:
        predictor: In eval mode.
        description: Becomes the metadata.
    """
    shape, n_aux = description["image_shape"], len(description["aux"])
    example = torch.zeros(2, *shape, dtype=torch.uint8), torch.zeros(2, n_aux)  # a batch of 1 would become a constant
    with quiet_exporter():
        program: Any = torch.onnx.export(
            predictor,
            example,
            input_names=INPUTS,
            output_names=output_names(predictor),
            opset_version=OPSET,
            dynamic_shapes=({0: "batch"}, {0: torch.export.Dim.DYNAMIC}),  # one name for an axis that both share
            dynamo=True,
            verbose=False,
        )
    proto = program.model_proto
    remove_traces(proto)
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(description)
    return proto


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence what PyTorch's exporter says about PyTorch and about its own work."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in CHATTY}
    for logger in levels:
        logger.setLevel(CHATTY[logger.name])
    try:
        with warnings.catch_warnings():
            # PyTorch 2.13 copies its own tree specs in a way that is going out of use.
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).* is deprecated")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def remove_traces(proto: ModelProto) -> None:
    """Take out what the exporter notes for debugging: source lines, paths of this machine, shapes in between."""
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.ClearField("metadata_props")
    proto.graph.ClearField("value_info")
    proto.graph.ClearField("metadata_props")
    proto.ClearField("metadata_props")


def open_session(content: bytes) -> InferenceSession:
    """An ONNX file, ready to run on one thread of the CPU."""
    import onnxruntime  # noqa: PLC0415  (optional: the extra `export`)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_pytorch(predictor: Predictor, inputs: Inputs) -> Outputs:
    """All outputs as PyTorch computes them, in their order."""
    with torch.inference_mode():
        return [output.numpy() for output in predictor(*(torch.from_numpy(array) for array in inputs))]


def run_onnx(session: InferenceSession, inputs: Inputs) -> Outputs:
    """The same as onnxruntime computes them."""
    return session.run(None, dict(zip(INPUTS, inputs, strict=True)))


def check_agreement(predictor: Predictor, session: InferenceSession, inputs: Inputs, tolerance: float) -> float:
    """Compare onnxruntime with PyTorch.

    Returns:
        The largest difference, as a share of the parameter's range; of a category, it may be that of a probability.

    Raises:
        CheckpointError: If it is above `tolerance`, or no number.
    """
    specs = predictor.module.specs
    space = ParameterSpace(specs)
    ranges = np.ptp(space.natural_from_value(np.stack([space.low, space.high])), axis=0)
    pairs = zip(run_pytorch(predictor, inputs), run_onnx(session, inputs), strict=True)
    value, std, *classes = (np.abs(ours - theirs) for ours, theirs in pairs)
    shares = dict(zip([spec.name for spec in specs], np.maximum(value, std).max(axis=0) / ranges, strict=True))
    for spec, differences in zip(predictor.categories, classes, strict=True):
        shares[spec.name] = np.maximum(shares[spec.name], differences.max())
    name, share = max(shares.items(), key=lambda item: np.nan_to_num(item[1], nan=np.inf))
    if not share <= tolerance:
        raise CheckpointError(
            f"{name}: ONNX and PyTorch differ by {share:.2g} of its range, more than "
            f"tolerance={tolerance:g}. Nothing was written. Train with a network that overflows nowhere, or allow more."
        )
    return float(share)


def measure_latency(predictor: Predictor, session: InferenceSession, inputs: Inputs, repeats: int) -> dict[str, float]:
    """Median time of a run in milliseconds, `pytorch` and `onnxruntime`, on one thread each."""
    with cpu_threads(1):
        return {
            "pytorch": median_ms(lambda: run_pytorch(predictor, inputs), repeats),
            "onnxruntime": median_ms(lambda: run_onnx(session, inputs), repeats),
        }
