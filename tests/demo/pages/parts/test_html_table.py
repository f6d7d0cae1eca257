"""Tables as HTML: heads, labels of cells on narrow screens, and texts that are no markup."""

import html
import re

from demo.pages.i18n import HEADERS, WIDTHS
from demo.pages.parts.escaping import escaped_markdown
from demo.pages.parts.html_table import html_table
from tests.demo.payloads import XSS


def test_every_cell_has_the_head_of_its_column() -> None:
    made = html_table("Report", ["metric", "value"], [["loss", 0.5], ["steps", 80]], (40, 60))
    assert re.findall(r'<td data-head="(.*?)">(.*?)</td>', made) == [
        ("metric", "loss"),
        ("value", "0.5"),
        ("metric", "steps"),
        ("value", "80"),
    ]
    assert re.findall(r'<th scope="col">(.*?)</th>', made) == ["metric", "value"]
    assert 'aria-label="Report"' in made and html_table("Report", ["a"], [], (100,)) == ""


def test_widths_belong_to_the_columns_and_fill_the_table() -> None:
    assert {name: len(heads) for name, (heads, _) in HEADERS.items()} == {
        name: len(all_) for name, all_ in WIDTHS.items()
    }
    assert {sum(widths) for widths in WIDTHS.values()} == {100}


def test_texts_are_no_markup() -> None:
    for payload in (*XSS, "${window.hacked=1}", "{{constructor}}", "`${1}`"):
        made = html_table(payload, [payload], [[payload]], (100,))
        assert set(re.findall(r"<(\w+)", made)) == {"table", "colgroup", "col", "thead", "tr", "th", "tbody", "td"}
        assert not set("${}`\\") & set(made)
        shown = escaped_markdown(payload)
        assert not set("<>[]*_`$#") & set(re.sub(r"&#\d+;", "", shown)) and html.unescape(shown) == payload
