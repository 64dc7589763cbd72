"""Laws over the source itself: who imports whom, where imports stand, no private names of libraries, unique types."""

import ast
import importlib
import inspect
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The parts of src, from the bottom to the top, and what each may import beside itself, src.errors, src.files, src.text
# and the version.
MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "text": set(),
    "code_cache": set(),
    "plain": set(),
    "version_1": {"plain"},
    "migration": {"plain", "version_1"},
    "sections": set(),
    "overrides": set(),
    "hydra_versions": set(),
    "params": {"sections"},
    "param_tensors": {"params"},
    "recordings": set(),
    "runs": set(),
    "spectral": {"sections"},
    "perturb": {"sections", "params", "recordings"},
    "synth": {"code_cache", "sections"},
    "vimh": {"params", "migration", "sections", "plain"},
    "models": {"params", "param_tensors"},
    "recipe": {"migration", "sections", "params", "perturb", "recordings", "spectral", "synth", "vimh"},
    "playback": {"spectral", "vimh", "recipe"},
    "generation": {"overrides", "hydra_versions", "recipe", "vimh"},
    "data": {"params", "param_tensors", "vimh"},
    "evaluation": {"code_cache", "params", "spectral", "vimh", "models", "perturb", "recipe"},
    "pages": set(),
    "pictures": {"params", "vimh"},
    "listening": {"params", "spectral", "vimh", "evaluation", "pages"},
    "live": {"pages"},
    "sheet": {"params", "vimh", "playback", "pages", "live"},
    "checkpoints": {"migration", "hydra_versions", "vimh", "models", "plain"},
    "readings": {"params", "recordings", "spectral", "vimh", "models", "recipe", "data", "evaluation", "checkpoints"},
    "instrument": {
        *("sections", "params", "perturb", "recordings", "spectral", "synth", "vimh", "recipe", "playback", "models"),
        *("evaluation", "pages", "live", "sheet", "readings"),
    },
    "callbacks": {"params", "recipe", "pictures"},
    "programs": {"overrides", "hydra_versions", "runs"},
    "packing": {"hydra_versions", "params", "perturb", "recipe", "recordings", "spectral", "vimh", "programs"},
}
MAY_IMPORT["tasks"] = {*MAY_IMPORT}
MAY_IMPORT["api"] = {"params", "recordings", "runs", "vimh", "recipe", "playback", "evaluation", "pages", "pictures"}
MAY_IMPORT["api"] |= {"plain", "checkpoints", "readings", "programs"}
ENTRY_POINTS = {"train", "eval", "predict", "audio_eval", "export", "play", "play_page"}
MAY_IMPORT |= {name: {"programs"} for name in ENTRY_POINTS}

WITHOUT_FRAMEWORKS = {
    "files",
    "text",
    "code_cache",
    "plain",
    "migration",
    "version_1",
    "sections",
    "params",
    "param_tensors",
    "recordings",
    "runs",
    "perturb",
    "spectral",
    "synth",
    "vimh",
}
FRAMEWORKS = {"lightning", "hydra", "omegaconf"}
LAZY_IMPORTS = 9  # at most, of optional packages, inside functions of src
# Tasks of programs, classes that a file names, packages that are tried before work begins, and the voices on CUDA,
# which need PyTorch and a package that is not everywhere.
IMPORT_BY_NAME = {"programs/command_line.py", "checkpoints/trusted.py", "models/onnx_export.py", "synth/base.py"}
PRIVATE_PLACES = 1  # at most
PUBLIC_WITH_UNDERSCORE = {"_replace", "_asdict", "_fields", "_make"}  # documented methods of named tuples

TREES = {
    path.relative_to(ROOT / "src").as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "src").rglob("*.py"))
}
PROGRAMS = [*ROOT.glob("*.py"), *(ROOT / "src" / f"{name}.py" for name in sorted(ENTRY_POINTS))]


def part_of(module):
    return module.partition("/")[0].removesuffix(".py")


def is_import(node):
    return isinstance(node, ast.Import | ast.ImportFrom)


