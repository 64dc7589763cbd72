"""The voices as WebAssembly, for pages without Python: compiled from the one source of the kernels.

numba turns the functions of `kernels` into LLVM's intermediate code, as for any call, but does not optimize it. That
code knows the sizes of pointers only through types, so that LLVM compiles it for 32-bit WebAssembly as it is, and
`wasm-ld`, which is LLVM's, links it. What it needs of numba's runtime and of the C library (memory for an array,
another shape for one, the exponential) is imported; `memory.js` of the page has it.

A group has 4 voices here, as many as a vector instruction of WebAssembly has lanes; a page plays one sound at a time.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import carray, types

from src.errors import ConfigError
from src.files import write_atomically
from src.synth import kernels

ROOT = Path(__file__).parents[2]  # modules are found from there
LANES = 4  # floats in 128 bits
TRIPLE = "wasm32-unknown-unknown"
FEATURES = "+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint"  # what all browsers have had since 2023
STACK = 65536  # bytes
IMPORTS = ("exp", "NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor", "numba_attempt_nocopy_reshape")
GET_LINKER = "apt-get install lld, brew install lld, or LINKER=1 sh setup.sh"

_FLOATS, _DOUBLES = types.CPointer(types.float32), types.CPointer(types.float64)
_LONGS, _INT, _FLOAT = types.CPointer(types.uint64), types.int32, types.float32
_OSCILLATOR = (_INT, _FLOATS, _INT, _LONGS, _LONGS, _LONGS, _LONGS)
# What each exported function takes after numba's two pointers, to a result and to an error, which stay unused.
SIGNATURES = {
    "render_saw": (_FLOATS, _INT, _INT, *_OSCILLATOR, _FLOATS, _DOUBLES),
    "render_moog": (_FLOATS, _INT, _INT, *_OSCILLATOR, _FLOATS, _DOUBLES, _FLOAT, _FLOAT, _FLOAT, _INT),
    "decimate": (_FLOATS, _INT, _INT, _FLOATS, _INT, _FLOATS, _INT, _INT),
}


def compile_voices() -> bytes:
    """The kernels of saw and Moog voices as one WebAssembly module, for groups of up to 4 voices.

    Raises:
        ConfigError: If there is no linker, or it fails.
    """
    linker = find_linker()
    with tempfile.TemporaryDirectory() as directory:
        # In a process of its own: what numba has compiled for this machine before changes what it gives out later.
        call = f"from {__name__} import write_objects; write_objects({directory!r})"
        environment = os.environ | {"NUMBA_OPT": "0", "NUMBA_CPU_NAME": "generic", "NUMBA_DISABLE_JIT": "0"}
        command = [sys.executable, "-c", call]
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"The voices cannot be compiled to WebAssembly:\n{result.stderr}")
        return linked(linker, [Path(directory, f"{name}.o") for name in SIGNATURES], Path(directory))


def write_objects(directory: str) -> None:
    """Write an object file of each function; numba must not have been told to optimize."""
    groups = kernels_of(LANES)
    drivers = drivers_of(groups)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for name, signature in SIGNATURES.items():
        function = numba.njit(**groups.code_cache.options)(drivers[name])
        write_atomically(Path(directory, f"{name}.o"), object_of(name, *code_of(function, signature)))


def find_linker() -> list[str]:
    """How wasm-ld is called: one on the path, with a version in its name or without, or that of the package ziglang.

    Raises:
        ConfigError: If there is none.
    """
    names = ("wasm-ld", *(f"wasm-ld-{version}" for version in range(30, 13, -1)))
    found = next(filter(None, map(which, names)), None)
    if found is not None:
        return [found]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "wasm-ld"]
    raise ConfigError(f"The voices of a page need wasm-ld, a linker, and there is none. Install it: {GET_LINKER}.")


def kernels_of(lanes: int) -> ModuleType:
    """The module `kernels` once more, with groups of another size, and out of the reach of the cache of the first.

    The number of lanes has to be a constant when numba compiles, so that it stands in the source.
    """
    path = Path(kernels.__file__)
    source, count = re.subn(r"^LANES = \d+$", f"LANES = {lanes}", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count == 1, f"{path} must say LANES = NUMBER once"
    module = ModuleType(f"{kernels.__name__}_of_{lanes}")
    sys.modules[module.__name__] = module  # numba looks there for the module of a function
    exec(compile(source, path, "exec"), vars(module))
    for compiled in module.code_cache.functions:
        setattr(module, compiled.py_func.__name__, numba.njit(**module.code_cache.options)(compiled.py_func))
    return module


def drivers_of(groups: ModuleType) -> dict[str, Callable[..., None]]:
    """The functions that the page calls, by name: they take numbers and addresses, and render one group.

    Args:
        groups: From `kernels_of`.
    """
    oscillator, n_rows = groups.Oscillator, groups.N_VOICE_PARAMETERS
    saw_group, moog_group, decimate_group = groups.saw_group, groups.moog_group, groups.decimate_group

    @numba.njit
    def played(n, is_limited, tables, size, start, shift, step, phase):
        points, start, shift = carray(tables, (size,)), carray(start, (n,)), carray(shift, (n,))
        return oscillator(is_limited != 0, points, start, shift, carray(step, (n,)), carray(phase, (n,)))

    def render_saw(y, n, n_samples, is_limited, tables, size, start, shift, step, phase, amplitude, decay_rate):
        saws = played(n, is_limited, tables, size, start, shift, step, phase)
        saw_group(carray(y, (n, n_samples)), 0, saws, carray(amplitude, (n,)), carray(decay_rate, (n,)))

    def render_moog(
        y, n, n_samples, is_limited, tables, size, start, shift, step, phase, rows, decay, end, lowest, highest, lead
    ):
        y, rows, decay = carray(y, (n, n_samples)), carray(rows, (n_rows, n)), carray(decay, (n,))
        y[:, :lead] = 0
        saws = played(n, is_limited, tables, size, start, shift, step, phase)
        moog_group(y, 0, saws, rows, decay, end, lowest, highest, lead)

    def decimate(y, n, n_samples, x, n_fine, taps, n_taps, factor):
        decimate_group(carray(y, (n, n_samples)), 0, carray(x, (n, n_fine)), carray(taps, (n_taps,)), factor)

    return {function.__name__: function for function in (render_saw, render_moog, decimate)}


def code_of(function: Any, signature: tuple[Any, ...]) -> tuple[str, str]:
    """LLVM's code of a function of numba's for arguments of these types, and its name there."""
    function.compile(signature)
    (compiled,) = function.overloads.values()
    return compiled.library.get_llvm_str(), compiled.fndesc.llvm_func_name


def object_of(name: str, code: str, name_there: str) -> bytes:
    """An object file of WebAssembly with one function.

    Args:
        name: That it gets.
        code: LLVM's, for any processor.
        name_there: The function's.
    """
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(features=FEATURES, opt=3)
    module = llvm.parse_assembly(code.replace(f"@{name_there}(", f"@{name}("))
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    for part in (*module.functions, *module.global_variables):
        if not part.is_declaration:
            part.linkage = "external" if part.name == name else "internal"  # what is not needed is left out
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = True
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    return machine.emit_object(module)


def linked(linker: list[str], objects: list[Path], directory: Path) -> bytes:
    """A module out of object files, which exports their functions, its memory, and where that is free.

    Args:
        linker: From `find_linker`.
        objects: Files in a directory.
        directory: For what is written beside them.

    Raises:
        ConfigError: If the linker fails.
    """
    listed, output = directory / "imports", directory / "voices.wasm"
    listed.write_text("\n".join(IMPORTS))
    exports = [f"--export={path.stem}" for path in objects]
    options = ["--no-entry", "--strip-all", "--stack-first", "-z", f"stack-size={STACK}", "--export=__heap_base"]
    command = [*linker, *options, f"--allow-undefined-file={listed}", *exports, "-o", output, *objects]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        reason = result.stderr.strip()
        raise ConfigError(f"{linker[0]} cannot link the voices: {reason}. Another version: {GET_LINKER}.")
    return output.read_bytes()
