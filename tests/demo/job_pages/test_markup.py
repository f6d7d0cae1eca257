"""HTML is markup only where `tag` made it; a curve is scaled into its drawing."""

import re

from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.spark_line import HEIGHT, WIDTH, spark_line
from tests.demo.payloads import XSS


def test_texts_and_attributes_are_escaped() -> None:
    for payload in XSS:
        made = tag("p", payload, title=payload)
        assert re.fullmatch(r'<p title="[^"<>]*">[^<>]*</p>', made), made
    assert tag("p", tag("b", "x"), None) == "<p><b>x</b></p>"
    assert tag("input", type="text", disabled=True, value=None, data_id=3) == '<input type="text" disabled data-id="3">'
    assert joined(["<", Markup("<br>")]) == "&lt;<br>"


def test_a_spark_line_spans_its_drawing() -> None:
    line = spark_line([3.0, float("nan"), 1.0, 2.0], "loss, now 2")
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", line)]
    assert [x for x, _ in points] == sorted(x for x, _ in points) and len(points) == 3
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert points[0][1] < points[2][1] < points[1][1], "a greater value is higher up"
    assert spark_line([1.0], "x") == "" and "nan" not in spark_line([2.0, 2.0], "x")
