"""Plain data out of files: counted before anything is done with it, and shown in messages by a bounded piece.

A short file can describe endless data: a list that holds one list twice, which holds another twice, and so on. A few
hundred bytes of that would fill any memory as soon as they are copied, printed or hashed. Whoever reads foreign data
walks over it with `parts`, which counts what is shared as often as it stands there and stops early.
"""

import math
import pickle
from collections.abc import Iterator
from typing import Any, ClassVar

from src.errors import NSMError

MAX_DEPTH = 50  # of lists and mappings in each other
MAX_NODES = 1_000_000  # lists, mappings and what they hold, all together
MAX_ARGUMENTS = 10_000  # the same in the arguments of one object of a pickle
MAX_TEXT = 16_000_000  # characters of all texts together
MAX_BITS = 1024  # of a whole number: as far as floating point goes

NUMBERS_AND_TEXTS = (str, int, float, bool, type(None))
PLAIN = (*NUMBERS_AND_TEXTS, dict, list, tuple)
CONTAINERS = (dict, list, tuple, set, frozenset)
KEYS = (*NUMBERS_AND_TEXTS, bytes)


def parts(data: Any, most: int = MAX_NODES, most_text: float = MAX_TEXT) -> Iterator[Any]:
    """Everything in nested data, keys and values alike, the outermost first.

    Args:
        data: Anything that came out of a file.
        most: Parts of which it may have so many.
        most_text: Characters of all texts together, likewise.

    Raises:
        NSMError: As soon as it is nested too deep, or has more parts or text than files of this project have.
    """
    n_parts, n_characters = 1, 0
    waiting = [(data, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node
        if isinstance(node, str | bytes):
            n_characters += len(node)
        elif isinstance(node, CONTAINERS):
            n_parts += len(node) * (2 if isinstance(node, dict) else 1)
        if depth > MAX_DEPTH:
            raise NSMError(f"it is nested more than {MAX_DEPTH} deep")
        if n_parts > most or n_characters > most_text:
            raise NSMError(f"it has more than {most:,} parts or {most_text:,} characters")
        if isinstance(node, dict):
            waiting.extend((item, depth + 1) for pair in dict.items(node) for item in pair)
        elif isinstance(node, CONTAINERS):
            waiting.extend((item, depth + 1) for item in node)


def check_plain(data: Any, most: int = MAX_NODES) -> None:
    """Refuse data of a file that is anything but numbers, texts, lists and mappings, or too much of them.

    Args:
        data: Anything that came out of a file.
        most: Parts of which it may have so many.

    Raises:
        NSMError: Saying what it holds, or that it is too large.
    """
    for node in parts(data, most):
        if type(node) not in PLAIN:
            raise NSMError(f"it holds {shown(node)}, and plain data are numbers, texts, lists and mappings")
        if type(node) is int and node.bit_length() > MAX_BITS:
            raise NSMError(f"it holds {shown(node)}")


def shown(item: Any, most: int = 60) -> str:
    """A foreign value for a message: short, in one line, without control characters.

    Args:
        item: Anything that came out of a file.
        most: Characters of a text that are shown.
    """
    if isinstance(item, str | bytes):
        return repr(item) if len(item) <= most else f"{item[:most]!r}…"
    if isinstance(item, int) and item.bit_length() > MAX_BITS:
        return f"a whole number of {item.bit_length():,} bits"
    if item is None or isinstance(item, int | float):
        return repr(item)
    return f"a {type(item).__name__}"


def reason(error: BaseException, most: int = 300) -> str:
    """Why something foreign could not be used, for a message: short, in one line, without control characters.

    Args:
        error: Raised by a library about data of a file, which it may repeat at any length.
        most: Characters.
    """
    is_text = all(isinstance(argument, KEYS) for argument in error.args)
    text = " ".join(str(error)[: 4 * most].split()) if is_text else ""
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
    return (text if len(text) <= most else f"{text[:most]}…") or type(error).__name__


UsualUnpickler: Any = pickle._Unpickler  # Any: the types that are known of it lack its methods


class PlainUnpickler(UsualUnpickler):
    """An unpickler that makes Python's plain types and, for every other global, what `find_class` of a subclass allows.

    It is the one in Python: that in C takes gigabytes for a damaged memo index. Byte arrays are read as bytes, since
    the memory for a byte array is allocated before the length of the stream is checked. Keys are numbers and texts, and
    there are no sets: hashing a tuple goes through everything in it, again and again.
    """

    stack: list[Any]

    def load_setitem(self) -> None:
        """Put a pair into a mapping."""
        self._check_keys(self.stack[-2:])
        super().load_setitem()

    def load_setitems(self) -> None:
        """Put pairs into a mapping."""
        self._check_keys(self.stack)
        super().load_setitems()

    def load_dict(self) -> None:
        """Make a mapping of pairs."""
        self._check_keys(self.stack)
        super().load_dict()

    def load_reduce(self) -> None:
        """Call a global."""
        for _ in parts(self.stack[-1], MAX_ARGUMENTS, math.inf):
            pass
        super().load_reduce()

    def load_set(self) -> None:
        """Refuse a set."""
        raise pickle.UnpicklingError("a set")

    dispatch: ClassVar = UsualUnpickler.dispatch | {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.REDUCE[0]: load_reduce,
        pickle.EMPTY_SET[0]: load_set,
        pickle.FROZENSET[0]: load_set,
        pickle.BYTEARRAY8[0]: UsualUnpickler.load_binbytes8,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every global."""
        raise NSMError(f"it names {shown(f'{module}.{name}')}, which is not plain data")

    def _check_keys(self, pairs: list[Any]) -> None:
        for key in pairs[::2]:
            if not isinstance(key, KEYS):
                raise pickle.UnpicklingError(f"a {type(key).__name__} as a key")
