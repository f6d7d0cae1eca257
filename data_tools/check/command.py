"""The command `eyegraft data check`: its options, and the report as JSON and as lines of text."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from data_tools.check.box_checks import BoxRules
from data_tools.check.check import ProgressCallback, check
from data_tools.check.fix import FixResult, fix
from data_tools.check.report import KEPT, CheckReport, summary_lines
from data_tools.check.rules import CheckRules
from data_tools.check.url_images import ImageDownloader
from data_tools.progress import ProgressBar
from llm.config.schema import Source
from llm.errors import ConfigError
from llm.i18n.translate import Language, translated
from vlm.scores.box_styles import BoxStyle

RECIPE = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The options of one call. `first` findings of each code are listed."""

    file: str
    images: str = ""
    format: str = "auto"
    look: Literal["decode", "header", "off"] = "decode"
    fix: Path | None = None
    allow_urls: Path | None = None
    first: int = 3
    split: str = "train"
    columns: dict[str, str] = field(default_factory=dict)
    lang: Language = "en"  # of the lines of text; JSON is English
    boxes: BoxStyle | None = None  # in which the model of the data writes boxes

    @property
    def source(self) -> Source:
        """The file as a source of training data."""
        return Source(path=self.file, images=self.images, format=self.format, split=self.split, columns=self.columns)

    @property
    def rules(self) -> CheckRules:
        """The rules that follow from the options."""
        fetch = ImageDownloader(self.allow_urls) if self.allow_urls else None
        boxes = BoxRules(self.boxes) if self.boxes else None
        return CheckRules(images=self.look, keep=max(KEPT, self.first), fetch=fetch, boxes=boxes)


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """The report, also as JSON and as lines of text, and the commands that may come next."""

    report: CheckReport
    json: dict[str, object]
    lines: list[str]
    next: tuple[str, ...]


def run(options: CheckOptions) -> CheckOutcome:
    """Check a file or a recipe.

    Raises ConfigError and DataError for a source that cannot be read.
    """
    if options.file.lower().endswith(RECIPE):
        return _run_recipe(options)
    base = Path.cwd()
    with _progress(options.file) as progress:
        if options.fix is None:
            report = check(options.source, base, options.rules, progress)
            lines = list(summary_lines(report, options.first, options.lang))
            return CheckOutcome(report, report.as_json(), lines, _next(options, report))
        fixed = fix(options.source, base, options.fix, options.rules, progress)
    counts = {"kept": fixed.kept, "quarantined": fixed.quarantined, "changed": fixed.changed, "out": str(fixed.out)}
    written = [translated(line, options.lang) for line in _fix_lines(fixed, options)]
    lines = [*summary_lines(fixed.report, options.first, options.lang), *written]
    out = shlex.quote(str(fixed.out))
    commands = (f"eyegraft data check {out}", f"eyegraft train RECIPE data.sources.0.path={out}")
    return CheckOutcome(fixed.report, fixed.report.as_json() | counts, lines, commands)


def _next(options: CheckOptions, report: CheckReport) -> tuple[str, ...]:
    """The commands after a check of a data file."""
    file, stem = shlex.quote(options.file), Path(options.file).with_suffix("")
    split = f" --split {shlex.quote(options.split)}" if options.split != "train" else ""
    if report.counts.get("format-unknown") == report.rows > 0:
        return (f"eyegraft data check {file}{split} --columns input=COLUMN --columns output=COLUMN",)
    columns = "".join(f" --columns {shlex.quote(f'{role}={name}')}" for role, name in options.columns.items())
    if report.bad_rows:
        return (f"eyegraft data check {file}{split}{columns} --fix {shlex.quote(f'{stem}.fixed.jsonl')}",)
    if report.has_errors:
        return ()
    if columns:
        return (f"eyegraft data convert {file} {shlex.quote(f'{stem}.train.json')} --to llava{split}{columns}",)
    chosen = f" data.sources.0.split={shlex.quote(options.split)}" if split else ""
    return f"eyegraft data show {file}{split}", f"eyegraft train RECIPE data.sources.0.path={file}{chosen}"


@contextmanager
def _progress(title: str) -> Iterator[ProgressCallback]:
    with ProgressBar(title) as bar:
        yield lambda records, images: bar.update(records, f"{records:,} records, {images:,} images")


def _fix_lines(fixed: FixResult, options: CheckOptions) -> list[str]:
    changed = f"{fixed.changed:,} of them changed" if fixed.changed else "unchanged"
    lines = [
        f"{fixed.out}: {fixed.kept:,} records, {changed}",
        f"{fixed.quarantine}: {fixed.quarantined:,} records that cannot be trained on, each with its findings",
    ]
    if fixed.changes:
        lines.append(f"{fixed.changes}: every repair, with the text before and after")
    folder = Path(options.file) if Path(options.file).is_dir() else Path(options.file).parent
    if fixed.report.images and not options.images and fixed.out.parent.resolve() != folder.resolve():
        lines.append(f"its image paths start in another folder; in a recipe write images: {os.path.abspath(folder)}")
    return lines


def _run_recipe(options: CheckOptions) -> CheckOutcome:
    from data_tools.check.recipe_check import check_recipe

    of_files = options.fix, options.allow_urls, options.images, options.columns, options.boxes
    if any(of_files) or options.format != "auto" or options.split != "train":
        advice = (
            "Leave out --fix, --allow-urls, --images, --format, --split, --columns and --boxes, or name the data file"
        )
        raise ConfigError(f"{options.file}: these options do not apply to a recipe. {advice}")
    with _progress(options.file) as progress:
        report = check_recipe(options.file, options.rules, progress)
    recipe = shlex.quote(options.file)
    commands = () if report.has_errors else (f"eyegraft plan {recipe}", f"eyegraft train {recipe}")
    lines = list(summary_lines(report, options.first, options.lang))
    return CheckOutcome(report, report.as_json(), lines, commands)