def names_of(node):
    """What an import statement names, dotted; a relative one begins with dots."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]


def imports(module):
    """Every name that a file of src imports, anywhere in it."""
    return [name for node in ast.walk(TREES[module]) if is_import(node) for name in names_of(node)]


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


# ----- who imports whom


def test_the_table_goes_one_way():
    order = list(MAY_IMPORT)
    for part, allowed in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(part) for other in allowed), part


@pytest.mark.parametrize("module", TREES)
def test_modules_import_what_the_design_allows(module):
    part = part_of(module)
    found = {name.split(".")[1] for name in imports(module) if name.split(".")[0] == "src"}
    allowed = {part, "errors", "files", "text", "__version__", *MAY_IMPORT.get(part, set())}
    assert part in {*MAY_IMPORT, "__init__"}, f"src/{module} has no row in the table"
    assert found <= allowed
    assert [name for name in imports(module) if name.startswith(".")] == []


@pytest.mark.parametrize("module", [module for module in TREES if part_of(module) in WITHOUT_FRAMEWORKS])
def test_sound_and_files_know_no_framework(module):
    assert {name.partition(".")[0] for name in imports(module)} & FRAMEWORKS == set()


def test_no_module_imports_a_program():
    for path in [*PROGRAMS, *(ROOT / "scripts").glob("*.py")]:
        nodes = filter(is_import, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        found = {name for node in nodes for name in names_of(node)}
        assert not {name for name in found if name.startswith(tuple(f"src.{entry}." for entry in ENTRY_POINTS))}, path


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_programs_name_their_task_by_a_string(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {name for node in ast.walk(tree) if is_import(node) for name in names_of(node)}
    assert {name.rpartition(".")[0] for name in found if name.startswith("src.")} <= {
        "src.programs.entry",
        "src.programs.command_line",
    }
    (task,) = [node.value for node in ast.walk(tree) if is_task_name(node)]
    module, _, name = task.rpartition(".")
    definitions = TREES[f"{module.removeprefix('src.').replace('.', '/')}.py"].body
    assert name in {node.name for node in definitions if isinstance(node, ast.FunctionDef)}


def is_task_name(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("src.tasks.")


# ----- imports stand at the top


def lazy_imports():
    """Package and module of every import that is not at the top level of a file of src, or tried there."""
    for module, tree in TREES.items():
        top = [*tree.body, *(inner for node in tree.body if isinstance(node, ast.Try) for inner in node.body)]
        for node in ast.walk(tree):
            if is_import(node) and node not in top:
                yield from ((name.partition(".")[0], module) for name in names_of(node))


def test_only_optional_packages_are_imported_inside_functions():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    optional = {re.split(r"[<>=~\[ ]", line)[0].replace("-", "_") for lines in extras.values() for line in lines}
    found = list(lazy_imports())
    assert [(package, module) for package, module in found if package not in optional] == []
    assert len(found) <= LAZY_IMPORTS


def test_modules_are_imported_by_name_where_the_name_is_data():
    found = {module for module, tree in TREES.items() if uses(tree, "import_module") or uses(tree, "__import__")}
    assert found <= IMPORT_BY_NAME


def test_no_import_is_for_type_checkers_alone():
    assert [module for module, tree in TREES.items() if uses(tree, "TYPE_CHECKING")] == []


def uses(tree, name):
    """Whether a file has a name, alone or behind a dot."""
    return any(name in (getattr(node, "id", None), getattr(node, "attr", None)) for node in ast.walk(tree))


# ----- private names of libraries


def defined_names():
    """Every name that src gives to a function, a class, a variable or an attribute."""
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.id if isinstance(node, ast.Name) else node.attr


def private_names(tree, own):
    """Names with an underscore in front that a file takes from elsewhere: imported, as attributes, or in a string."""
    for node in ast.walk(tree):
        if is_import(node):
            yield from (name for name in names_of(node) if any(map(is_private, name.split("."))))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            if not (isinstance(node.value, ast.Name) and node.value.id in sys.stdlib_module_names):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^(?:torch|lightning|hydra)(?:\.\w+)*\._[a-z]\w*", node.value)


def test_no_private_name_of_a_library_is_used():
    own = {*defined_names(), *PUBLIC_WITH_UNDERSCORE}
    found = [(module, name) for module, tree in TREES.items() for name in private_names(tree, own)]
    assert [(module, name) for module, name in found if name.startswith("src.")] == []
    assert len(found) <= PRIVATE_PLACES, found


@pytest.mark.parametrize(
    "code",
    [
        "from hydra._internal import utils",
        "from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop",
        "trainer._logger_connector.update()",
        "name = pl_module._current_fx_name",
        "import torch._inductor.exc",
        "norms = torch._foreach_norm(tensors)",
        "sys.modules['torch._inductor.exc']",
    ],
)
def test_private_names_are_found(code):
    assert list(private_names(ast.parse(code), {"_own"}))
    assert not list(private_names(ast.parse("self._own = batch._replace(x=1)"), {"_own", "_replace"}))


def test_no_private_method_of_a_library_is_overridden():
    found = set()
    for module in TREES:
        if part_of(module) in ENTRY_POINTS or "__init__" in module:
            continue
        name = f"src.{module.removesuffix('.py').replace('/', '.')}"
        for _, cls in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            foreign = [base for base in cls.__mro__ if not base.__module__.startswith("src.")]
            methods = [attr for attr, value in vars(cls).items() if is_private(attr) and inspect.isfunction(value)]
            if cls.__module__ == name:
                found |= {(name, attr) for attr in methods if any(attr in vars(base) for base in foreign)}
    assert found == set()


# ----- one name, one type


def test_no_type_has_the_name_of_another():
    """Classes, and aliases of types: `Ends = tuple[float, float, str]`."""
    names = Counter()
    for tree in TREES.values():
        names.update(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
        targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
        names.update(target.id for target in targets if re.fullmatch(r"[A-Z]+[a-z]\w*", getattr(target, "id", "")))
    assert [name for name, count in names.items() if count > 1] == []
