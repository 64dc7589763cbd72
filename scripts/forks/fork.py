"""A fork of this template: the tree of its files, cut and renamed."""

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from scripts.forks import lines, prose, python_code
from scripts.forks.parts import Part, owned, words_of

Texts = dict[str, str]  # path to what a file holds; binary files are not among them

TITLE = "Neural spectral modeling"
TITLES = re.compile(r"Neural [Ss]pectral [Mm]odeling")
NAME = "neural-spectral-modeling"
SUMMARY = "networks that read the parameters of synthesized sounds from their spectrograms"
CHAINED = ("configs/data/", "configs/experiment/", "configs/synth/")  # options that are made of other options
AS_THEY_ARE = ("LICENSE",)
ENTRIES = (".yaml", ".yml", ".toml", ".cff", ".example", ".txt", ".gitignore")
SHELL = ("scripts/smoke", "scripts/check", "scripts/lint", "scripts/test", "setup.sh", ".ci/run", "scripts/schedule.sh")
IMAGES = (".png", ".svg", ".jpg", ".gif")
COMMANDS = ("ex", "ae", "pr", "ddr", "au", "rn", "cmp", "tb", "lc", "onnx")
NOTHING = re.compile("(?!)")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


@dataclass
class Fork:
    """A tree that is being cut.

    Attributes:
        texts: What the files hold that are left.
        binaries: Paths of pictures and data that are left.
        parts: What goes.
        gone: Paths that went.
    """

    texts: Texts
    binaries: set[str]
    parts: Sequence[Part]
    gone: set[str]
    targets: re.Pattern[str] = NOTHING  # of the Makefile that are gone, as texts name them
    _seen: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, parts: Sequence[Part]) -> "Fork":
        """The files that git knows of, without those that the parts own."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
        texts, binaries = {}, set()
        for path in filter(None, listed.decode().split("\0")):
            data = (root / path).read_bytes()
            try:
                texts[path] = data.decode("utf-8")
            except UnicodeDecodeError:
                binaries.add(path)
        fork = cls(texts, binaries, parts, set())
        for part in parts:
            fork.remove(owned(part, [*texts, *binaries]))
        return fork

    def remove(self, paths: Collection[str]) -> None:
        """Take files out."""
        self.gone.update(paths)
        self.binaries.difference_update(paths)
        for path in paths:
            self.texts.pop(path, None)

    @property
    def words(self) -> re.Pattern[str]:
        """What speaks of what is gone."""
        return re.compile(words_of(self.parts, self.gone), re.MULTILINE)

    def cut(self) -> None:
        """Cut what speaks of the parts out of every file."""
        self._cut_options()
        self._cut_code()
        self._cut_lines()
        self._cut_pages()

    # ----- configurations

    def _cut_options(self) -> None:
        """Take out options that are made of those that went."""
        while True:
            gone = self.words.search
            lost = [
                path
                for path in self.texts
                if path.startswith(CHAINED)
                and any(gone(line.partition("#")[0]) for line in self.texts[path].split("\n"))
            ]
            if not lost:
                return
            self.remove(lost)

    # ----- Python

    def _cut_code(self) -> None:
        """Cut definitions, cases and elements until nothing changes, then what nothing refers to any more."""
        paths = {python_code.module_name(path): path for path in [*self.texts, *self.gone] if path.endswith(".py")}
        before = self._unreferenced()
        held = {path for path in self.texts if path.startswith("tests/") and _has_tests(self.texts[path])}
        gone: dict[str, set[str]] = {}
        changed = True
        while changed:
            changed = False
            words = self.words
            for path in [path for path in self.texts if path.endswith(".py")]:
                changed |= self._cut_module(path, words, gone, paths)
            self.remove([path for path in held & self.texts.keys() if not _has_tests(self.texts[path])])
            if not changed:
                for path, names in self._unreferenced().items():
                    new = names - before.get(path, set()) - gone.get(path, set())
                    if new and path in self.texts:
                        gone.setdefault(path, set()).update(new)
                        changed = True
        says = self.words.search
        for path in [path for path in self.texts if path.endswith(".py")]:
            self.texts[path] = python_code.without_remarks(self.texts[path], lambda text: bool(says(text)))

    def _cut_module(
        self, path: str, words: re.Pattern[str], gone: dict[str, set[str]], paths: Mapping[str, str]
    ) -> bool:
        near = self._names_near(path, gone)
        seen = len(self.gone), self.texts[path], near
        if self._seen.get(path) == seen or not (near or _found(words, self.texts[path])):
            return False
        self._seen[path] = seen
        source = python_code.Source(path, self.texts[path])
        fixtures = [name for where, names in gone.items() if _is_conftest_of(where, path) for name in names]
        cutter = python_code.Cutter(source, words, gone, fixtures, paths)
        text = cutter.cut()
        names = cutter.names - set(fixtures)
        changed = text != self.texts[path] or names != gone.get(path, set())
        gone[path] = names
        self.texts[path] = text
        if text != source.text and not _has_code(text) and _has_code(source.text):
            self.remove([path])
        return changed

    def _names_near(self, path: str, gone: Mapping[str, Collection[str]]) -> set[tuple[str, str]]:
        """What a file says of the names that are gone from itself, from modules that it names, from its conftest.py."""
        own = python_code.references(self.texts[path]).words
        return {
            (where, name)
            for where, names in gone.items()
            if where == path or PurePosixPath(where).stem in own or _is_conftest_of(where, path)
            for name in own.intersection(names)
        }

    def _unreferenced(self) -> dict[str, set[str]]:
        code = {path: text for path, text in self.texts.items() if path.endswith(".py")}
        others = [text for path, text in self.texts.items() if path.endswith((".yaml", ".yml", ".j2", ".toml"))]
        return python_code.unreferenced(code, others)

    # ----- the Makefile, lists, scripts

    def _cut_lines(self) -> None:
        """Cut the targets that go, and what speaks of them, too."""
        says = self.words.search
        makefile = self.texts["Makefile"]
        left = lines.without_targets(makefile, lambda text: bool(says(text)))
        lost = lines.targets(makefile).keys() - lines.targets(left).keys()
        self.texts["Makefile"] = left
        short, both = "|".join(sorted(name for name, _ in lost)), "|".join(sorted({*sum(lost, ())}))
        self.targets = re.compile(rf"\bmake ({both})\b|^`({both})`$") if lost else NOTHING
        self._cut_test_of_targets(short)
        for path in self.texts:
            if path in SHELL:
                self.texts[path] = lines.without_commands(self.texts[path], self.says)
            elif path.endswith(ENTRIES):
                self.texts[path] = lines.without_entries(self.texts[path], self.says)

    def _cut_test_of_targets(self, short: str) -> None:
        """The test of the Makefile names targets by their short names."""
        path = "tests/test_makefile.py"
        if path in self.texts and short:
            source = python_code.Source(path, self.texts[path])
            words = re.compile(rf"^\"({short})\"$")
            self.texts[path] = python_code.Cutter(source, words, {}, (), {}).cut()

    def says(self, text: str) -> bool:
        """Whether a text speaks of what is gone, targets of the Makefile among it."""
        return bool(self.words_now.search(text) or self.targets.search(text))

    @property
    def words_now(self) -> re.Pattern[str]:
        """The words of now, compiled once for the files that are gone now."""
        if getattr(self, "_words_for", None) != len(self.gone):
            self._words_for, self._words = len(self.gone), self.words
        return self._words

    # ----- pages

    def _cut_pages(self) -> None:
        """Cut pages until no link leads to what is gone."""
        while True:
            pages = [path for path in self.texts if path.endswith(".md")]
            before = {path: self.texts[path] for path in pages}
            for path in pages:
                self.texts[path] = prose.without_markdown(
                    self.texts[path], lambda text, at=path: self._speaks(text, at)
                )
            self.remove([path for path in pages if not _has_content(self.texts[path])])
            self._cut_anchors()
            self._cut_pictures()
            if before == {path: self.texts[path] for path in pages if path in self.texts}:
                return

    def _speaks(self, text: str, page: str) -> bool:
        return self.says(text) or any(not self._exists(link, page) for link, _ in LINK.findall(text) if link)

    def _exists(self, link: str, page: str) -> bool:
        path = _resolved(link, page)
        return path not in self.gone and (
            path in self.texts or path in self.binaries or "." not in PurePosixPath(path).name
        )

    def _cut_anchors(self) -> None:
        """Lead links to sections that are gone to their page; within the page, to nothing."""
        anchors = {path: {*_anchors(text)} for path, text in self.texts.items() if path.endswith(".md")}

        def led(match: re.Match[str], page: str) -> str:
            link, anchor = match[2], match[3]
            target = _resolved(link, page) if link else page
            if not anchor or target not in anchors or anchor in anchors[target]:
                return match[0]
            return f"[{match[1]}]({link})" if link else match[1]

        for page in anchors:
            pattern = rf"\[([^\]]*){LINK.pattern}"
            self.texts[page] = re.sub(pattern, lambda match, at=page: led(match, at), self.texts[page])

    def _cut_pictures(self) -> None:
        """Take out pictures of docs that no page shows."""
        shown = " ".join(text for path, text in self.texts.items() if path.endswith((".md", ".ipynb", ".py", ".yml")))
        pictures = [
            path for path in [*self.texts, *self.binaries] if path.startswith("docs/") and path.endswith(IMAGES)
        ]
        self.remove([path for path in pictures if PurePosixPath(path).name not in shown])

    # ----- names

    def rename(self, name: str) -> None:
        """Call the fork by its name, wherever the template has its own.

        Args:
            name: Of the distribution.
        """
        title = title_of(name)
        for path in self.texts.keys() - {*AS_THEY_ARE}:
            self.texts[path] = TITLES.sub(title, self.texts[path]).replace(NAME, name)
        sentence = f"{SUMMARY[0].upper()}{SUMMARY[1:]}"
        edits = {
            "pyproject.toml": (r'(?m)^description = ".*"$', f'description = "{sentence}"'),
            "mkdocs.yml": (r"(?m)^site_description: .*$", f"site_description: {sentence}"),
            "CITATION.cff": (r"(?m)^abstract: >-\n(?:  .*\n)+", f"abstract: >-\n  {sentence}.\n"),
        }
        for path, (pattern, new) in edits.items():
            self.texts[path] = re.sub(pattern, lambda _, text=new: text, self.texts[path])

    # ----- the end

    def write_readme(self, name: str, template: str) -> None:
        """Write the README of the fork from a template with the names of what is left."""

        def options(group: str, *others: str) -> str:
            stems = [PurePosixPath(path).stem for path in sorted(self.texts) if path.startswith(f"configs/{group}/")]
            return ", ".join(f"`{stem}`" for stem in stems if stem not in others)

        self.texts["README.md"] = template.format(
            title=title_of(name),
            synths=options("synth"),
            representations=options("representation"),
            networks=options("model", "default", "cnn", "vit"),
            losses=options("loss"),
            experiments=options("experiment"),
            commands=self._commands(),
        )

    def _commands(self) -> str:
        """The rows of the README's table of commands."""
        declared = re.findall(r"(?m)^## (\S+) (\S+): (.*)$", self.texts["Makefile"])
        rows = {short: f"| `{short}`, `{long}` | {what} |" for short, long, what in declared}
        return "\n".join(rows[short] for short in COMMANDS if short in rows)

    def format(self) -> None:
        """Drop imports that nothing uses, and format, as `make f` does."""
        with tempfile.TemporaryDirectory(prefix="fork-") as directory:
            root = Path(directory)
            code = [path for path in self.texts if path.endswith((".py", ".toml"))]
            for path in code:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(self.texts[path], encoding="utf-8")
            for command in (["check", "--quiet", "--fix"], ["format", "--quiet"]):
                subprocess.run(
                    [sys.executable, "-m", "ruff", *command, "."], cwd=root, check=False, capture_output=True
                )
            for path in code:
                self.texts[path] = (root / path).read_text(encoding="utf-8")

    def leftovers(self) -> Iterator[str]:
        """Lines that still speak of what is gone, as PATH:LINE: text."""
        for path, text in sorted(self.texts.items()):
            if path.endswith(IMAGES) or path in AS_THEY_ARE:
                continue
            if path.endswith(".ipynb"):  # whose outputs hold pictures and sounds as letters
                text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
            for number, line in enumerate(text.split("\n"), 1):
                if self.says(line):
                    yield f"{path}:{number}: {line.strip()[:200]}"


