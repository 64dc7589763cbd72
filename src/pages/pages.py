"""Puts pages together from templates, styles and modules of JavaScript: as one file, or as files for a server.

The modules are true ES modules that import each other by relative paths: `import { Player } from "./player.js";`. A
server hands them out as they are, under their paths below `src`. In a file that opens from disk they are joined in
the order of their imports, each in a function that returns what it exports.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from src.errors import ConfigError
from src.text import all_printable

HERE = Path(__file__).parent
ROOT = HERE.parent  # addresses are relative to it
IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
UNIT = re.compile(r"(?<=\d) (?=%|dB\b|steps\b)")
OTHER = re.compile(r"^(?:import|export)\b.*|\bimport\(.*", re.MULTILINE)  # what neither of them is
SERVED_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of a page on a host of static files, which sends no policy: a page's own cannot say who may frame it.
HOSTED_POLICY = SERVED_POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'").replace(
    "; frame-ancestors 'none'", ""
)


@dataclass(frozen=True)
class PageSource:
    """Where a page comes from; all of it lies below `src`.

    Attributes:
        template: Jinja template, which extends `base.html.j2`.
        style: Style sheet of its own, after `page.css`.
        script: Module of its own.
        shared: Style sheet between these two, which other pages have, too.
    """

    template: Path
    style: Path
    script: Path
    shared: Path | None = None

    def inline(self, data: Mapping[str, Any], **content: Any) -> str:
        """The page as one HTML file that needs no other and may load none.

        Args:
            data: Plain data for the script, which reads it by `pageData`; numbers must be finite.
            **content: Variables of the template. Texts are escaped, and what would turn their direction is shown.
        """
        style, script = "".join(self.styles.values()), joined(self.modules)
        return self._render(
            data, content, style=Markup(style), script=Markup(script), policy=inline_policy(style, script)
        )

    def served(self, data: Mapping[str, Any], **content: Any) -> str:
        """The same page for a server that also has the `files`, and sends `SERVED_POLICY`."""
        script = address_of(self.script)
        return self._render(data, content, style_addresses=list(self.styles), script_address=script)

    def hosted(self, data: Mapping[str, Any], **content: Any) -> str:
        """The same page beside its `files`, wherever these are, with a policy of its own that allows WebAssembly."""
        styles = [f".{address}" for address in self.styles]
        parts = {"style_addresses": styles, "script_address": f".{address_of(self.script)}", "policy": HOSTED_POLICY}
        return self._render(data, content, **parts)

    @property
    def files(self) -> dict[str, str]:
        """Address, `/pages/player.js`, to text of every style sheet and module."""
        return self.styles | {address_of(path): text for path, text in self.modules.items()}

    @cached_property
    def styles(self) -> dict[str, str]:
        """Address to text of the style sheets, each before those that may overrule it."""
        paths = (HERE / "page.css", self.shared, self.style)
        return {address_of(path): read(path) for path in paths if path is not None}

    @cached_property
    def modules(self) -> dict[Path, str]:
        """Path to text of the script and of all that it imports, those that are imported first."""
        return modules_of(self.script)

    def _render(self, data: Mapping[str, Any], content: Mapping[str, Any], **parts: Any) -> str:
        environment = Environment(
            loader=FileSystemLoader((self.template.parent, HERE)),
            autoescape=True,
            finalize=all_printable,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
        environment.filters["unbroken"] = unbroken
        environment.globals |= {"script": None, "style": None, "policy": None}
        template = environment.get_template(self.template.name)
        return template.render(data=all_printable(data), **parts, **content)


def unbroken(text: str) -> Markup:
    """A text as HTML in which no line ends between a number and its unit."""
    return Markup(UNIT.sub("&nbsp;", str(escape(all_printable(text)))))


def read(path: Path) -> str:
    """Text of a file of a page."""
    return path.read_text(encoding="utf-8")


def address_of(path: Path) -> str:
    """Where a server has a file: its path below `src`."""
    return f"/{path.resolve().relative_to(ROOT).as_posix()}"


def inline_policy(style: str, script: str) -> str:
    """Content security policy: this script, this style, pictures and icons in the page, and nothing else."""
    style_hash, script_hash = (
        f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in (style, script)
    )
    return (
        f"default-src 'none'; style-src {style_hash}; script-src {script_hash}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


# ----- modules


def modules_of(entry: Path) -> dict[Path, str]:
    """Path to text of a module and of all that it imports, in an order in which each stands after its imports.

    Raises:
        ConfigError: If a module imports in a circle, or writes an import or export in another way than
            `import { a, b } from "./name.js";` and `export function`, `class` or `const`.
    """
    found: dict[Path, str] = {}
    begun: set[Path] = set()

    def visit(path: Path) -> None:
        if path in found:
            return
        if path in begun:
            raise ConfigError(f"{path}: it imports itself by way of others; a module must not.")
        begun.add(path)
        text = read(path)
        for _, other in IMPORT.findall(text):
            visit((path.parent / other).resolve())
        rest = OTHER.search(EXPORT.sub("", IMPORT.sub("", text)))
        if rest:
            raise ConfigError(f"{path}: this import or export cannot be joined: {rest[0]}")
        found[path] = text

    visit(entry.resolve())
    return found


def joined(modules: Mapping[Path, str]) -> str:
    """Modules as one script, each in a function of its own; the last one runs with what the others return."""
    names = {path: f"module{number}" for number, path in enumerate(modules)}
    return '"use strict";\n' + "".join(_scoped(path, text, names) for path, text in modules.items())


def _scoped(path: Path, text: str, names: Mapping[Path, str]) -> str:
    """A module as `const moduleN = (() => {…; return {its exports}; })();`."""

    def taken(match: re.Match[str]) -> str:
        wanted = ", ".join(part.strip().replace(" as ", ": ") for part in match[1].split(",") if part.strip())
        return f"const {{ {wanted} }} = {names[(path.parent / match[2]).resolve()]};\n"

    exports = ", ".join(EXPORT.findall(text))
    body = EXPORT.sub("", IMPORT.sub(taken, text))
    return f"const {names[path]} = (() => {{\n{body}return {{ {exports} }};\n}})();\n"
