"""The documentation says what is: its commands run, its example is read, its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_imports import MAY_IMPORT

from src.vimh.format import METADATA_BYTES, check_headers, codes_by_id, record_dtype

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SMOKE = "\n".join(line.strip() for line in (ROOT / "scripts" / "smoke").read_text().splitlines())


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def command_stem(line: str) -> str:
    """A command without what varies: paths, epochs and other values."""
    words = re.sub(r"(to_vimh\.py audio|--output) \S+", r"\1", line.split("#")[0]).split()
    return " ".join(word.split("=")[0] for word in words)


@pytest.mark.parametrize("line", [line for block in blocks(ROOT / "README.md", "bash") for line in block.splitlines()])
def test_every_command_of_the_readme_is_in_the_smoke_run(line):
    target = re.match(r"make (\w+)", line)
    if target and target[1] == "t":
        assert "\nmake t\n" in (ROOT / ".ci" / "run").read_text()
    elif target:
        assert re.search(rf"^run make {target[1]}\b", SMOKE, flags=re.MULTILINE), f"{line} is run nowhere"
    else:
        stems = [command_stem(entry.removeprefix("run ")) for entry in SMOKE.splitlines() if entry.startswith("run ")]
        assert any(stem.startswith(command_stem(line)) for stem in stems), f"{line} is run nowhere"


def test_the_commands_of_the_readme_are_make_targets_in_their_own_words():
    rows = re.findall(r"^\| `([a-z]+)`, `([a-z-]+)` \| (.*) \|$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    targets = re.findall(r"^## ([a-z]+) ([a-z-]+): (.*)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert len(rows) == 10
    assert [row for row in rows if row not in targets] == []


def test_the_record_in_the_format_page_is_what_the_page_says():
    page = ROOT / "docs" / "vimh.md"
    (dump,) = blocks(page, "hex")
    (record,) = np.frombuffer(bytes.fromhex(dump), record_dtype((1, 2, 3), 2, METADATA_BYTES)).reshape(1, 1)
    check_headers(record, "the page")
    assert codes_by_id(record, "the page").tolist() == [[127, 255]]
    rows = re.findall(r"^\| `([0-9a-f ]+)` \| .* \| (.*) \|$", page.read_text(), flags=re.MULTILINE)
    assert " ".join(cells for cells, _ in rows).split() == dump.split()
    said = [float(number) for _, here in rows for number in re.findall(r"-?[\d.]+", here)]
    fields = [record[name].tolist()[0] for name in record.dtype.names]
    assert said == [*fields[:6], *(number for label in fields[6] for number in label), *np.ravel(fields[7])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configuration_options_that_a_page_names_exist(page):
    configs = ROOT / "configs"
    groups = {directory.name for directory in configs.iterdir() if directory.is_dir()}
    named = re.findall(r"\b([a-z_]+)=([a-z][a-z0-9_]+)\b", " ".join(blocks(page, "bash")))
    options = [(group, option) for group, option in named if group in groups]
    assert [pair for pair in options if not (configs / pair[0] / f"{pair[1]}.yaml").is_file()] == []


def test_the_configuration_page_lists_every_option_of_every_group():
    page = (ROOT / "docs" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*?) \| [^`|]+\|$", page, flags=re.MULTILINE))
    found = {group: {*re.findall(r"`(\w+)`", options)} for group, options in rows.items()}
    (single,) = re.findall(r"with one option each: (.*)\.$", page, flags=re.MULTILINE)
    found |= {group: {"default"} for group in ("local", *re.findall(r"`(\w+)`", single))}
    groups = [directory for directory in (ROOT / "configs").iterdir() if directory.is_dir()]
    expected = {group.name: {path.stem for path in group.glob("*.yaml")} for group in groups} | {"local": {"default"}}
    assert found == expected


def test_the_configuration_page_lists_every_program():
    page = (ROOT / "docs" / "configuration.md").read_text()
    _, _, table = page.partition("| program | what it does | configuration |\n|---|---|---|\n")
    found = re.findall(r"^\| `([\w/.]+)` \|", table.partition("\n\n")[0], flags=re.MULTILINE)
    programs = [*ROOT.glob("*.py"), *(path for path in (ROOT / "src").glob("*.py") if is_program(path))]
    assert sorted(found) == sorted(path.relative_to(ROOT).as_posix() for path in programs)


def is_program(path: Path) -> bool:
    return 'if __name__ == "__main__":' in path.read_text()


def test_the_design_page_shows_who_may_import_whom():
    page = (ROOT / "docs" / "design.md").read_text()
    _, _, table = page.partition("| part of `src` | may import |\n|---|---|\n")
    found = {}
    for row in table.partition("\n\n")[0].splitlines():
        parts, allowed = (re.findall(r"`(\w+)`", cell) for cell in row.strip("|").split("|"))
        found |= dict.fromkeys(parts, {*found} if "all of these" in row else {*allowed})
    assert found == MAY_IMPORT


def test_the_shell_scripts_parse():
    for script in (
        "setup.sh",
        ".ci/run",
        "scripts/smoke",
        "scripts/check",
        "scripts/lint",
        "scripts/test",
        "scripts/schedule.sh",
    ):
        shell = "bash" if "bash" in (ROOT / script).read_text().splitlines()[0] else "sh"
        assert subprocess.run([shell, "-n", str(ROOT / script)], check=False).returncode == 0, script