@lru_cache(maxsize=4000)
def _found(words: re.Pattern[str], text: str) -> bool:
    return words.search(text) is not None


def title_of(name: str) -> str:
    """The title of a project: the words of its name, the first with a capital letter."""
    words = re.sub(r"[-_.]+", " ", name)
    return words[0].upper() + words[1:]


def _has_tests(text: str) -> bool:
    return re.search(r"(?m)^\s*(?:async )?def test_", text) is not None


def _has_code(text: str) -> bool:
    """Whether anything but a docstring, imports and checks stands in a file."""
    return any(
        not isinstance(node, ast.Import | ast.ImportFrom | ast.If)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not re.match(r"ROOT = ", ast.unparse(node))
        for node in ast.parse(text).body
    )


def _is_conftest_of(conftest: str, path: str) -> bool:
    where = PurePosixPath(conftest)
    return where.name == "conftest.py" and where != PurePosixPath(path) and path.startswith(f"{where.parent}/")


def _has_content(page: str) -> bool:
    return any(line.strip() and not prose.HEADING.match(line) for line in page.split("\n"))


def _resolved(link: str, page: str) -> str:
    parts: list[str] = []
    for part in [*PurePosixPath(page).parent.parts, *PurePosixPath(link).parts]:
        parts = parts[:-1] if part == ".." else [*parts, *([part] if part != "." else [])]
    return "/".join(parts)


def _anchors(page: str) -> Iterator[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    for heading in re.findall(r"(?m)^#+ (.*)$", page):
        plain = re.sub(r"[`*]|\]\([^)]*\)", "", heading).replace("[", "")
        yield re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
