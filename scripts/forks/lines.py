"""Cuts what speaks of removed parts out of files of lines: the Makefile, configurations, lists and shell scripts."""

import re

from scripts.forks.prose import Gone, without_sentences

TARGET = re.compile(r"(?m)^## (\S+) (\S+): .*\n(?:(?!## ).*\S.*\n)+")


def targets(makefile: str) -> dict[tuple[str, str], str]:
    """Short and long name of every target to its text: the line that declares it, its rule and its recipe."""
    return {(match[1], match[2]): match[0] for match in TARGET.finditer(makefile)}


def without_targets(makefile: str, gone: Gone) -> str:
    """A Makefile without the targets that speak of what is gone, and those that need them."""
    names: set[str] = set()
    while True:
        lost = {
            pair: text
            for pair, text in targets(makefile).items()
            if gone(text) or names.intersection(re.findall(r"[a-z]+", text.split("\n")[1].partition(":")[2]))
        }
        if not lost:
            left = "".join(line for line in makefile.splitlines(True) if line.startswith("#") or not gone(line))
            return without_remarks(re.sub(r"\n{3,}", "\n\n", left), gone)
        names.update(name for pair in lost for name in pair)
        for text in lost.values():
            makefile = makefile.replace(text, "")


def without_entries(text: str, gone: Gone) -> str:
    """YAML or TOML without the entries that speak of what is gone.

    An entry is a line, and those below it that are indented further, up to its closing bracket.
    """
    lines = text.split("\n")
    kept: list[str] = []
    depth = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if depth is not None:
            if line.strip() and (indent > depth or (indent == depth and line.strip() in ("]", "}", "),"))):
                continue
            depth = None
        code = re.split(r"(?:^|\s)#\s", line)[0]
        if code.strip() and gone(code):
            depth = indent
            while kept and kept[-1].strip().startswith("#") and len(kept[-1]) - len(kept[-1].lstrip()) == indent:
                kept.pop()
        else:
            kept.append(line)
    return without_remarks("\n".join(kept), gone)


def without_commands(text: str, gone: Gone) -> str:
    """A shell script without the commands that speak of what is gone.

    A command may go on behind a backslash or in a here-document.
    """
    kept: list[str] = []
    for match in re.finditer(r"(?m)^.*<<(?P<end>\w+)\n(?:.*\n)*?(?P=end)\n|^(?:.*\\\n)*.*\n", text):
        command = match[0]
        if match["end"]:
            head, *body, end = command.rstrip("\n").split("\n")
            left = [line for line in body if not gone(line)]
            if left and not gone(head):
                kept.append("\n".join([head, *left, end]) + "\n")
        elif command.lstrip().startswith("#") or not gone(command):
            kept.append(command)
    return without_remarks("".join(kept), gone)


def without_remarks(text: str, gone: Gone) -> str:
    """Text without the sentences of its comments that speak of what is gone."""

    def block(match: re.Match[str]) -> str:
        lines = match[0].rstrip("\n").split("\n")
        if not gone(match[0]) or lines[0].startswith("#!"):
            return match[0]
        indent = re.match(r"\s*", lines[0])[0]
        plain = "\n".join(indent + line.strip().lstrip("#").strip() for line in lines)
        cut = without_sentences(plain, gone)
        return "".join(f"{indent}# {line.strip()}\n" for line in cut.split("\n")) if cut.strip() else ""

    text = re.sub(r"(?m)(?:^[ \t]*#(?!#).*\n)+", block, text)
    return re.sub(r"(?m)^(.*\S) # (.*)$", lambda match: match[1] if gone(match[2]) else match[0], text)
