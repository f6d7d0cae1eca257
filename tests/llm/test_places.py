"""Places of records in messages and logs."""

import pytest

from llm.errors import Place


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place("a.json"), "a.json"),
        (Place("a.json", 3), "a.json:3"),
        (Place("a.json", 3, "x"), "a.json:3 (record x)"),
        (Place("a.json", 3, "x\nerror: forged\r\n"), "a.json:3 (record x\\nerror: forged\\r\\n)"),
        (Place("a\nb.json", 0, "x"), "a\\nb.json (record x)"),
    ],
)
def test_a_place_is_one_line(place: Place, text: str) -> None:
    assert str(place) == text
