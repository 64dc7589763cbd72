import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The part of src that a module belongs to, and the parts that it may import beside itself and src.errors.
MAY_IMPORT = {
    "errors": set(),
    "params": set(),
    "spectral": set(),
    "synth": {"params"},
    "vimh": {"params"},
    "models": {"params"},
    "data": {"params", "vimh"},
    "generation": {"params", "synth", "spectral", "vimh", "__version__"},
    "evaluation": {"params", "synth", "spectral", "vimh"},
    "callbacks": {"params"},
    "utils": set(),
}
EXCEPTIONS = {("utils/run.py", "src.vimh.info")}
ENTRY_POINTS = {"train", "eval", "predict", "audio_eval", "export"}
WITHOUT_FRAMEWORKS = ["params", "spectral", "synth", "vimh"]

MODULES = {str(path.relative_to(ROOT / "src")): path for path in sorted((ROOT / "src").rglob("*.py"))}


def part_of(module):
    return module.partition("/")[0].removesuffix(".py")


def imports(module):
    """Every module that a file of src imports, anywhere in it, as dotted names."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"src/{module} line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_parts(module):
    """Parts of src that a file imports, with the dotted name of each import."""
    for name in imports(module):
        first, _, rest = name.partition(".")
        if first == "src":
            yield rest.partition(".")[0], name


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_what_the_design_allows(module):
    part = part_of(module)
    if part in ENTRY_POINTS or part == "__init__":
        forbidden = ENTRY_POINTS
    else:
        forbidden = {*MAY_IMPORT, *ENTRY_POINTS, "__version__", ""} - {"errors", part, *MAY_IMPORT[part]}
    wrong = [
        name
        for imported, name in imported_parts(module)
        if imported in forbidden and not any(module == path and name.startswith(dot) for path, dot in EXCEPTIONS)
    ]
    assert wrong == []


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) in WITHOUT_FRAMEWORKS])
def test_sound_and_files_know_no_framework(module):
    assert {name.partition(".")[0] for name in imports(module)} & {"lightning", "hydra", "omegaconf"} == set()


def test_every_import_of_this_project_leads_to_a_part_of_it():
    for module in MODULES:
        for part, name in imported_parts(module):
            assert part in {*MAY_IMPORT, *ENTRY_POINTS, "__version__"}, f"src/{module} imports {name}"


def test_programs_outside_src_import_no_entry_point():
    for path in [*ROOT.glob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not {f"src.{name}" for name in ENTRY_POINTS} & set(modules), path
