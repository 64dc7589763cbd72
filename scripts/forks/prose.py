"""Cuts what speaks of removed parts out of texts: Markdown, docstrings and comments.

A sentence goes as a whole, a row of a table, an item of a list, a line of a listing; a section goes with its heading,
and a heading with the last that stood below it.
"""

import re
import textwrap
from collections.abc import Callable
from itertools import groupby

Gone = Callable[[str], bool]

SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<! al\.)[)\"”]?\s+(?=[A-Z`*\[(\"“])")
HEADING = re.compile(r"(#+) ")
ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")
ENTRY = re.compile(r"\s*$|\s+\*{0,2}\w+(?: \([^)]*\))?: |\s*[-*] |\s*\w+ {2,}\S")
FENCE = re.compile(r"\s*(```|~~~)")
LINES_ALONE = (
    "bash",
    "sh",
    "text",
    "console",
    "",
    "ini",
    "csv",
    "makefile",
)  # languages in which a line can go by itself


def without_sentences(text: str, gone: Gone) -> str:
    """A paragraph without the sentences that speak of what is gone, wrapped as wide as before."""
    lines = text.splitlines()
    joined = " ".join(line.strip() for line in lines)
    sentences = SENTENCE_END.split(joined)
    ends = SENTENCE_END.findall(joined)
    sentences = [sentence + end.rstrip() for sentence, end in zip(sentences, [*ends, ""], strict=True)]
    kept = [sentence for sentence in sentences if not gone(sentence)]
    if len(kept) == len(sentences):
        return text
    if not kept:
        return ""
    indent = re.match(r"\s*", lines[0])[0]
    hanging = re.match(r"\s*", lines[1])[0] if len(lines) > 1 else indent
    width = max(max(map(len, lines)), 79)
    options = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(" ".join(kept), width, initial_indent=indent, subsequent_indent=hanging, **options)


# ----- docstrings and comments


def without_paragraphs(text: str, gone: Gone) -> str:
    """Plain text of paragraphs, or of entries that are indented, without what speaks of what is gone.

    Each entry of a docstring (`name: what it is`) begins a paragraph of its own.
    """
    pieces, piece = [], []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        starts = ENTRY.match(line) or (piece and indent < len(piece[-1]) - len(piece[-1].lstrip()))
        if starts and piece:
            pieces.append(piece)
            piece = []
        piece.append(line)
        if not line.strip():
            pieces.append(piece)
            piece = []
    pieces += [piece] if piece else []
    cut = [without_sentences("\n".join(lines), gone) if any(map(str.strip, lines)) else "" for lines in pieces]
    kept = [new for new, lines in zip(cut, pieces, strict=True) if new or not any(map(str.strip, lines))]
    return re.sub(r"\n\n\n+", "\n\n", "\n".join(kept))


# ----- Markdown


def without_markdown(text: str, gone: Gone) -> str:
    """A Markdown page without what speaks of what is gone."""
    if not gone(text):
        return text
    kept: list[str] = []
    below = 0  # level of the section that goes
    for block in markdown_blocks(text):
        heading = HEADING.match(block)
        if heading and below and len(heading[1]) <= below:
            below = 0
        if heading and not below and gone(block):
            below = len(heading[1])
        if below:
            continue
        cut = _without_block(block, gone)
        if not cut:
            _drop_announcement(kept)
        else:
            kept.append(cut)
    return "\n\n".join(_without_empty_sections(kept)) + "\n"


def markdown_blocks(text: str) -> list[str]:
    """The blocks of a page, which blank lines part; fenced ones as a whole, headings for themselves."""
    blocks: list[str] = []
    lines: list[str] = []
    fence = None
    for line in [*text.split("\n"), ""]:
        found = FENCE.match(line)
        if found and fence in (None, found[1]):
            if fence is None and lines and not ITEM.match(lines[0]):
                blocks.append("\n".join(lines))
                lines = []
            fence = None if fence else found[1]
            lines.append(line)
            if fence is None and FENCE.match(lines[0]):
                blocks.append("\n".join(lines))
                lines = []
        elif fence or (line.strip() and not HEADING.match(line)):
            lines.append(line)
        else:
            blocks += ["\n".join(lines)] if lines else []
            lines = []
            blocks += [line] if line.strip() else []
    return blocks


def _without_block(block: str, gone: Gone) -> str:
    if not gone(block):
        return block
    first = block.split("\n", 1)[0]
    if FENCE.match(first):
        return _without_fenced(block, gone)
    if first.startswith("|"):
        return _without_rows(block, gone)
    if ITEM.match(first):
        return _without_items(block, gone)
    return without_sentences(block, gone)


