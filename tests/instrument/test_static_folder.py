"""The page without Python as a folder: what is written, what is refused, and what its graphs compute."""

import base64
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import torch

from src.errors import ConfigError
from src.instrument.instrument import Instrument
from src.instrument.static import folder, runtime, tables
from src.instrument.static.graphs import PICTURE, HearingGraph, hearing_onnx, picture_onnx
from src.models.onnx_export import open_session
from src.pages.pages import HOSTED_POLICY
from src.synth import kernels

N_SOUNDS = 20


@pytest.fixture(scope="module")
def alone(recipe_of):
    """The saw, and nobody who listens."""
    recipe = recipe_of("dataset.size=8")
    return Instrument(recipe.info("saw"), recipe)


@pytest.fixture(scope="module")
def sounds(alone):
    value = alone.space.value_from_uniform(np.random.default_rng(3).random((N_SOUNDS, len(alone.space.varying))))
    return alone.recipe.sounds(value)


@pytest.mark.slow
def test_the_graph_of_pictures_makes_those_of_python(alone, sounds):
    session = open_session(picture_onnx(alone.representation))
    image, spec_range, decibels = session.run(list(PICTURE), {"waveform": sounds})
    wanted, wanted_range = alone.recipe.represent(sounds)
    assert np.abs(image.astype(int) - wanted.astype(int)).max() <= 1
    np.testing.assert_allclose(spec_range, wanted_range, atol=1e-4)
    np.testing.assert_allclose(decibels, alone.recipe.spectrogram_db(sounds), atol=0.01)


@pytest.mark.slow
def test_the_graph_of_a_network_says_what_the_network_says(alone, sounds, trained_run):
    from src.checkpoints.run import load_run
    from src.readings.network import trained_on

    trained = trained_on(load_run(trained_run.run_dir / "checkpoints" / "last.ckpt"))
    graph, session = HearingGraph(trained), open_session(hearing_onnx(trained))
    image, spec_range = alone.recipe.represent(sounds[:1])
    found = session.run(graph.outputs, {"image": image, "spec_range": spec_range})
    with torch.inference_mode():
        wanted = graph(torch.from_numpy(image), torch.from_numpy(spec_range))
    for name, ours, theirs in zip(graph.outputs, wanted, found, strict=True):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-4, atol=1e-4, err_msg=name)


# ----- what a page is told


def test_the_rows_of_the_kernels_are_named_in_their_order():
    assert [getattr(kernels, name) for name in tables.ROWS] == list(range(kernels.N_VOICE_PARAMETERS))


def test_a_page_has_what_works_in_it(alone):
    data = folder.static_data(alone, tables.tables(alone, []))
    assert (data["perturbations"], data["n_test"], data["networks"]) == ([], 0, [])
    assert data["static"]["voice"]["n_samples"] == alone.n_samples
    json.dumps(data, allow_nan=False)


def test_all_addresses_of_a_page_are_relative(alone):
    files = dict(folder.text_files(folder.static_data(alone, {}), {"title": "saw", "sides": ["Sound"], "styles": [0]}))
    page = files["index.html"].decode()
    assert HOSTED_POLICY in page.replace("&#39;", "'")
    assert "'wasm-unsafe-eval'" in HOSTED_POLICY and "frame-ancestors" not in HOSTED_POLICY
    assert 'src="./instrument/static/static.js"' in page and 'href="/' not in page and 'src="/' not in page
    assert {"instrument/static/worker.js", "instrument/instrument.js", "pages/player.js", "pages/page.css"} <= set(
        files
    )


def test_a_synth_that_only_python_has_is_refused(alone):
    class Own:
        sample_rate, duration = alone.recipe.synth.sample_rate, alone.recipe.synth.duration

    other = Instrument(alone.info, alone.recipe)
    object.__setattr__(other, "recipe", type(alone.recipe)(**{**vars(alone.recipe), "synth": Own()}))
    with pytest.raises(ConfigError, match="Own renders in Python alone"):
        tables.tables(other, [])


# ----- the folder


FILES = {"index.html": b"page", "voices.wasm": b"v", "picture.onnx": b"p", "ort/x.mjs": b"x"}


def test_a_folder_is_written_whole_and_replaces_an_earlier_page(tmp_path):
    output = tmp_path / "deep" / "page"
    folder.write_folder(output, FILES)
    folder.write_folder(output, {**FILES, "index.html": b"newer"})
    found = {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert found == {**FILES, "index.html": b"newer"}
    assert [path.name for path in output.parent.iterdir()] == ["page"]


def test_what_is_no_page_stays(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("mine")
    with pytest.raises(ConfigError, match="no page of this program"):
        folder.write_folder(tmp_path / "thesis", FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="File name too long"):
        folder.write_folder(tmp_path / "page", {**FILES, "x" * 300: b"a name that is too long"})
    assert list(tmp_path.iterdir()) == []


# ----- onnxruntime-web


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name in runtime.FILES.values():
            info = tarfile.TarInfo(name)
            info.size = len(name)
            packed.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


def test_what_was_fetched_once_is_found_again(tmp_path, monkeypatch):
    content = archive()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    monkeypatch.setattr(runtime, "INTEGRITY", digest)
    monkeypatch.setattr(runtime, "fetched", lambda path: content)
    files = runtime.runtime_files(tmp_path)
    assert files == {name: member.encode() for name, member in runtime.FILES.items()}
    monkeypatch.setattr(runtime, "fetched", lambda path: pytest.fail("it is there"))
    assert runtime.runtime_files(tmp_path) == files


def test_another_archive_is_refused(tmp_path, monkeypatch):
    class Answer(io.BytesIO):
        pass

    monkeypatch.setattr(runtime.urllib.request, "urlopen", lambda *_, **__: Answer(b"something else"))
    with pytest.raises(ConfigError, match="not the one that npm has"):
        runtime.runtime_files(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("registry", "words"), [("http://127.0.0.1:9", "cannot be fetched"), ("file:///etc", "no address of a registry")]
)
def test_without_a_network_it_is_said_what_to_do(registry, words, tmp_path, monkeypatch):
    monkeypatch.setenv(runtime.CHOICE, registry)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=words):
        runtime.runtime_files(tmp_path)
