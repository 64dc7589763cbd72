"""Texts that a stranger may put into names, units, descriptions and file names."""

import random

HOSTILE = {
    "closing markup": "[/b]",
    "opening markup": "[red]x",
    "a link": "[link=file:///etc/passwd]x[/link]",
    "an emoji's name": ":smile:",
    "colours": "\x1b[31mred",
    "a title of the window": "\x1b]0;owned\x07",
    "an erased line": "Hz\x1b[2K\rfine",
    "a C1 sequence": "\x9b31m",
    "a formula": "$x$",
    "half a formula": r"$\frac",
    "a name in braces": r"\N{BELL}",
    "a script": "<script>document.title='owned'</script>",
    "the end of a script": "</script><!--",
    "a bar": "a | b",
    "a new line": "Hz\nError: none",
    "a carriage return": "Hz\rError: none",
    "a tab": "a\tb",
    "zero": "a\0b",
    "turned text": "a\u202egnp.exe",
    "an isolate": "\u2067a",
    "a line separator": "a\u2028b",
    "a lone surrogate": "a\udce9b",
    "half a pair": "\ud83d",
    "a format": "{0.__class__} %s %(name)s",
    "much": "x" * 10_000,
    "much of everything": "[/b]\x1b[31m$x$|\n\u202e" * 1000,
    "blanks": "   ",
}


def hostile(seed: int) -> str:
    """A random mixture of them."""
    rng = random.Random(seed)
    return "".join(rng.choices(list(HOSTILE.values()), k=rng.randint(1, 6)))
