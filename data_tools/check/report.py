"""The result of a check: exact counts, the first findings of every code, and their summary as text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from data_tools.check.findings import CODES, Finding

KEPT = 20  # findings of a code that a report holds


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Records read, distinct images checked, the count of every code, and the first findings of each.

    `bad_rows` records cannot be trained on; `notes` name what was not checked. The field names are those of
    `data check --json`.
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
        """The report as JSON."""
        counts = {"rows": self.rows, "images": self.images, "bad_rows": self.bad_rows, "counts": self.counts}
        findings = [finding.as_json() for finding in self.findings]
        return counts | {"notes": list(self.notes), "findings": findings}


@dataclass(slots=True)
class FindingCounter:
    """Counts findings as they come, and holds the first `keep` of every code."""

    keep: int = KEPT
    rows: int = 0
    bad_rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    kept: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, row: int, findings: Sequence[Finding]) -> None:
        """Count the findings of one record; `row` 0 is not a record."""
        self.rows += row > 0
        self.bad_rows += row > 0 and any(finding.level == "error" for finding in findings)
        for finding in findings:
            self.counts[finding.code] += 1
            first = self.kept.setdefault(finding.code, [])
            if len(first) < self.keep:
                first.append(finding)

    def report(self, images: int, notes: Sequence[str] = ()) -> CheckReport:
        """The report so far, codes in the order of `CODES`; `images` were checked."""
        order = [code for code in CODES if code in self.counts]
        findings = tuple(finding for code in order for finding in self.kept[code])
        counts = {code: self.counts[code] for code in order}
        return CheckReport(self.rows, images, counts, findings, self.bad_rows, tuple(notes))


def summary_lines(report: CheckReport, shown: int = 3) -> Iterator[str]:
    """The report as text: totals, the count of every code, then the first `shown` findings of each."""
    yield f"{report.rows:,} records, {report.images:,} images"
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
    verdict = f"{report.bad_rows:,} cannot be trained on" if report.bad_rows else "all can be trained on"
    yield f"\n{report.rows:,} records: {verdict}"
