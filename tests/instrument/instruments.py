"""Instruments for tests, and talks with their pages within a test, without a server."""

import asyncio
import io
import json
import struct
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from omegaconf import OmegaConf

from src.checkpoints.run import Run, build_model, load_run
from src.evaluation.domain import Domain
from src.instrument.instrument import Instrument, PlayedNetwork
from src.readings.network import trained_on

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "tests" / "data" / "compat" / "compat_a.ckpt"


def statistics_of(recipe):
    """Of 400 images."""
    value = recipe.space.value_from_uniform(np.random.default_rng(1).random((400, len(recipe.space.varying))))
    image, levels = (torch.from_numpy(item) for item in recipe.represent(recipe.render(value)))
    return Domain.fit(image, levels).to_dict()


def trained_network(title="cnn"):
    """A network of the saw that has learnt something."""
    run = load_run(CHECKPOINT)
    run.module.requires_grad_(False)
    domain = statistics_of(trained_on(run).recipe)
    return PlayedNetwork(title, "compat/a", trained_on(replace(run, domain=domain)))


def untrained_network(cfg, recipe, title="new"):
    """A network that has learnt nothing, of any recipe."""
    config = {name: OmegaConf.to_container(cfg[name], resolve=True) for name in ("model", "loss", "data")}
    n_aux = len(config["data"]["aux"])
    info = recipe.info("set")
    module = build_model(config, info, ([0.0] * n_aux, [1.0] * n_aux)).eval().requires_grad_(False)
    return PlayedNetwork(title, "run/new", trained_on(Run(module, info, config, statistics_of(recipe))))


def instrument_of(*networks, **parts):
    """The instrument that networks of a synth listen to."""
    first = networks[0].trained
    return Instrument(first.run.info, first.recipe, networks, **parts)


def wav_of(waveform, rate, subtype="FLOAT"):
    """A file, `(time,)` or `(time, channel)`."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def unpacked(message):
    """Header and parts of a message."""
    (length,) = struct.unpack_from("<I", message)
    header, at, parts = json.loads(message[4 : 4 + length]), 4 + length, {}
    for part in header["parts"]:
        count = int(np.prod(part["shape"]))
        parts[part["name"]] = np.frombuffer(message, part["dtype"], count, at).reshape(part["shape"])
        at += -(-parts[part["name"]].nbytes // 4) * 4
    assert at == len(message)
    return header, parts


class Visitor:
    """A page that talks to an application."""

    def __init__(self):
        self.sent, self.received = asyncio.Queue(), asyncio.Queue()

    def send(self, request, content=None):
        """Send a request, text or plain data, and the bytes of a file."""
        text = request if isinstance(request, str) else json.dumps(request)
        self.sent.put_nowait({"type": "websocket.receive", "text": text})
        if content is not None:
            self.sent.put_nowait({"type": "websocket.receive", "bytes": content})

    async def next(self):
        """Header and parts of the next message."""
        message = await asyncio.wait_for(self.received.get(), 60)
        return unpacked(message["bytes"])

    async def until(self, *kinds):
        """Headers of the messages up to one of some kinds."""
        found = []
        while not found or found[-1]["type"] not in kinds:
            found.append((await self.next())[0])
        return found


@asynccontextmanager
async def visiting(app):
    """A page that is open."""
    visitor = Visitor()
    scope = {"type": "websocket", "path": "/live", "root_path": "", "query_string": b"", "headers": []}
    await visitor.sent.put({"type": "websocket.connect"})
    talk = asyncio.create_task(app(scope, visitor.sent.get, visitor.received.put))
    assert (await visitor.received.get())["type"] == "websocket.accept"
    yield visitor
    await visitor.sent.put({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(talk, 60)
