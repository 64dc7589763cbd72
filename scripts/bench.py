"""Measures generation, reading and training: `make bench`. Ratios are taken within one run, since machines are noisy.

python scripts/bench.py [--records 1000000] [--only SECTION ...] [--write docs/benchmarks.md]
"""

import contextlib
import copy
import functools
import http.client
import io
import itertools
import json
import logging
import os
import platform
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numba  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from websockets.sync.client import ClientConnection as Connection  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from scripts.pages import between_marks, table  # noqa: E402
from scripts.setups import (  # noqa: E402
    compose_config,
    core_seconds,
    median_seconds,
    optimizer_step,
    recipe_of,
    seconds_of,
)
from src.checkpoints.atomic import AtomicCheckpoints  # noqa: E402
from src.checkpoints.run import Run, SaveRun, build_model  # noqa: E402
from src.data.vimh_datamodule import VIMHDataModule  # noqa: E402
from src.evaluation.domain import Domain  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.generation import generate  # noqa: E402
from src.hydra_versions import instantiate  # noqa: E402
from src.instrument.app import MOST_BYTES, play_app  # noqa: E402
from src.instrument.instrument import Instrument, PlayedNetwork  # noqa: E402
from src.live.server import serve  # noqa: E402
from src.models.costs import cpu_threads  # noqa: E402
from src.models.predictor import Predictor  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.programs.interrupts import StopOnInterrupt  # noqa: E402
from src.programs.loggers import instantiate_callbacks, instantiate_trainer  # noqa: E402
from src.programs.output import PlainTable, console, progress  # noqa: E402
from src.programs.run_dirs import register_resolvers  # noqa: E402
from src.readings.network import look, trained_on  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.synth import kernels  # noqa: E402
from src.text import prepare_streams  # noqa: E402
from src.vimh.reader import VIMHReader  # noqa: E402

BATCH = 128
TRAINED_ON = 16384  # samples of the set, those of the test among them
EPOCHS = 20  # of a training, so that `head_figures`, written every 20 epochs, has its share
ROUNDS = 3  # trainings
N_TURNS = 201  # of a knob of the live page, of which the first does not count
RUSAGE_MEGABYTE = 1e6 if sys.platform == "darwin" else 1e3  # in units of ru_maxrss


class OnTerminal(io.StringIO):
    """Standard error as a terminal: a bar that is drawn takes longer than lines in a pipe."""

    def isatty(self) -> bool:
        return True


class Row(NamedTuple):
    """A figure, and what it is to be compared with."""

    what: str
    figure: str
    beside: str = ""


