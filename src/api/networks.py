"""`load` and `TrainedNetwork`: a trained network that reads sounds."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch

from src.api.answers import Answer
from src.api.datasets import Dataset
from src.api.places import as_path, find
from src.api.shown import TextTable, facts, facts_html
from src.api.sources import Audible, sources_of
from src.checkpoints.run import Run, check_same_heads, load_run
from src.checkpoints.trusted import instantiate_trusted
from src.errors import ConfigError, check_number
from src.params import ParamSpec
from src.playback import Playback
from src.readings.network import NetworkInput, TrainedOn, input_of, trained_on, with_hop
from src.readings.reading import Reading, held_together, read_audio, read_samples, with_ridges
from src.runs import CHECKPOINTS, TRAIN, RunRecord, choose_run, read_run
from src.text import name_of
from src.vimh.info import DatasetInfo


def load(
    run: str | Path | RunRecord | None = None,
    log_dir: str | Path = "logs",
    device: str = "cpu",
    trusted_modules: Sequence[str] = (),
) -> "TrainedNetwork":
    """A trained network.

    Nothing that a checkpoint holds is executed.

    Args:
        run: `best` (smallest error of the complete runs), `last` (newest), a run by its name or its directory, a
            checkpoint, or one of `runs()`. None: the newest complete run.
        log_dir: Where runs are. Relative paths are looked for from the working directory, and then from the project's.
        device: Of PyTorch, where the network is to work: `cpu`, `cuda`, `mps`.
        trusted_modules: Packages whose classes the checkpoint may name, beside those that are always allowed.

    Raises:
        NSMError: If there is no such run, or its checkpoint cannot be read.

    Examples:
        >>> net = load("best")
        >>> [spec.name for spec in net.parameters]
        ['note_velocity', 'log10_decay_time']
    """
    log_dir = find(log_dir, "log_dir")
    chosen = choose_run(_wanted(run), log_dir)
    record, directory = chosen.run, chosen.ckpt_path.absolute().parents[1]
    if record is None and chosen.ckpt_path.absolute().parent.name == CHECKPOINTS:
        record = read_run(directory, log_dir.absolute() / TRAIN)
    loaded = load_run(chosen.ckpt_path, trusted_modules)
    loaded.module.requires_grad_(False)
    try:
        loaded.module.to(device)
    except (RuntimeError, AssertionError) as error:  # PyTorch raises either
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device is {device!r}, which cannot be used here: {reason}. Choose cpu.") from error
    return TrainedNetwork(loaded, chosen.ckpt_path, chosen.why, record, tuple(trusted_modules))


def _wanted(run: str | Path | RunRecord | None) -> str | None:
    """A run as `choose_run` takes it: by its name, or by its place, which may be in the project."""
    if run is None:
        return None
    wanted = as_path(run.directory if isinstance(run, RunRecord) else run, "run")
    place = find(wanted, "run")
    return os.fspath(place if place.is_file() or (place / CHECKPOINTS).is_dir() else wanted)


@dataclass(frozen=True, eq=False, repr=False)
class TrainedNetwork:
    """A trained network that reads sounds; from `load`.

    Attributes:
        run: The PyTorch module (`run.module`, in eval mode), its dataset and its configuration.
        path: Its checkpoint.
        why: Which it is and why, a sentence.
        record: What its run reached; None for a checkpoint that lies outside of a run.
        trusted_modules: Packages whose classes it may name.
    """

    run: Run
    path: Path
    why: str
    record: RunRecord | None
    trusted_modules: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """What it reads: name, kind, range, grid step and units of each."""
        return self.info.parameters

    @property
    def info(self) -> DatasetInfo:
        """The dataset that it was trained on."""
        return self.run.info

    @property
    def n_weights(self) -> int:
        """Number of its weights."""
        return sum(weight.numel() for name, weight in self.run.module.named_parameters() if name.startswith("net."))

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return str(self.run.config.get("experiment_name") or "")

    @property
    def device(self) -> torch.device:
        """Where it works."""
        return next(self.run.module.parameters()).device

    @cached_property
    def trained(self) -> TrainedOn:
        """What it was trained on, as far as recordings are concerned.

        Raises:
            NSMError: If its dataset does not say how its images were made.
        """
        return trained_on(self.run, trusted_modules=self.trusted_modules)

    def predict(
        self,
        audio: Audible | Dataset,
        sample_rate: float | None = None,
        *,
        normalize: bool = True,
        peak: float | None = None,
        joint: bool = False,
        hop: float | None = None,
    ) -> Answer:
        """Read the parameters of sounds.

        A recording is treated as by `predict.py`: averaged over its channels, cut to begin where the sound does,
        resampled, cut or filled up with silence to the duration of the training's sounds, brought to their peak. Where
        the network was trained on recordings, it is cut into frames as they were, and its level stays as it is.

        Args:
            audio: A waveform, `(time,)`, or several, `(batch, time)`, NumPy's or PyTorch's, of floats (full scale is 1)
                or integers (full scale is that of their type); a file, a directory or a pattern such as
                `sounds/*.flac`; a list of these. Or samples of a dataset, `data[:16]`, whose images are read.
            sample_rate: Of waveforms, Hz; files know theirs.
            normalize: Whether a recording's gain means nothing. What depends on it then has a wider interval.
            peak: That a recording is brought to; 1 is full scale. None: the median peak of the training's sounds, if
                a synth made them.
            joint: Whether the 90 % intervals of all parameters of a sound hold together, and are wider for it.
            hop: How often a frame of a recording begins, s, where the network was trained on recordings. None: as often
                as the training's frames did.

        Raises:
            NSMError: If it is no audio, silent, shorter than 0.05 s, or no dataset of this network.

        Examples:
            >>> answer = load("best").predict("sounds/a.wav")
            >>> answer.values.shape
            (1, 2)
        """
        if isinstance(audio, Dataset):
            if sample_rate is not None:
                raise ConfigError("sample_rate is of waveforms; a dataset knows its own. Leave it out.")
            return self._predict_samples(audio, joint)
        if peak is not None:
            check_number("peak", peak, above=0, most=1, hint=", which is full scale")
        sources = sources_of(audio, sample_rate)
        trained = self.trained
        if hop is not None:
            trained = with_hop(trained, check_number("hop", hop, above=0, hint=" s"))
        readings: list[Reading] = []
        for source in sources:
            reading = read_audio(source, trained, normalize, peak)
            readings.append(with_ridges(reading, trained.recipe) if trained.recipe else reading)
        return Answer(self.info, self._held(readings, joint), trained.recipe, trained)

    def _held(self, readings: Sequence[Reading], joint: bool) -> tuple[Reading, ...]:
        """Readings whose intervals hold together, if they are to."""
        return tuple(held_together(reading, self.run) for reading in readings) if joint else tuple(readings)

    def _predict_samples(self, data: Dataset, joint: bool) -> Answer:
        """Read the images of samples of a dataset."""
        check_same_heads(self.info, data.info, str(data.path))
        readings: list[Reading] = []
        for batch, names in data.batches():
            readings += read_samples(batch, names, self._input)
        return Answer(self.info, self._held(readings, joint), self._playback.recipe, None)

    @cached_property
    def _input(self) -> NetworkInput:
        return input_of(self.run, self.trusted_modules)

    @cached_property
    def _playback(self) -> Playback:
        return Playback(self.info, partial(instantiate_trusted, trusted_modules=self.trusted_modules))

    def table(self) -> TextTable:
        """The parameters that it reads."""
        return parameters_table(self.parameters)

    def __repr__(self) -> str:
        return f"{facts(self._title, self._facts())}\n\n{self.table()!r}"

    def _repr_html_(self) -> str:
        return facts_html(self._title, self._facts()) + self.table()._repr_html_()

    @property
    def _title(self) -> str:
        return f"Network of {self.record.name if self.record else name_of(self.path)}"

    def _facts(self) -> dict[str, str]:
        """What is shown of it."""
        info, record = self.info, self.record
        network = record.network if record and record.network else type(self.run.module.net).__name__
        shape = " x ".join(map(str, info.image_shape))
        sound = f" of {info.duration:g} s at {info.sample_rate:,} Hz" if info.duration and info.sample_rate else ""
        return {
            "experiment": self.experiment or "not named",
            "dataset": info.title,
            "network": f"{network}, {self.n_weights:,} weights",
            "input": f"images (channel, freq, time) {shape}{sound}",
            "error": error_of(record),
            "checkpoint": name_of(self.path),
            "chosen": self.why,
        }


def error_of(record: RunRecord | None) -> str:
    """What a run reached on its test sounds, in words."""
    found = []
    if record and record.error is not None:
        found.append(f"{record.error:.3g} grid steps")
    if record and record.accuracy is not None:
        found.append(f"{record.accuracy:.1%} of the classes right")
    return f"{', '.join(found)}, on test sounds" if found else "not known, its run has no results"


def parameters_table(parameters: Sequence[ParamSpec]) -> TextTable:
    """Name, kind, range, number of classes and units of parameters."""
    rows = []
    for spec in parameters:
        ends = [spec.text(end) for end in (spec.min, spec.max)]
        reach = ", ".join(spec.names) if spec.categorical else " … ".join(ends)
        rows.append((spec.name, str(spec.kind), reach, str(spec.n_classes), spec.natural_units))
    header = ("parameter", "kind", "range", "classes", "units")
    return TextTable(header, tuple(rows), texts=("parameter", "kind", "range", "units"))
