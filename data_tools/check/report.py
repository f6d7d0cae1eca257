"""What a check comes to: exact counts, the first findings of every code, and how they are told."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from data_tools.check.findings import CODES, Finding

KEPT = 20  # findings of a code that are kept, however many there are


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Rows read, distinct pictures looked at, findings by code, and the first of each; `notes` say what was not done.

    `bad_rows` cannot be trained on.
    """

    rows: int
    images: int
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    bad_rows: int = 0
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """True when nothing was found."""
        return not self.counts

    def as_json(self) -> dict[str, object]:
        """The report for programs; the findings are the first of every code."""
        found = [finding.as_json() for finding in self.findings]
        told = {"rows": self.rows, "images": self.images, "bad_rows": self.bad_rows, "counts": self.counts}
        return told | {"notes": list(self.notes), "findings": found}


@dataclass(slots=True)
class FindingCounter:
    """Findings as they come: all are counted, the first `keep` of every code are held."""

    keep: int = KEPT
    rows: int = 0
    bad_rows: int = 0
    images: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    kept: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, row: int, findings: Sequence[Finding]) -> None:
        """One row's findings; `row` 0 is a file as a whole."""
        self.rows += row > 0
        self.bad_rows += row > 0 and any(finding.level == "error" for finding in findings)
        for finding in findings:
            self.counts[finding.code] += 1
            first = self.kept.setdefault(finding.code, [])
            if len(first) < self.keep:
                first.append(finding)

    def report(self, notes: Sequence[str] = ()) -> CheckReport:
        """What it comes to, in the order of the table of codes."""
        order = [code for code in CODES if code in self.counts]
        findings = tuple(finding for code in order for finding in self.kept[code])
        counts = {code: self.counts[code] for code in order}
        return CheckReport(self.rows, self.images, counts, findings, self.bad_rows, tuple(notes))


def told(report: CheckReport, shown: int = 3) -> Iterator[str]:
    """Lines for people: what was read, counts by code, then the first `shown` findings of each."""
    yield f"{report.rows:,} rows, {report.images:,} images"
    yield from report.notes
    if report.clean:
        yield "clean"
        return
    for code, count in report.counts.items():
        yield f"  {count:>9,}  {CODES[code].level:<7}  {code:<18}  {CODES[code].title}"
    for code, count in report.counts.items():
        first = [finding for finding in report.findings if finding.code == code][:shown]
        yield f"\n{code}: {CODES[code].title}"
        for finding in first:
            yield f"  {finding.place}: {finding.field}: {finding.found}. {finding.advice}"
        if count > len(first):
            yield f"  and {count - len(first):,} more"
    verdict = "can be trained on" if not report.bad_rows else f"{report.bad_rows:,} cannot be trained on"
    yield f"\n{report.rows:,} rows: {'all ' if not report.bad_rows else ''}{verdict}"