saw_recipe = functools.partial(recipe_of, "synth/generate_simple_saw")


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Within it, PyTorch and Numba compute on one thread."""
    cores = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with cpu_threads(1):
            yield
    finally:
        numba.set_num_threads(cores)


def bench_generation(directory: Path, n_records: int) -> Iterator[Row]:
    """The saw set, stage by stage and as a whole."""
    recipe = saw_recipe("dataset.size=32768")
    n = 256
    value = recipe.values(0, n)
    waveform = recipe.render(value)
    stages: dict[str, Callable[[], Any]] = {
        "sample parameters": lambda: recipe.values(0, n),
        "render, all cores": lambda: recipe.render(value),
        "represent, one core": lambda: recipe.represent(waveform),
        "encode parameters": lambda: recipe.space.encode(value),
    }
    with cpu_threads(1):  # of PyTorch; the synth renders on all cores
        frames = torch.from_numpy(waveform)[:, : 32 * 240].reshape(-1, 80)
        bare = median_seconds(lambda: torch.fft.rfft(frames)) / (len(frames) / 32 / n) / n
        for name, stage in stages.items():
            seconds = median_seconds(stage) / n
            beside = f"bare FFT of the same frames: {bare * 1e6:.1f} µs" if name.startswith("represent") else ""
            yield Row(f"generation: {name}", f"{seconds * 1e6:.1f} µs/sample", beside)
    seconds = seconds_of(lambda: generate(recipe, directory / "whole"))
    mega = recipe.size * waveform.shape[1] / seconds / 1e6
    yield Row(
        "generation: whole program, start-up apart",
        f"{recipe.size / seconds:,.0f} samples/s",
        f"{mega:.0f} million audio samples/s, goal 10,000 samples/s",
    )


def bench_ladder(directory: Path, n_records: int) -> Iterator[Row]:
    """The ladder alone, beside a C++ ladder that filters one voice at a time, and the whole voice."""
    n_voices, rate = 64, 8000  # a second of sound at the rate of the Moog sets
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (n_voices, rate)).astype(np.float32)

    def filter_all() -> np.ndarray:
        return bare_ladder(x, rate)

    every, cores = x.size / median_seconds(filter_all, 25) / 1e6, numba.get_num_threads()
    with one_core():
        alone = x.size / core_seconds(filter_all) / 1e6
        yield Row("ladder alone, 1 core", f"{alone:.0f} Msamples/s", "goal 100")
        yield Row(f"ladder alone, {cores} cores", f"{every:.0f} Msamples/s", f"{every / alone:.2f} of 1 core")
        other = _pedalboard_speed(x, rate)
        if other is None:
            yield Row("ladder against pedalboard's LadderFilter", "not measured", "pip install -e '.[bench]'")
        else:
            yield Row(
                "ladder against pedalboard's LadderFilter, 1 core",
                f"{alone / other:.2f} times as fast",
                f"that one: {other:.0f} Msamples/s, goal 2",
            )
        for name in ("moog_basic", "moog_envelope"):
            recipe = recipe_of(f"synth/generate_{name}")
            value = recipe.values(0, 256)
            n_samples = recipe.render(value).size
            voice = n_samples / core_seconds(functools.partial(recipe.render, value)) / 1e6
            beside = f"{voice / alone:.2f} of the bare ladder, goal 80"
            yield Row(f"whole voice, {name}, 1 core", f"{voice:.0f} Msamples/s", beside)


def bare_ladder(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """A ladder at 1 kHz over `(voice, time)`."""
    n_voices = len(waveform)
    cutoff, k = np.full((n_voices, 1), 1000.0, np.float32), np.full(n_voices, 2.0, np.float32)
    return kernels.ladder(waveform, cutoff, k, sample_rate)


def _pedalboard_speed(x: np.ndarray, rate: int) -> float | None:
    """Msamples/s of a C++ ladder on one core, or None where it is not installed."""
    try:
        import pedalboard  # noqa: PLC0415  # optional: `pip install -e .[bench]`
    except ImportError:
        return None
    ladder = pedalboard.LadderFilter(mode=pedalboard.LadderFilter.LPF24, cutoff_hz=1000, resonance=0.5)
    return x.size / core_seconds(lambda: [ladder(row, rate) for row in x]) / 1e6


def bench_moog(directory: Path, n_records: int) -> Iterator[Row]:
    """The Moog sets as a whole, their stages, memory and start-up."""
    for name, goal in (("moog_basic", 10_000), ("moog_envelope", 5_000), ("moog_resonance", None)):
        recipe = recipe_of(f"synth/generate_{name}", f"dataset.size={TRAINED_ON}")
        with one_core():
            yield from _moog_stages(recipe, name)
        seconds = seconds_of(functools.partial(generate, recipe, directory / name))
        beside = "" if goal is None else f"goal {goal:,}"
        yield Row(f"whole program, {name}, start-up apart", f"{recipe.size / seconds:,.0f} sounds/s", beside)
    small, large = (_generate_in_new_process(directory, size)[1] for size in (1_000, 100_000))
    yield Row("peak memory of 100,000 sounds over that of 1,000", f"{large - small:.0f} MB more", "goal 100 MB")
    warm, _ = _generate_in_new_process(directory, 2)
    torch_alone = median_seconds(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True), 3)
    beside = f"import torch alone: {torch_alone:.1f} s, goal 3 s"
    yield Row("start-up of the generator, compile cache warm", f"{warm:.1f} s", beside)
    with tempfile.TemporaryDirectory() as cache:
        cold, _ = _generate_in_new_process(directory, 2, NUMBA_CACHE_DIR=cache)
    yield Row("start-up of the generator, compile cache cold", f"{cold:.1f} s", "goal 15 s")


def _moog_stages(recipe: Recipe, name: str) -> Iterator[Row]:
    """Time of each stage, as a share of what the bare ladder takes for as many samples."""
    value = recipe.values(0, 256)
    waveform = recipe.render(value)
    bare = core_seconds(lambda: bare_ladder(waveform, recipe.synth.sample_rate))
    for stage, call in (
        ("render", lambda: recipe.render(value)),
        ("represent", lambda: recipe.represent(waveform)),
        ("sample and encode", lambda: recipe.space.encode(recipe.values(0, 256))),
    ):
        seconds = core_seconds(call)
        what = f"{name}: {stage}, 1 core"
        yield Row(what, f"{seconds / 256 * 1e6:.1f} µs/sound", f"{seconds / bare:.2f} of the bare ladder's time")


def _figures_of(code: str, *arguments: str, **environment: str) -> list[float]:
    """Numbers that some Python code prints in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return [float(word) for word in run.stdout.split()]


