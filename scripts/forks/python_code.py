"""Cuts what speaks of removed parts out of Python, by its syntax tree.

In a collection that is written out, an element goes; a definition goes with all that refers to it. A test goes as a
whole, a case of a parametrized one by itself. Afterwards `unreferenced` finds what nothing refers to any more.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

from scripts.forks.prose import without_paragraphs

KNOWN_TO_OTHERS = ("test_", "__", "pytest", "ROOT")  # names that act where nothing refers to them
Range = tuple[int, int]  # bytes of a file, from the first to behind the last
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Names = Mapping[str, Collection[str]]  # path of a file to the names that are gone from its top level


@dataclass
class Source:
    """A Python file: its text as bytes, its tree, and where nodes stand in it."""

    path: str
    text: str
    data: bytes = field(init=False)
    tree: ast.Module = field(init=False)
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.data = self.text.encode()
        self.tree = ast.parse(self.text)
        self.starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    @property
    def is_test(self) -> bool:
        """Whether the file is of the tests, where a definition is kept or goes as a whole."""
        return self.path.startswith("tests/")

    def place(self, node: ast.AST) -> Range:
        """Where a node stands, with the parentheses around it and the decorators above it."""
        first = min([node, *getattr(node, "decorator_list", [])], key=lambda item: item.lineno)
        start = self.starts[first.lineno - 1] + first.col_offset - (first is not node)
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def lines_of(self, start: int, end: int) -> Range | None:
        """The lines that a range fills by itself, but for a comma and a comment behind it; None: others stand there."""
        first = self.data.rfind(b"\n", 0, start) + 1
        last = self.data.find(b"\n", end)
        last = len(self.data) if last < 0 else last + 1
        alone = not self.data[first:start].strip() and re.fullmatch(rb",?\s*(#.*)?\s*", self.data[end:last])
        return (first, last) if alone else None


class Cutter:
    """Finds what has to go from one file.

    Args:
        source: The file.
        words: What speaks of what is gone.
        gone: Names that are gone from other files, by path.
        fixtures: Names that no test of this file may ask for.
        paths: Dotted name of a module to its path, of all files that there were.
    """

    def __init__(
        self,
        source: Source,
        words: re.Pattern[str],
        gone: Names,
        fixtures: Collection[str],
        paths: Mapping[str, str],
    ) -> None:
        self.source = source
        self.speaks = lru_cache(maxsize=None)(lambda text: words.search(text) is not None)
        self.gone = gone
        self.paths = paths
        self.names: set[str] = {*gone.get(source.path, ()), *fixtures}  # of the top level of this file
        self.ranges: list[Range] = []
        self.commas: list[int] = []  # places in the file where one has to be added
        self.modules: dict[str, str] = {}  # local name to the path of the module that it is
        self.at_top = True

    def cut(self) -> str:
        """The text that is left."""
        for statement in self.source.tree.body:
            self._statement(statement)
        data = self.source.data
        ranges = merged(self.ranges)
        commas = [at for at in self.commas if not any(start <= at < end for start, end in ranges)]
        edits = [(start, end, b"") for start, end in ranges] + [(at, at, b",") for at in commas]
        for start, end, new in sorted(edits, reverse=True):
            data = data[:start] + new + data[end:]
        return data.decode()

    # ----- statements

    def _statement(self, node: ast.stmt) -> bool:
        """Cut what has to go from a statement; True if it went as a whole."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            return self._import(node)
        if isinstance(node, Definition):
            return self._definition(node)
        if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
            return self._compound(node)
        if _is_docstring(node):
            return False
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        named = [item.id for target in targets for item in ast.walk(target) if isinstance(item, ast.Name)]
        if self._goes(node) or (self.at_top and named and self.names.issuperset(named)):
            self._drop_statement(node)
            if self.at_top:
                self.names.update(named)
            return True
        return False

    def _import(self, node: ast.Import | ast.ImportFrom) -> bool:
        module = getattr(node, "module", None) or ""
        dropped = []
        for alias in node.names:
            dotted = f"{module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
            bound = alias.asname or alias.name
            path = self.paths.get(module, "") if isinstance(node, ast.ImportFrom) else ""
            if self.speaks(dotted) or self.speaks(bound) or alias.name in self.gone.get(path, ()):
                dropped.append(alias)
                self.names.add(bound)
            elif dotted in self.paths:
                self.modules[bound] = self.paths[dotted]
        if len(dropped) == len(node.names):
            self._drop_statement(node)
            return True
        self._drop_elements(node.names, dropped)
        return False

    def _definition(self, node: Definition) -> bool:
        """A function or a class, which goes by its name, what it is built on, or because its body cannot do without."""
        bases = [*node.decorator_list, *getattr(node, "bases", []), *getattr(node, "keywords", [])]
        if not isinstance(node, ast.ClassDef):
            bases += [node.args, *filter(None, [node.returns])]
        before, at_top = len(self.ranges), self.at_top
        goes = node.name in self.names or self.speaks(node.name) or self._any_goes(bases)
        if not goes:
            self.at_top = False
            goes = self._inside_goes(node)
            self.at_top = at_top
        if goes:
            del self.ranges[before:]
            self._drop_statement(node)
            if at_top:
                self.names.add(node.name)
        return goes

    def _inside_goes(self, node: Definition) -> bool:
        body = [statement for statement in node.body if not _is_docstring(statement)]
        if not isinstance(node, ast.ClassDef) and self.source.is_test:
            return any([self._goes(statement) for statement in body])
        went = [self._statement(statement) for statement in body]
        returns = any(isinstance(item, ast.Return) and gone for item, gone in zip(body, went, strict=True))
        return bool(went) and (all(went) or (returns and not isinstance(node, ast.ClassDef)))

    def _compound(self, node: ast.If | ast.For | ast.While | ast.With | ast.Try) -> bool:
        heads = {ast.If: ["test"], ast.While: ["test"], ast.For: ["target", "iter"], ast.With: ["items"], ast.Try: []}
        found = [getattr(node, name) for name in heads[type(node)]]
        head = [item for entry in found for item in (entry if isinstance(entry, list) else [entry])]
        before = len(self.ranges)
        goes = self._any_goes(head) or all([self._statement(statement) for statement in node.body])
        if goes:
            del self.ranges[before:]
            branch = self._branch(node)
            if branch is None:
                self._drop_statement(node)
                return True
            self.ranges.append(branch)
        for statement in getattr(node, "orelse", []):
            self._statement(statement)
        return False

    def _branch(self, node: ast.stmt) -> Range | None:
        """What has to go of an `if` or `elif` for the branches below it to stay; None: all of it."""
        if not isinstance(node, ast.If) or not node.orelse:
            return None
        data, start = self.source.data, self.source.place(node)[0]
        is_elif, below = data.startswith(b"elif", start), self.source.place(node.orelse[0])[0]
        if data.startswith(b"elif", below) and isinstance(node.orelse[0], ast.If):
            return start, below if is_elif else below + len("el")
        if not is_elif:
            return None
        otherwise = re.compile(rb"else\s*:").search(data, self.source.place(node.body[-1])[1])
        return (start, otherwise.start()) if otherwise else None

    # ----- expressions

    def _any_goes(self, nodes: Sequence[ast.AST]) -> bool:
        return any([self._goes(node) for node in nodes])  # all of them, so that elements of all are cut

    def _goes(self, node: ast.AST, inside: bool = False) -> bool:
        """Cut elements out of collections in an expression; True if it cannot stay itself.

        Args:
            node: Anything but a statement that holds others.
            inside: Whether it is an element of a collection, so that a tuple or a list is a record with all its fields.
        """
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return node.id in self.names or self.speaks(node.id)
        if isinstance(node, ast.arg):
            return node.arg in self.names or self.speaks(node.arg) or self._children(node)
        if isinstance(node, ast.keyword):
            return (node.arg is not None and self.speaks(node.arg)) or self._children(node)
        if isinstance(node, ast.Attribute):
            path = self.modules.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
            return self.speaks(node.attr) or node.attr in self.gone.get(path, ()) or self._goes(node.value)
        if isinstance(node, ast.Starred):
            return self._goes(node.value)
        if isinstance(node, ast.Dict):
            return self._dict(node)
        if isinstance(node, ast.Set) or (isinstance(node, ast.List | ast.Tuple) and self._is_collection(node, inside)):
            return self._collection(node.elts, isinstance(node, ast.Tuple))
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return self._collection(node.values)
        if isinstance(node, ast.IfExp):
            return self._choice(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._union(node)
        if isinstance(node, ast.For | ast.comprehension):
            return any([self._goes(child) for child in ast.iter_child_nodes(node)])
        return self._children(node, inside=isinstance(node, ast.List | ast.Tuple))

    def _children(self, node: ast.AST, inside: bool = False) -> bool:
        return any([self._goes(child, inside) for child in ast.iter_child_nodes(node)])

    def _is_collection(self, node: ast.List | ast.Tuple, inside: bool) -> bool:
        if isinstance(node.ctx, ast.Store):
            return False
        return not inside and (self.at_top or not self.source.is_test or node in self._iterated)

    @property
    def _iterated(self) -> set[ast.AST]:
        if not hasattr(self, "_iterated_nodes"):
            loops = [node for node in ast.walk(self.source.tree) if isinstance(node, ast.For | ast.comprehension)]
            self._iterated_nodes: set[ast.AST] = {loop.iter for loop in loops}
        return self._iterated_nodes

    def _collection(self, elements: Sequence[ast.expr], is_tuple: bool = False) -> bool:
        dropped = [item for item in elements if self._goes(item, not isinstance(item, ast.Starred))]
        if dropped and len(dropped) == len(elements):
            return True
        self._drop_elements(elements, dropped, is_tuple)
        return False

    def _dict(self, node: ast.Dict) -> bool:
        pairs = list(zip(node.keys, node.values, strict=True))
        dropped = [
            n for n, (key, value) in enumerate(pairs) if (key and self._goes(key, True)) or self._goes(value, True)
        ]
        targets = [n for n in dropped if isinstance(node.keys[n], ast.Constant) and node.keys[n].value == "_target_"]
        if targets or (dropped and len(dropped) == len(pairs)):
            return True
        spans = [self._span(key or value, value) for key, value in pairs]
        self._drop_spans(spans, dropped)
        return False

    def _choice(self, node: ast.IfExp) -> bool:
        """`A if B else C`: C where A or B goes, A where C goes."""
        before = len(self.ranges)
        goes, orelse = self._any_goes([node.test, node.body]), self._goes(node.orelse)
        if goes != orelse:
            del self.ranges[before:]
            (start, end), kept = self._span(node, node), node.orelse if goes else node.body
            first, last = self._span(kept, kept)
            self.ranges += [(start, first), (last, end)]
        return goes and orelse

    def _union(self, node: ast.BinOp) -> bool:
        """`A | B` of types without one of its sides."""
        if not all(re.search(r"\b[A-Z]\w*[a-z]\w*\]?$|^None$", ast.unparse(side)) for side in (node.left, node.right)):
            return self._any_goes([node.left, node.right])
        left, right = self._goes(node.left), self._goes(node.right)
        if left != right:
            (_, middle), (start, end) = self.source.place(node.left), self.source.place(node.right)
            self.ranges.append((self.source.place(node.left)[0], start) if left else (middle, end))
        return left and right

    def _constant(self, node: ast.Constant) -> bool:
        """A text; of one that is a list of words (as before `split`), words are cut."""
        if not isinstance(node.value, str):
            return False
        start, end = self.source.place(node)
        raw = self.source.data[start:end].decode()
        if not self.speaks(raw):
            return False
        words = list(re.finditer(r"[\w.]+", raw))
        if len(words) < 2 or not re.fullmatch(r"\"[\w.]+( [\w.]+)+ ?\"", raw) or self.source.is_test:
            return True
        dropped = [word for word in words if self.speaks(word[0])]
        if not dropped or len(dropped) == len(words):
            return True
        first = next(word for word in words if word not in dropped).start()
        for word in dropped:  # with the blank behind it, or that before it once a word is kept
            behind = word.start() < first
            self.ranges.append((start + word.start() - (not behind), start + word.end() + behind))
        return False

    # ----- places

    def _drop_statement(self, node: ast.stmt) -> None:
        """Drop a statement with the comments directly above it, and those behind it in its line."""
        start, end = self.source.place(node)
        first, last = self.source.lines_of(start, end) or (start, end)
        while True:
            above = self.source.data.rfind(b"\n", 0, max(first - 1, 0)) + 1
            line = self.source.data[above:first].strip()
            if above == first or not line.startswith(b"#") or line.startswith((b"# -----", b"#!")):
                break
            first = above
        self.ranges.append((first, last))

    def _span(self, first: ast.AST, last: ast.AST) -> Range:
        """From one node to the end of another, with the parentheses around an element."""
        start, end = self.source.place(first)[0], self.source.place(last)[1]
        data = self.source.data
        while data[:start].rstrip().endswith(b"(") and data[end:].lstrip().startswith(b")"):
            start, end = len(data[:start].rstrip()) - 1, len(data) - len(data[end:].lstrip()) + 1
        return start, end

    def _drop_elements(self, elements: Sequence[ast.AST], dropped: Sequence[ast.AST], is_tuple: bool = False) -> None:
        spans = [self._span(element, element) for element in elements]
        self._drop_spans(spans, [n for n, element in enumerate(elements) if element in dropped], is_tuple)

    def _drop_spans(self, spans: Sequence[Range], dropped: Sequence[int], is_tuple: bool = False) -> None:
        """Drop elements, each with the comma or the operator beside it."""
        kept = [n for n in range(len(spans)) if n not in dropped]
        if is_tuple and dropped and len(kept) == 1 and kept[0] == len(spans) - 1:
            end = spans[-1][1]
            self.commas += [] if self.source.data[end:].lstrip().startswith(b",") else [end]
        for n in dropped:
            start, end = spans[n]
            lines = self.source.lines_of(start, end)
            if lines:
                self.ranges.append(lines)
            elif n < kept[-1]:
                self.ranges.append((start, spans[n + 1][0]))
            elif is_tuple and len(kept) == 1:  # whose comma stays
                self.ranges.append((spans[kept[0] + 1][0], end))
            else:
                self.ranges.append((spans[kept[-1]][1], end))


def _is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a text alone: a docstring, or the description of an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def merged(ranges: Sequence[Range]) -> list[Range]:
    """Ranges in their order, those that overlap as one."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


# ----- comments and docstrings


def without_remarks(text: str, gone: Callable[[str], bool]) -> str:
    """Python without the sentences of its comments and docstrings that speak of what is gone."""
    source = Source("", text)
    data = source.data
    docstrings = [node for node in ast.walk(source.tree) if _is_docstring(node)]
    edits = []
    for node in docstrings:
        start, end = source.place(node)
        raw = data[start:end].decode()
        opening = re.match(r'r?"""', raw)
        if opening and gone(raw):
            cut = without_paragraphs(raw[opening.end() : -3], gone).rstrip(" ")
            edits += [(start, end, f'{opening[0]}{cut}"""')] if cut.strip() else []
    for start, end, new in sorted(edits, reverse=True):
        data = data[:start] + new.encode() + data[end:]
    return _without_comments(data.decode(), gone)


def _without_comments(text: str, gone: Callable[[str], bool]) -> str:
    """Blocks of comments that fill their lines, by sentences; a comment behind code as a whole."""

    def block(match: re.Match[str]) -> str:
        lines = match[0].rstrip("\n").split("\n")
        indent = re.match(r"\s*", lines[0])[0]
        plain = "\n".join(indent + line.strip().lstrip("#").strip() for line in lines)
        if not gone(plain) or lines[0].startswith("#!"):
            return match[0]
        cut = without_paragraphs(plain, gone).strip("\n")
        return "".join(f"{indent}# {line.strip()}\n" for line in cut.split("\n")) if cut.strip() else ""

    text = re.sub(r"(?m)(?:^[ \t]*#.*\n)+", block, text)
    return re.sub(r"(?m)^(.*\S)  # (.*)$", lambda match: match[1] if _is_remark(match, gone) else match[0], text)


def _is_remark(match: re.Match[str], gone: Callable[[str], bool]) -> bool:
    return gone(match[2]) and not re.match(r"noqa|type:", match[2])


# ----- what nothing refers to


def module_name(path: str) -> str:
    """The dotted name of a module or a package."""
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def definitions(tree: ast.Module) -> Iterator[tuple[set[str], ast.stmt]]:
    """What is defined at the top of a file: names, and the statement that defines them."""
    for node in tree.body:
        if isinstance(node, Definition):
            yield {node.name}, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {item.id for target in targets for item in ast.walk(target) if isinstance(item, ast.Name)}
            if names:
                yield names, node


def mentioned(node: ast.AST) -> Iterator[str]:
    """Every name that a piece of code refers to, those in texts too (`_target_`, lists of classes).

    Neither docstrings count nor imports: what is imported and not used will not be imported any more.
    """
    docstrings = {id(item.value) for item in ast.walk(node) if _is_docstring(item)}
    for item in ast.walk(node):
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load):
            yield item.id
        elif isinstance(item, ast.Attribute):
            yield item.attr
        elif isinstance(item, ast.arg):  # a fixture
            yield item.arg
        elif isinstance(item, ast.Constant) and isinstance(item.value, str) and id(item) not in docstrings:
            yield from re.findall(r"\w+", item.value) if re.fullmatch(r"[\w.]+( [\w.]+)* ?", item.value) else ()