def _without_fenced(block: str, gone: Gone) -> str:
    """A listing: lines go one by one where each stands for itself, with those that continue them."""
    opening, *lines, closing = block.split("\n")
    if opening.strip().strip("`~").split(" ")[0] not in LINES_ALONE:
        return ""
    logical = [
        "\n".join(line for _, line in group)
        for _, group in groupby(enumerate(lines), key=_statement_of(lines))  # a backslash continues a line
    ]
    kept = [line for line in logical if not gone(line)]
    while kept and not kept[0].strip():
        del kept[0]
    if not any(line.strip() and not line.strip().startswith("#") for line in kept):
        return ""
    return "\n".join([opening, *kept, closing])


def _statement_of(lines: list[str]) -> Callable[[tuple[int, str]], int]:
    starts = [n for n in range(len(lines)) if n == 0 or not lines[n - 1].endswith("\\")]
    return lambda numbered: max(start for start in starts if start <= numbered[0])


def _without_rows(block: str, gone: Gone) -> str:
    """A table without rows, and without columns whose head speaks of what is gone."""
    head, rule, *rows = block.split("\n")
    dropped = {n for n, cell in enumerate(_cells(head)) if gone(cell)}
    if dropped:
        head, rule, *rows = (
            "|" + "|".join(cell for n, cell in enumerate(_cells(row)) if n not in dropped) + "|"
            for row in (head, rule, *rows)
        )
    kept = [cut for cut in (_without_cells(row, gone) for row in rows) if cut]
    return "\n".join([head, rule, *kept]) if kept and len(_cells(head)) > 1 else ""


def _without_cells(row: str, gone: Gone) -> str:
    """A row without what is gone of the lists in its cells; empty if anything else speaks of it.

    In a row of options (`group`, then a list), an option is gone if `group=option` is.
    """
    before = _cells(row)
    group = before[0].strip().strip("`")
    cells = [_without_words(cell, lambda word: gone(word) or gone(f"{group}={word}")) for cell in before]
    lost = any(old.strip() and not new.strip() for old, new in zip(before, cells, strict=True))
    return "" if lost or any(map(gone, cells)) else "|" + "|".join(cells) + "|"


def _without_words(cell: str, gone: Gone) -> str:
    """A list (`a`, `b` (which is so); for others `c`) without the words that are gone."""
    if len(re.findall(r"`[^`]+`", cell)) < 2:
        return cell
    parts = []
    for part in cell.strip().split("; "):
        words = part.split(", ")
        kept = [word for word in words if not any(gone(name) for name in re.findall(r"`([^`]+)`", word))]
        if len(kept) == len(words):
            parts.append(part)
        elif kept:
            lead = "" if words[0] in kept or "`" not in words[0] else words[0].partition("`")[0]
            parts.append(lead + ", ".join(kept))
    return f" {'; '.join(parts)} " if parts else ""


def _cells(row: str) -> list[str]:
    return re.split(r"(?<!\\)\|", row.strip())[1:-1]


def _without_items(block: str, gone: Gone) -> str:
    """A list: an item goes whose first sentence goes, of the others the later sentences."""
    items: list[str] = []
    for line in block.split("\n"):
        if ITEM.match(line) or not items:
            items.append(line)
        else:
            items[-1] += "\n" + line
    kept = []
    for item in items:
        first = SENTENCE_END.split(" ".join(item.split()))[0]
        cut = "" if gone(first) else without_sentences(item, gone)
        kept += [cut] if cut else []
    return "\n".join(kept)


def _drop_announcement(kept: list[str]) -> None:
    """Drop the sentence that announced what went: the last one before it, if it ends in a colon."""
    if kept and kept[-1].endswith(":") and not HEADING.match(kept[-1]):
        last = SENTENCE_END.split(" ".join(kept[-1].split()))[-1]
        kept[-1] = without_sentences(kept[-1], lambda sentence: sentence == last)
        if not kept[-1]:
            kept.pop()


def _without_empty_sections(blocks: list[str]) -> list[str]:
    """Blocks without headings below which nothing is left."""
    kept: list[str] = []
    for block in reversed(blocks):
        heading = HEADING.match(block)
        following = HEADING.match(kept[-1]) if kept else None
        is_last = not kept or (following and len(following[1]) <= len(heading[1])) if heading else False
        if not is_last:
            kept.append(block)
    return kept[::-1]