def _generate_in_new_process(directory: Path, size: int, **environment: str) -> tuple[float, float]:
    """Seconds and peak megabytes of `generate_vimh.py` making a basic set of some size."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, str(ROOT / "generate_vimh.py"), "--config-name=synth/generate_moog_basic"]
    overrides = [f"dataset.size={size}", f"output_dir={directory}", "dataset.name=one", "overwrite=true"]
    start = time.perf_counter()
    (memory,) = _figures_of(code, *command, *overrides, **environment)
    return time.perf_counter() - start, memory / RUSAGE_MEGABYTE


def bench_reading(directory: Path, n_records: int) -> Iterator[Row]:
    """Opening a large set, and batches through the DataLoader."""
    recipe = saw_recipe(f"dataset.size={n_records}", "dataset.train_fraction=0.99")
    data_dir = directory / "large"
    with progress(n_records, "Generating", "samples") as advance:
        seconds = seconds_of(lambda: generate(recipe, data_dir, advance=advance))
    yield Row(f"reading: {n_records:,} records made for it", f"{seconds:.0f} s")
    opening, megabytes = _open_in_new_process(data_dir)
    parsing = _parse_seconds_per_record(data_dir) * n_records
    yield Row("reading: open and check", f"{opening * 1e3:.1f} ms, {megabytes:.1f} MB", "goal 100 ms, 50 MB")
    faster = f"{parsing / opening:,.0f} times faster"
    yield Row("reading: open, against parsing record by record", faster, f"{parsing:.1f} s")
    datamodule = VIMHDataModule(data_dir, batch_size=BATCH)
    n_batches = 2000
    seconds = median_seconds(lambda: _exhaust(datamodule.train_dataloader().batches, n_batches), 3)
    records = datamodule.reader.train.records.view(np.uint8).reshape(len(datamodule.reader.train), -1)
    indices = np.random.default_rng(0).integers(0, len(records), (n_batches, BATCH))
    bare = median_seconds(lambda: [records[rows] for rows in indices], 3)
    rate = n_batches * BATCH / seconds
    yield Row(
        f"reading: shuffled batches of {BATCH} through the DataLoader",
        f"{rate:,.0f} samples/s",
        f"bare indexing of the same rows: {n_batches * BATCH / bare:,.0f} samples/s, goal 1,000,000",
    )


def _exhaust(loader: Any, n_batches: int) -> None:
    for _ in itertools.islice(loader, n_batches):
        pass


def _open_in_new_process(data_dir: Path) -> tuple[float, float]:
    """Median seconds and most megabytes of opening a dataset in five processes, imports apart."""
    code = (
        "import time, resource, sys; from src.vimh.reader import VIMHReader\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.perf_counter()\n"
        "VIMHReader(sys.argv[1]); seconds = time.perf_counter() - start\n"
        "print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    seconds, sizes = zip(*(_figures_of(code, str(data_dir)) for _ in range(5)), strict=True)
    return statistics.median(seconds), max(sizes) / RUSAGE_MEGABYTE


def _parse_seconds_per_record(data_dir: Path) -> float:
    """What a reader costs that unpacks each record by itself, over the first 20,000."""
    n = 20_000
    dtype = VIMHReader(data_dir).train.records.dtype

    def parse() -> None:
        with (data_dir / "train").open("rb") as file:
            for _ in range(n):
                record = file.read(dtype.itemsize)
                height, width, channels = struct.unpack_from("<HHH", record)
                struct.unpack_from("<ff", record, 6)
                count = record[14]
                dict(zip(record[15 : 15 + 2 * count : 2], record[16 : 16 + 2 * count : 2], strict=True))
                np.frombuffer(record, np.uint8, offset=15 + 2 * count).reshape(channels, height, width)

    return median_seconds(parse, 3) / n


def training_config(*overrides: str) -> Any:
    """Configuration of `train.py` for `cnn_tiny` on the large saw set."""
    return compose_config("train", "model=cnn_tiny", "data=vimh_16kdss", "hydra.output_subdir=null", *overrides)


def bench_training(directory: Path, n_records: int) -> Iterator[Row]:
    """A training with all that `train.py` does by default, against a bare loop of the same steps.

    Both are counted by the time that they keep a core busy, all threads of the training together; set-up apart.
    """
    data_dir = directory / "training"
    generate(saw_recipe(f"dataset.size={TRAINED_ON}"), data_dir)
    with cpu_threads(1):  # as `train.py` chooses for this network
        rounds = [_train_in_turn(data_dir, directory / str(number)) for number in range(ROUNDS)]
    n = EPOCHS * len(VIMHDataModule(data_dir, batch_size=BATCH).train_set)
    bare, whole = (n / statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    ratios = [of_bare / of_whole for of_bare, of_whole in rounds]
    yield Row(f"training: cnn_tiny, batch {BATCH}, bare loop, 1 core", f"{bare:,.0f} samples/s")
    yield Row(
        "training: the same by train.py, with its callbacks, TensorBoard and the bar on a terminal, 1 core",
        f"{whole:,.0f} samples/s",
        f"{whole / bare:.2f} of the bare loop ({min(ratios):.2f} to {max(ratios):.2f}), goal 0.9",
    )


def _train_in_turn(data_dir: Path, output_dir: Path) -> tuple[float, float]:
    """Seconds of a core that a bare loop and `Trainer.fit` take, an epoch each in turn: noise affects both."""
    register_resolvers()
    cfg = training_config(
        *(f"paths.{place}={output_dir}" for place in ("root_dir", "log_dir", "output_dir", "work_dir")),
        f"data.data_dir={data_dir}",
        "data.make_dataset=null",
        f"data.batch_size={BATCH}",
        f"trainer.max_epochs={EPOCHS}",
        "trainer.accelerator=cpu",
    )
    datamodule = instantiate(cfg.data)
    model = build_model(cfg, datamodule.info, datamodule.aux_statistics())
    turns = InTurn(_bare_epochs(copy.deepcopy(model), instantiate(cfg.data)))
    trainer = _make_trainer(cfg, datamodule, turns)
    with contextlib.redirect_stderr(OnTerminal()):
        trainer.fit(model, datamodule=datamodule)
    turns.pause()
    return turns.bare, turns.whole


def _make_trainer(cfg: Any, datamodule: VIMHDataModule, *callbacks: Callback) -> Trainer:
    """The trainer that `train.py` makes, with further callbacks before its own."""
    save_run = SaveRun(cfg, datamodule.info, Domain.fit(*datamodule.some_training_images()).to_dict())
    every_callback = [*callbacks, *instantiate_callbacks(cfg.callbacks), save_run, StopOnInterrupt()]
    return instantiate_trainer(cfg.trainer, every_callback, cfg.logger, plugins=[AtomicCheckpoints()])


class InTurn(Callback):
    """Runs an epoch of a bare loop before every epoch of a training, and counts the time of both.

    Args:
        bare_epochs: Trains an epoch at each `next`.

    Attributes:
        bare: Seconds that the bare loop kept a core busy.
        whole: Seconds that the training did since it began, all its threads together.
    """

    def __init__(self, bare_epochs: Iterator[None]) -> None:
        self.bare_epochs = bare_epochs
        self.bare = self.whole = self.start = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before the first epoch."""
        self.start = time.process_time()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning before every epoch."""
        self.pause()
        start = time.thread_time()
        next(self.bare_epochs)
        self.bare += time.thread_time() - start
        self.start = time.process_time()

    def pause(self) -> None:
        """Count the time of the training until now."""
        self.whole += time.process_time() - self.start


def _bare_epochs(model: Any, datamodule: VIMHDataModule) -> Iterator[None]:
    """Training and validation without Lightning, metrics and logging, epoch by epoch."""
    train, val = datamodule.train_dataloader().batches, datamodule.val_dataloader().batches
    net, optimizer = model.net, model.make_optimizer(params=model.net.parameters())
    scheduler = model.make_scheduler(optimizer=optimizer, total_steps=EPOCHS * len(train))
    for epoch in range(EPOCHS):
        train.order.set_epoch(epoch)
        net.train()
        for batch in train:
            optimizer.zero_grad()
            model.compute_loss(net(batch["image"], batch["aux"]), batch).backward()
            optimizer.step()
            scheduler.step()
        net.eval()
        with torch.no_grad():
            for batch in val:
                model.compute_loss(net(batch["image"], batch["aux"]), batch)
        yield


def bench_heads(directory: Path, n_records: int) -> Iterator[Row]:
    """Step time with more heads, `cnn_tiny` at 32x32."""
    cfg, info = training_config(), saw_recipe().info("heads")
    goals = {1: "", 2: ", goal 1.15", 4: "", 10: ", goal 1.5"}
    steps = [_head_step(cfg, info, count) for count in goals]
    rounds = [[median_seconds(step, 9) for step in steps] for _ in range(7)]  # in turn: noise affects all
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    for (count, goal), seconds in zip(goals.items(), medians, strict=True):
        beside = f"{seconds / medians[0]:.2f} of one head{goal}"
        yield Row(f"heads: training step with {count}, batch {BATCH}", f"{seconds * 1e3:.2f} ms", beside)


def _head_step(cfg: Any, info: Any, n_heads: int) -> Callable[[], None]:
    """A training step of a network with this many heads of 24 classes each."""
    spec = info.parameters[1]
    model = build_model(cfg, _with_heads(info, n_heads))
    optimizer = model.make_optimizer(params=model.net.parameters())
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.randint(0, 256, (BATCH, *info.image_shape), dtype=torch.uint8, generator=generator),
        "index": torch.randint(0, spec.n_classes, (BATCH, n_heads), generator=generator),
        "normalized": torch.rand(BATCH, n_heads, generator=generator),
        "aux": torch.randn(BATCH, 2, generator=generator),
    }
    return lambda: optimizer_step(model, optimizer, batch)


def _with_heads(info: Any, n_heads: int) -> Any:
    """A dataset's description with this many heads, each like its second."""
    names = tuple(f"head_{head}" for head in range(n_heads))
    mapping = info.parameter_mappings[info.parameters[1].name]
    return info.model_copy(update={"parameter_names": names, "parameter_mappings": dict.fromkeys(names, mapping)})


