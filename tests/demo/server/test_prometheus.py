"""Prometheus' text format: by hand, and read back by Prometheus' own parser."""

import math

import pytest

from demo.server.prometheus import Counter, Gauge, Histogram, Reader, exposition


def test_the_text_written_by_hand() -> None:
    counter, seconds = (
        Counter("a_total", "With a \\ and\na line.", ("kind",)),
        Histogram("b_seconds", "Times.", (0.1, 1)),
    )
    counter.add('q"\\\n', by=2)
    counter.add("x")
    counter.add("x")
    for value in (0.1, 0.05, 0.5, 7):
        seconds.observe(value)
    assert exposition([counter, seconds, Reader("gauge", "c", "Read.", lambda: 0.25)]).split("\n") == [
        "# HELP a_total With a \\\\ and\\na line.",
        "# TYPE a_total counter",
        'a_total{kind="q\\"\\\\\\n"} 2',
        'a_total{kind="x"} 2',
        "# HELP b_seconds Times.",
        "# TYPE b_seconds histogram",
        'b_seconds_bucket{le="0.1"} 2',
        'b_seconds_bucket{le="1"} 3',
        'b_seconds_bucket{le="+Inf"} 4',
        "b_seconds_sum 7.65",
        "b_seconds_count 4",
        "# HELP c Read.",
        "# TYPE c gauge",
        "c 0.25",
        "",
    ]


def test_a_counter_has_a_counters_name_and_starts_at_zero() -> None:
    assert exposition([Counter("a_total", "A.")]).endswith("\na_total 0\n")
    for wrong in (lambda: Counter("a", "A."), lambda: Gauge("a_total", "A.")):
        with pytest.raises(AssertionError):
            wrong()
    with pytest.raises(AssertionError, match="one family a name"):
        exposition([Gauge("a", "A."), Gauge("a", "A.")])


def test_prometheus_reads_the_same_back() -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="pip install 'eyegraft[dev]'")
    gauge, seconds = (
        Gauge("a_bytes", 'Quotes " and \\.', ("name", "kind")),
        Histogram("b_seconds", "Times.", (0.5, 2.5)),
    )
    gauge.add('new\nline, "quoted" \\', "ü", by=1.5)
    gauge.add("", "", by=2**60)
    for value in (1e-7, 2.5, 3):
        seconds.observe(value)
    found = {family.name: family for family in parser.text_string_to_metric_families(exposition([gauge, seconds]))}
    assert {name: (family.type, family.documentation) for name, family in found.items()} == {
        "a_bytes": ("gauge", 'Quotes " and \\.'),
        "b_seconds": ("histogram", "Times."),
    }
    samples = {tuple(sample.labels.items()): sample.value for sample in found["a_bytes"].samples}
    assert samples == {
        (("name", 'new\nline, "quoted" \\'), ("kind", "ü")): 1.5,
        (("name", ""), ("kind", "")): float(2**60),
    }
    values = [(sample.name, sample.labels.get("le"), sample.value) for sample in found["b_seconds"].samples]
    assert values[:3] == [("b_seconds_bucket", bound, count) for bound, count in (("0.5", 1), ("2.5", 2), ("+Inf", 3))]
    assert math.isclose(values[3][2], 5.5000001) and values[4][2] == 3
