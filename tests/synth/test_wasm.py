"""The kernels once more, for WebAssembly: what is compiled is the source of the first."""

import numpy as np
import pytest

from src.errors import ConfigError
from src.synth import kernels, wasm
from src.synth.voices import SawVoice, saw_oscillator

HEADER = b"\0asm"


def test_another_number_of_lanes_is_another_module_of_the_same_source():
    groups = wasm.kernels_of(4)
    assert (groups.LANES, kernels.LANES) == (4, 32)
    assert groups.ladder_block.py_func.__code__.co_filename == kernels.__file__
    assert not any(compiled.stats.cache_path for compiled in (groups.saw_group, groups.moog_group))


@pytest.mark.slow
def test_its_voices_are_those_of_the_first():
    voice = SawVoice(8000, 0.1)
    value = voice._complete({"note_number": np.array([40.0, 50.0, 60.5])})
    groups = wasm.kernels_of(4)
    oscillator = groups.Oscillator(*saw_oscillator(kernels, value, 8000, True))
    made = groups.render_saw(oscillator, np.ones(3, np.float32), np.full(3, 1 / 8000), voice.n_samples)
    np.testing.assert_allclose(made, voice.render({"note_number": value["note_number"]}), atol=1e-6)


@pytest.mark.slow
def test_a_module_exports_the_renderers_and_needs_what_the_page_has(tmp_path):
    content = wasm.compile_voices()
    assert content.startswith(HEADER)
    for name in (*wasm.SIGNATURES, "memory", "__heap_base", *wasm.IMPORTS):
        assert name.encode() in content
    assert wasm.compile_voices() == content


def test_without_a_linker_it_is_said_how_to_get_one(monkeypatch):
    monkeypatch.setattr(wasm, "which", lambda name: None)
    monkeypatch.setattr(wasm, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"need wasm-ld.*apt-get install lld.*LINKER=1 sh setup\.sh"):
        wasm.compile_voices()


def test_the_linker_of_a_package_serves_where_there_is_no_other(monkeypatch):
    monkeypatch.setattr(wasm, "which", lambda name: "/usr/bin/wasm-ld-19" if name == "wasm-ld-19" else None)
    assert wasm.find_linker() == ["/usr/bin/wasm-ld-19"]
    monkeypatch.setattr(wasm, "which", lambda name: None)
    monkeypatch.setattr(wasm, "find_spec", lambda name: object())
    assert wasm.find_linker()[1:] == ["-m", "ziglang", "wasm-ld"]


def test_a_linker_that_fails_is_quoted(tmp_path):
    (tmp_path / "linker").write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    (tmp_path / "linker").chmod(0o755)
    with pytest.raises(ConfigError, match="cannot link the voices: it is broken"):
        wasm.linked([str(tmp_path / "linker")], [], tmp_path)