def bench_export(directory: Path, n_records: int) -> Iterator[Row]:
    """Latency of `cnn_tiny` at 32x32 as `make onnx` measures it, one thread."""
    # ONNX is optional: `pip install -e .[export]`.
    from src.models.onnx_export import measure_latency, open_session, to_onnx  # noqa: PLC0415

    info = saw_recipe().info("export")
    about = {"image_shape": list(info.image_shape), "aux": list(training_config().data.aux)}
    rng = np.random.default_rng(0)
    for loss, n_heads, n_images in itertools.product(("soft_target", "regression"), (2, 4, 10), (1, 256)):
        predictor = Predictor(build_model(training_config(f"loss={loss}"), _with_heads(info, n_heads)))
        session = open_session(to_onnx(predictor, about).SerializeToString())
        image = rng.integers(0, 256, (n_images, *info.image_shape), dtype=np.uint8)
        aux = rng.standard_normal((n_images, 2), dtype=np.float32)
        found = measure_latency(predictor, session, (image, aux), 2000 // n_images + 200)
        what = f"export: cnn_tiny, {loss}, {n_heads} heads, {'1 image' if n_images == 1 else f'{n_images} images'}"
        goal = ", goal 0.1 ms" if n_images == 1 else ""
        yield Row(f"{what}, onnxruntime", f"{found['onnxruntime']:.3f} ms", f"PyTorch: {found['pytorch']:.3f} ms{goal}")


def bench_play(directory: Path, n_records: int) -> Iterator[Row]:
    """The live page: from a turned knob to the complete answer, over the line that the page uses."""
    for name, median, most in (("moog_basic", 50, 90), ("moog_envelope", 80, 140)):
        instrument = untrained_instrument(name)
        value = instrument.space.value_from_uniform(
            np.random.default_rng(0).random((N_TURNS, len(instrument.info.parameters)))
        )
        with _line_to(name) as line:
            seconds = [_answered(line, number, at) for number, at in enumerate(value.tolist())][1:]
        with cpu_threads(1):
            bare = statistics.median(_bare_answer(instrument, at) for at in value)
        what = f"play: {name}, cnn_64k, from a turned knob to sound, picture and answer"
        beside = f"bare render, picture and network: {bare * 1e3:.1f} ms, goal {median} ms"
        yield Row(f"{what}, median", f"{statistics.median(seconds) * 1e3:.1f} ms", beside)
        yield Row(f"{what}, 95th percentile", f"{np.quantile(seconds, 0.95) * 1e3:.1f} ms", f"goal {most} ms")


def untrained_instrument(name: str) -> Instrument:
    """The instrument of a Moog set, with a network of the usual size that has learnt nothing."""
    recipe = recipe_of(f"synth/generate_{name}")
    cfg = compose_config("train", f"experiment=moog_cnn_{name.removeprefix('moog_')}")
    config = {section: OmegaConf.to_container(cfg[section], resolve=True) for section in ("model", "loss", "data")}
    info, n_aux = recipe.info(name), len(cfg.data.aux)
    module = build_model(config, info, ([0.0] * n_aux, [1.0] * n_aux)).eval().requires_grad_(False)
    batch = recipe.make(0, 1024)
    domain = Domain.fit(torch.from_numpy(batch.image), torch.from_numpy(batch.spec_range)).to_dict()
    network = PlayedNetwork("cnn_64k", "untrained", trained_on(Run(module, info, config, domain)))
    return Instrument(info, recipe, [network])


def play_untrained(name: str) -> None:
    """Serve its page, in a process of its own."""
    instrument = untrained_instrument(name)
    list(instrument.warm_up())
    serve(play_app(instrument), message_bytes=MOST_BYTES, browser=False)


@contextlib.contextmanager
def _line_to(name: str) -> Iterator[Connection]:
    """The WebSocket of a page of a process that serves such an instrument."""
    code = "import sys; from scripts.bench import play_untrained; play_untrained(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            place, _, token = process.stdout.readline().strip().removeprefix("Page: http://").partition("/?token=")
            entry = http.client.HTTPConnection(place)
            entry.request("GET", f"/?token={token}")
            cookie = entry.getresponse().headers["set-cookie"].partition(";")[0]
            with connect(f"ws://{place}/live", additional_headers={"Cookie": cookie}, max_size=None) as line:
                yield line
        finally:
            process.kill()


def _answered(line: Connection, number: int, value: list[float]) -> float:
    """Seconds from a request to its answer, after a pause in which what takes longer may have begun."""
    time.sleep(random.Random(number).uniform(0, 0.15))
    start = time.perf_counter()
    line.send(json.dumps({"type": "sound", "id": number, "value": value}))
    while f'"type":"sound","id":{number},'.encode() not in line.recv()[:64]:
        pass
    return time.perf_counter() - start


def _bare_answer(instrument: Instrument, value: np.ndarray) -> float:
    """Seconds of one render, one picture and one pass of the network."""
    trained = instrument.networks[0].trained
    start = time.perf_counter()
    waveform = instrument.recipe.render(instrument.known(value)[None])
    look(waveform, trained, trained.representation)
    return time.perf_counter() - start


ALL = (bench_generation, bench_ladder, bench_moog, bench_reading, bench_training, bench_heads, bench_export, bench_play)
SECTIONS = {section.__name__.removeprefix("bench_"): section for section in ALL}
COLUMNS = ("what", "measured", "beside it")
MARKS = "<!-- bench: made by scripts/bench.py -->\n", "<!-- end of bench -->\n"


def main() -> None:
    """Measure, print, write."""
    prepare_streams()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    parser = OptionParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="size of the set that reading is measured on")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--write", type=Path, help="write the table to this page, what else is on it stays")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for name in arguments.only:
            console(stderr=True).print(f"Measuring {name} ...")
            rows += SECTIONS[name](Path(directory), arguments.records)
    machine = (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )
    shown = PlainTable(machine)
    for heading in COLUMNS:
        shown.add_column(heading)
    for row in rows:
        shown.add_row(*row)
    console().print(shown)
    if arguments.write:
        lines = [
            "",
            f'Made by `make bench ARGS="--write {arguments.write}"` on {machine}.',
            "Times are medians; ratios were taken within one run. Figures of 1 core count the time that the core was "
            "busy.",
            "On another machine they will differ, ratios less so.",
            "",
            *table(COLUMNS, rows),
            "",
        ]
        page = arguments.write.read_text(encoding="utf-8") if arguments.write.exists() else "# Measurements\n\n"
        write_atomically(arguments.write, between_marks(page, MARKS, "\n".join(lines)).encode())
        console().print(f"Written: {arguments.write}")


if __name__ == "__main__":
    main()
