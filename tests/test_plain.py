import io
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import NSMError
from src.plain import MAX_DEPTH, PlainUnpickler, check_plain, parts, reason, shown

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
PLAIN = st.recursive(
    SCALARS | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


def laughs(kind, depth):
    node = kind(["ha"])
    for _ in range(depth):
        node = kind([node, node])
    return node


def count(node):
    if isinstance(node, dict):
        return 1 + sum(count(item) for pair in node.items() for item in pair)
    return 1 + sum(map(count, node)) if isinstance(node, list | tuple) else 1


@settings(max_examples=20)
@given(PLAIN)
def test_every_part_is_seen_once_for_each_place_that_it_stands_in(data):
    assert len(list(parts(data))) == count(data)


@pytest.mark.parametrize("kind", [list, tuple])
def test_what_is_shared_counts_as_often_as_it_stands_there(kind):
    assert len(list(parts(laughs(kind, 9)))) == 3 * 2**9 - 1  # lists, and the texts in the innermost
    for depth in (25, 45, 10_000):
        with pytest.raises(NSMError, match=r"parts|nested"):
            list(parts(laughs(kind, depth), most=10_000))


def test_a_circle_is_refused():
    circle = []
    circle.append(circle)
    with pytest.raises(NSMError, match=f"more than {MAX_DEPTH} deep"):
        list(parts(circle))


def test_a_list_that_is_too_long_is_refused_before_it_is_walked_through():
    walk = parts([0] * 2_000_000)
    next(walk)
    with pytest.raises(NSMError, match="1,000,000 parts"):
        next(walk)


def test_texts_count_by_their_length():
    text = "a" * 1_000_000
    list(parts([text] * 16))
    with pytest.raises(NSMError, match="characters"):
        list(parts([text] * 17))


@pytest.mark.parametrize("odd", [{1, 2}, b"bytes", 1j, object(), 10**400, [(1, {"a": {3}})]], ids=range(6))
def test_what_is_not_plain_is_refused(odd):
    with pytest.raises(NSMError, match="it holds"):
        check_plain({"a": [odd]})


class Loud:
    """Has no short representation, and says so."""

    def __repr__(self):
        raise AssertionError("repr was asked for")


@pytest.mark.parametrize(
    "item", ["x" * 10**6, b"x" * 10**6, 10**5000, laughs(list, 40), Loud(), "\x1b[2J", "a\nb", "\ud800"], ids=range(8)
)
def test_a_foreign_value_is_shown_shortly_and_in_one_line(item):
    assert len(shown(item)) < 100
    assert shown(item).isprintable()


@pytest.mark.parametrize("item", [None, True, -1, 0.5, "text", "Ärger"])
def test_a_short_value_is_shown_as_it_is(item):
    assert shown(item) == repr(item)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("two\n lines"), "two lines"),
        (ValueError("\x1b[2J"), "\\x1b[2J"),
        (ValueError(), "ValueError"),
        (KeyError(laughs(tuple, 40)), "KeyError"),
        (ValueError("x" * 10**6), "x" * 300 + "…"),
    ],
)
def test_the_reason_of_a_foreign_error_is_short_and_in_one_line(error, words):
    assert reason(error) == words


# ----- pickles


@settings(max_examples=20)
@given(PLAIN)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_plain_pickles_come_back(protocol, data):
    class Unpickler(PlainUnpickler):
        def find_class(self, module, name):  # protocols 0 to 2 write bytes so
            return {"encode": lambda text, encoding: text.encode(encoding), "bytes": bytes}[name]

    stream = pickle.dumps(data, protocol=protocol)
    assert repr(Unpickler(io.BytesIO(stream)).load()) == repr(data)


@pytest.mark.parametrize("data", [{(1, 2): 3}, {frozenset(): 1}, {1, 2}, frozenset({1})], ids=repr)
@pytest.mark.parametrize("protocol", [4, 5])
def test_keys_are_numbers_and_texts_and_there_are_no_sets(data, protocol):
    with pytest.raises(pickle.UnpicklingError, match=r"as a key|a set"):
        PlainUnpickler(io.BytesIO(pickle.dumps(data, protocol=protocol))).load()


@pytest.mark.parametrize(
    "stream", [b"cos\nsystem\n.", b"(S'x'\nios\nsystem\n.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."]
)
def test_every_global_is_refused_by_name(stream):
    with pytest.raises(NSMError, match=r"names 'os\.system'"):
        PlainUnpickler(io.BytesIO(stream)).load()
