"""Results that several programs add to."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from scripts.pages import added, read_json, write_between

MARKS = "<!-- begin -->\n", "<!-- end -->\n"


def test_what_many_add_at_once_is_all_there_and_on_the_page(tmp_path):
    path, page = tmp_path / "results" / "runs.json", tmp_path / "page.md"
    page.write_text("before\n" + "".join(MARKS) + "after\n", encoding="utf-8")

    def add(n):
        with added({f"run {n}": {"acc": n}}, path) as results:
            write_between(MARKS, "".join(f"{key}\n" for key in results), page)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    results = read_json(path)
    assert sorted(results) == sorted(f"run {n}" for n in range(24))
    tables = "".join(f"{key}\n" for key in results)
    assert page.read_text(encoding="utf-8") == f"before\n{MARKS[0]}{tables}{MARKS[1]}after\n"


def test_without_anything_new_no_file_is_made_or_changed(tmp_path):
    path = tmp_path / "runs.json"
    with added({}, path) as results:
        assert results == {}
    assert not path.exists()
    path.write_text('{"a": 1}')
    with added({}, path) as results:
        assert results == {"a": 1}
    assert path.read_text() == '{"a": 1}'


def test_the_next_may_add_when_a_block_has_failed(tmp_path):
    path = tmp_path / "runs.json"
    with pytest.raises(ZeroDivisionError), added({"a": 1}, path):
        1 / 0  # noqa: B018
    with added({"b": 2}, path) as results:
        assert results == {"a": 1, "b": 2}
