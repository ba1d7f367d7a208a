from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from overtone.errors import RunError
from overtone.evaluation.markdown import cut, escape, escaped_table, p_equals, p_value, signed, table
from overtone.evaluation.page import page

PARSER = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink"])
HOSTILE = st.text(alphabet="ab 1_*`|\\<>&;#![]()~$/:\n\téx🎉", min_size=1, max_size=25)


def cells(rendered):
    return [unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", rendered)]


@settings(max_examples=150)
@given(HOSTILE, HOSTILE)
def test_any_text_survives_a_table_as_it_is(first, second):
    rendered = PARSER.render(escaped_table(["x", "y"], [[first, second]]))
    assert cells(rendered) == [" ".join(each.split()) for each in (first, second)]
    assert set(re.findall(r"</?(\w+)", rendered)) <= {"table", "thead", "tbody", "tr", "th", "td"}


def test_escaping_leaves_what_needs_none():
    assert escape("macro_f1, p < 0.001, AT&T, rock & roll") == "macro_f1, p < 0.001, AT&T, rock & roll"
    assert escape("_a_ *b* <b>") == r"\_a\_ \*b\* \<b\>"


def test_columns_of_numbers_stand_to_the_right():
    rows = [["a", "1,200", "+0.1 (-0.2 to +0.3)", "< 0.001", "7 of 9"], ["b", "3", "", "0.034", "8"]]
    assert table(["w", "x", "y", "z", "v"], rows).splitlines()[1] == "| --- | ---: | ---: | ---: | --- |"
    assert table(["x"], []).splitlines() == ["| x |", "| --- |"]


def test_numbers_as_they_are_read():
    assert [signed(0.1), signed(-0.25)] == ["+0.100", "-0.250"]
    assert [p_value(0.0341), p_value(0.0002)] == ["0.034", "< 0.001"]
    assert [p_equals(0.5), p_equals(0)] == ["p = 0.500", "p < 0.001"]
    assert cut("x" * 300) == "x" * 199 + "…"
    assert cut("short") == "short"


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x90\0\0\x00\xc8"  # 400 by 200, cut after its header


class Outside(HTMLParser):
    """Collects whatever a browser would fetch or run."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in {"src", "href", "srcset", "style"} and value]


def test_a_page_holds_its_pictures_and_asks_for_nothing(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "x.png").write_bytes(PNG)
    text = "# T\n\n![what it *shows*](plots/x.png)\n\n| a |\n| ---: |\n| 1 |\n\n<script>1</script> [l](http://x.y)"
    made = page(text, "a <title>", tmp_path)
    reader = Outside()
    reader.feed(made)
    outside = [
        value for value in reader.found if not value.startswith(("data:image/png;base64,", "text-align"))
    ]
    assert outside == []
    assert not reader.tags & {"script", "link", "a", "iframe"}
    assert 'alt="what it shows"' in made
    assert 'width="200" height="100"' in made
    assert "<title>a &lt;title&gt;</title>" in made
    assert "&lt;script&gt;" in made
    assert "prefers-color-scheme: dark" in made
    assert "default-src 'none'" in made
    assert '<div class="table"><table>' in made


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(RunError, match=r"none\.png is missing"):
        page("![x](plots/none.png)", "t", tmp_path)