@dataclass(frozen=True)
class References:
    """What a file refers to.

    Attributes:
        names: How often it refers to each name.
        definitions: Names that a statement at its top defines, and how often that statement refers to each name.
        words: All its words.
    """

    names: Counter[str]
    definitions: list[tuple[set[str], Counter[str]]]
    words: frozenset[str]


@lru_cache(maxsize=2000)
def references(text: str) -> References:
    """What a Python file refers to."""
    tree = ast.parse(text)
    inside = [(names, Counter(mentioned(node))) for names, node in definitions(tree)]
    return References(Counter(mentioned(tree)), inside, frozenset(re.findall(r"\w+", text)))


def unreferenced(code: Mapping[str, str], others: Sequence[str]) -> dict[str, set[str]]:
    """Names at the top of files that nothing refers to but what defines them.

    Args:
        code: Text of every Python file, by path. A file refers to what is in another only if it says the other's name;
            fixtures of a `conftest.py` need no naming.
        others: Other files that refer to code (configurations, templates).

    Returns:
        Path to names.
    """
    files = {path: references(text) for path, text in code.items()}
    users: dict[str, list[References]] = {}  # of each word
    for file in files.values():
        for word in file.words:
            users.setdefault(word, []).append(file)
    elsewhere = {word for text in others for word in re.findall(r"\w+", text)}
    found: dict[str, set[str]] = {}
    for path, file in files.items():
        stem = module_name(path).rpartition(".")[2]

        def is_used(name: str, inside: Counter[str], file: References = file, stem: str = stem) -> bool:
            if name in elsewhere or file.names[name] > inside[name] or name.startswith(KNOWN_TO_OTHERS):
                return True
            near = (user for user in users.get(name, ()) if user is not file and user.names[name])
            return any(stem == "conftest" or stem in user.words for user in near)

        for names, inside in file.definitions:
            if not any(is_used(name, inside) for name in names):
                found.setdefault(path, set()).update(names)
    return found
