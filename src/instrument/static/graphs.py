"""What a page computes with tensors, as ONNX: pictures of sounds, and what a network says of them.

Both are the project's own functions, traced, so that there is no second version of the pictures to keep in step.
"""

from typing import Any

import torch
from torch import Tensor, nn

from src.errors import ConfigError
from src.evaluation.estimates import shares_of
from src.models.onnx_export import OPSET, quiet_exporter, remove_traces
from src.models.predictor import Predictor
from src.readings.network import TrainedOn
from src.spectral.representation import SpectralRepresentation

PICTURE = ("image", "spec_range", "decibels")  # outputs
ANY = ({0: "sound"},)  # number of sounds


class PictureGraph(nn.Module):
    """A representation as a function of waveforms, float32, `(sound, time)`.

    Args:
        representation: That of the network's images.
    """

    def __init__(self, representation: SpectralRepresentation) -> None:
        super().__init__()
        self.representation = representation
        self.eval()

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The image, its `spec_min` and `spec_max`, and the first channel in dB before it is rounded to pixels."""
        image, spec_range = self.representation.to_image(waveform)
        return image, spec_range, self.representation.spectrogram_db(waveform)[0][:, 0]


class HearingGraph(nn.Module):
    """A network as a function of images and their ranges: all that it says of them, and how far they are.

    Args:
        trained: The network.
    """

    def __init__(self, trained: TrainedOn) -> None:
        super().__init__()
        self.trained = trained
        self.predictor = Predictor(trained.run.module)
        self.eval()

    @property
    def outputs(self) -> list[str]:
        """Their names: `value`, `std`, `distance` if it is known, and `share_NAME` and `probability_NAME`."""
        categories = [spec.name for spec in self.predictor.categories]
        with torch.inference_mode():
            shares = self.shares(*self.example)
        names = [*(f"probability_{name}" for name in categories), *(f"share_{name}" for name in shares)]
        return ["value", "std", *names, *(["distance"] if self.trained.domain is not None else [])]

    @property
    def example(self) -> tuple[Tensor, Tensor]:
        """Images and ranges of the shape that it takes."""
        shape = self.trained.run.info.image_shape
        return torch.zeros(1, *shape, dtype=torch.uint8), torch.tensor([[-80.0, 0.0]])

    def shares(self, image: Tensor, spec_range: Tensor) -> dict[str, Tensor]:
        """The distribution over the grid that each head gives, where heads are such."""
        module = self.trained.run.module
        return shares_of(module, module(image, self.trained.to_tensors.aux_of(image, spec_range)))

    def forward(self, image: Tensor, spec_range: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of their names.

        Args:
            image: uint8, `(sound, channel, freq, time)`.
            spec_range: dB, `(sound, 2)`.
        """
        module, domain = self.trained.run.module, self.trained.domain
        logits = module(image, self.trained.to_tensors.aux_of(image, spec_range))
        found = [*self.predictor.told(logits), *shares_of(module, logits).values()]
        return *found, *([] if domain is None else [domain.apart(image, spec_range)])


def picture_onnx(representation: SpectralRepresentation) -> bytes:
    """A representation as an ONNX file: `waveform` → `image`, `spec_range`, `decibels`."""
    example = (torch.zeros(2, representation.n_samples),)  # a batch of 1 would become a constant
    return traced(PictureGraph(representation), example, ["waveform"], [*PICTURE], ANY, "The representation")


def hearing_onnx(trained: TrainedOn) -> bytes:
    """A network as an ONNX file, for one sound: `image`, `spec_range` → `outputs` of `HearingGraph`."""
    graph = HearingGraph(trained)
    return traced(graph, graph.example, ["image", "spec_range"], graph.outputs, None, "The network")


def traced(
    graph: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str], shapes: Any, what: str
) -> bytes:
    """An ONNX file.

    Args:
        graph: What it computes.
        example: Inputs.
        inputs: Their names.
        outputs: Names.
        shapes: Names of axes of any length, as `torch.onnx.export` takes them; None: all are as in the example.
        what: It is, for messages.

    Raises:
        ConfigError: If the exporter cannot follow what is computed.
    """
    try:
        with quiet_exporter():
            program: Any = torch.onnx.export(
                graph,
                example,
                input_names=inputs,
                output_names=outputs,
                opset_version=OPSET,
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ConfigError(
            f"{what} cannot be written as ONNX: it computes something that PyTorch's exporter cannot follow. A page "
            "that needs no Python cannot have it; make play serves it."
        ) from error
    proto = program.model_proto
    remove_traces(proto)
    content: bytes = proto.SerializeToString()
    return content
