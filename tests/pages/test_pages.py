import base64
import json
import re
from hashlib import sha256

import numpy as np
import pytest

from src.errors import ConfigError
from src.pages.encoding import encode_levels
from src.pages.pages import HERE, SERVED_POLICY, PageSource, joined, modules_of, unbroken


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A page of three modules that lies outside of src, as far as addresses go."""
    monkeypatch.setattr("src.pages.pages.ROOT", tmp_path)
    monkeypatch.setattr("src.pages.pages.HERE", tmp_path / "pages")
    files = {
        "pages/page.css": "b {}\n",
        "pages/base.html.j2": (HERE / "base.html.j2").read_text(encoding="utf-8"),
        "pages/low.js": "const secret = 1;\nexport const one = () => secret;\n",
        "pages/middle.js": (
            'import { one } from "./low.js";\n\nexport function two() {\n  return 2 * one();\n}\n'
            "export class Three {}\n"
        ),
        "own/page.js": (
            'import { one as first } from "../pages/low.js";\n'
            'import {\n  two,\n  Three,\n} from "../pages/middle.js";\n'
            "const secret = 5;\nwindow.found = [first(), two(), typeof Three, secret];\n"
        ),
        "own/page.css": "i {}\n",
        "own/page.html.j2": '{% extends "base.html.j2" %}{% block title %}{{ name }}{% endblock %}'
        "{% block body %}<p>{{ name }}</p>{% endblock %}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return PageSource(*(tmp_path / "own" / f"page.{end}" for end in ("html.j2", "css", "js")))


def test_modules_stand_after_what_they_import(source):
    assert [path.name for path in source.modules] == ["low.js", "middle.js", "page.js"]


def test_joined_modules_import_and_export_nothing_and_keep_their_names_to_themselves(source):
    script = joined(source.modules)
    assert not re.search(r"^(import|export)", script, re.MULTILINE)
    assert script.count("const secret") == 2  # each in a function of its own
    assert "const { one: first } = module0;" in script
    assert "const { two, Three } = module1;" in script
    assert "return { two, Three };" in script


def test_an_inline_page_allows_its_own_script_and_style_alone(source):
    page = source.inline({"a": 1}, name="n")
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert style == "b {}\ni {}\n"
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert f"{kind}-src &#39;sha256-{digest}&#39;" in page
    assert "default-src &#39;none&#39;" in page


def test_a_served_page_names_files_that_are_there(source):
    page = source.served({"a": 1}, name="n")
    addresses = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert addresses == ["/pages/page.css", "/own/page.css", "/own/page.js"]
    assert set(addresses) <= set(source.files)
    assert source.files["/pages/low.js"] == source.modules[source.script.parents[1] / "pages" / "low.js"]
    assert "'unsafe" not in SERVED_POLICY


def test_data_and_texts_end_no_element_and_turn_no_direction(source):
    bad = '</script><script>"\u202e&'
    page = source.inline({"text": bad}, name=bad)
    assert page.count("<script") == 2
    assert "\u202e" not in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["text"] == bad.replace("\u202e", r"\u202e")


def test_numbers_that_json_does_not_have_are_refused(source):
    with pytest.raises(ValueError, match="JSON compliant"):
        source.inline({"number": float("nan")}, name="n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import two from "./middle.js";\n', "cannot be joined: import two"),
        ('import * as all from "./middle.js";\n', "cannot be joined: import"),
        ("export default 5;\n", "cannot be joined: export default 5;"),
        ("export let changing = 5;\n", "cannot be joined"),
        ('const late = await import("./middle.js");\n', "cannot be joined"),
        ('import { two } from "./middle.js";\n', "imports itself"),
    ],
)
def test_what_cannot_be_joined_is_refused(source, text, message):
    low = source.script.parents[1] / "pages" / "low.js"
    low.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        modules_of(source.script)


def test_all_modules_of_the_project_can_be_joined():
    for path in HERE.glob("*.js"):
        assert "moduleundefined" not in joined(modules_of(path))


def test_levels_are_rounded_to_16_bits_between_the_ends():
    levels = np.linspace(-90, 5, 1001)
    told = np.frombuffer(encode_levels(levels, -80.0, 0.0), "<u2") / 65535 * 80 - 80
    np.testing.assert_allclose(told, levels.clip(-80, 0), atol=0.5 * 80 / 65535 + 1e-12)


def test_numbers_stay_with_their_units_and_foreign_text_is_text():
    assert (
        unbroken("within 0.1 dB of it, 3 steps, 95 %: a dB")
        == "within 0.1&nbsp;dB of it, 3&nbsp;steps, 95&nbsp;%: a dB"
    )
    assert "<b>" not in unbroken("<b>1 dB")
