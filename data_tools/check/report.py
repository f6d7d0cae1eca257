"""The result of a check: exact counts, the first findings of every code, and their summary as text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from data_tools.check.findings import CODES, Finding
from llm.i18n.translate import MARKS, Language, translated

KEPT = 20  # findings of a code that a report holds
TEXTS = {
    "record": ("1 record", "1 条记录"),
    "records": ("{:,} records", "{:,} 条记录"),
    "image": ("1 image", "1 张图片"),
    "images": ("{:,} images", "{:,} 张图片"),
    "video": ("1 video", "1 个视频"),
    "videos": ("{:,} videos", "{:,} 个视频"),
    "clean": ("clean", "没有发现问题"),
    "error": ("error  ", "错误"),
    "warning": ("warning", "警告"),
    "more": ("and {:,} more", "另有 {:,} 处"),
    "bad": ("{:,} cannot be trained on", "其中 {:,} 条不能用于训练"),
    "stop": ("training stops with the error above", "训练会因上述错误而停止"),
    "good": ("all can be trained on", "全部可以用于训练"),
}
"""The summary's own texts, in English and Chinese."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Records read, distinct images and videos checked, the count of every code, and the first findings of each.

    `bad_rows` records cannot be trained on; `notes` name what was not checked. The field names are those of
    `data check --json`.
    """

    rows: int
    images: int
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    bad_rows: int = 0
    notes: tuple[str, ...] = ()
    videos: int = 0

    @property
    def clean(self) -> bool:
        """True when nothing was found."""
        return not self.counts

    @property
    def has_errors(self) -> bool:
        """Whether something keeps a record, or the source, from being trained on."""
        return any(CODES[code].level == "error" for code in self.counts)

    def as_json(self) -> dict[str, object]:
        """The report as JSON."""
        counts = {"rows": self.rows, "images": self.images, "bad_rows": self.bad_rows, "counts": self.counts}
        counts |= {"videos": self.videos} if self.videos else {}
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

    def report(self, images: int, notes: Sequence[str] = (), videos: int = 0) -> CheckReport:
        """The report so far, codes in the order of `CODES`; `images` and `videos` were checked."""
        order = [code for code in CODES if code in self.counts]
        findings = tuple(finding for code in order for finding in self.kept[code])
        counts = {code: self.counts[code] for code in order}
        return CheckReport(self.rows, images, counts, findings, self.bad_rows, tuple(notes), videos)


def summary_lines(report: CheckReport, shown: int = 3, lang: Language = "en") -> Iterator[str]:
    """The report as text: totals, the count of every code, then the first `shown` findings of each."""
    totals = [_counted("record", report.rows, lang), _counted("image", report.images, lang)]
    totals += [_counted("video", report.videos, lang)] if report.videos else []
    yield _mark(", ", lang).join(totals)
    yield from (translated(note, lang) for note in report.notes)
    if report.clean:
        yield _text("clean", lang)
        return
    for code, count in report.counts.items():
        yield f"  {count:>9,}  {_text(CODES[code].level, lang)}  {code:<18}  {_title(code, lang)}"
    for code, count in report.counts.items():
        first = [finding for finding in report.findings if finding.code == code][:shown]
        yield f"\n{code}{_mark(': ', lang)}{_title(code, lang)}"
        yield from (f"  {_finding_text(finding, lang)}" for finding in first)
        if count > len(first):
            yield f"  {_text('more', lang, count - len(first))}"
    yield f"\n{_counted('record', report.rows, lang)}{_mark(': ', lang)}{_verdict(report, lang)}"


def _finding_text(finding: Finding, lang: Language) -> str:
    """The place as it is, then the field, what was found and what to do."""
    field, found, advice = (translated(text, lang) for text in (finding.field, finding.found, finding.advice))
    colon = _mark(": ", lang)
    return f"{finding.place}{colon}{field}{colon}{found}{_mark('. ', lang)}{advice}"


def _title(code: str, lang: Language) -> str:
    return CODES[code].title_zh if lang == "zh" else CODES[code].title


def _mark(english: str, lang: Language) -> str:
    return MARKS[english] if lang == "zh" else english


def _verdict(report: CheckReport, lang: Language) -> str:
    if report.bad_rows:
        return _text("bad", lang, report.bad_rows)
    # Errors of a file, such as one without records or one that ends early.
    return _text("stop" if report.has_errors else "good", lang)


def _counted(noun: str, count: int, lang: Language) -> str:
    return _text(noun, lang) if count == 1 else _text(f"{noun}s", lang, count)


def _text(key: str, lang: Language, *values: int) -> str:
    return TEXTS[key][lang == "zh"].format(*values)
