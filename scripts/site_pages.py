"""What the documentation site has beside docs/: README and CONTRIBUTING, and a page per module from its docstrings.

`mkdocs.yml` names this file as a hook of MkDocs, which calls its functions.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# On the site a README would take the place of the index.
ROOT_PAGES = {"README.md": "about.md", "CONTRIBUTING.md": "contributing.md"}
# What others call from Python. Programs and pages are described in docs/.
REFERENCE = (
    "api",
    "recipe",
    "params",
    "generation",
    "recordings",
    "synth",
    "spectral",
    "vimh",
    "data",
    "models",
    "evaluation",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the reference to the navigation."""
    rooms = [{room: [*pages]} if len(pages) > 1 else {room: next(iter(pages))} for room, pages in reference().items()]
    config.nav.append({"Reference": rooms})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for name, path in ROOT_PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, path, content=text))
    for pages in reference().values():
        for path, module in pages.items():
            files.append(File.generated(config, path, content=f"# {module.removeprefix('src.')}\n\n::: {module}\n"))
    return files


def reference() -> dict[str, dict[str, str]]:
    """Room to the paths of its pages, and to the module that each describes."""
    rooms = {}
    for room in REFERENCE:
        place = ROOT / "src" / room
        modules = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        names = [file.relative_to(ROOT).with_suffix("").parts for file in modules if file.name != "__init__.py"]
        rooms[room] = {"/".join(("reference", *name[1:])) + ".md": ".".join(name) for name in names}
    return rooms


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the pages that are not in docs/ to where the site has them."""
    up = "../" * page.file.src_uri.count("/")
    for name, path in ROOT_PAGES.items():
        markdown = markdown.replace(f"]({up}../{name}", f"]({up}{path}")
        if page.file.src_uri in ROOT_PAGES.values():
            markdown = markdown.replace(f"]({name}", f"]({path}")
    return markdown
