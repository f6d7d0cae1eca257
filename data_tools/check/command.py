"""The command `eyegraft data check`: its options, and the report as JSON and as lines of text."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_tools.check.check import ProgressCallback, check
from data_tools.check.fix import FixResult, fix
from data_tools.check.report import KEPT, summary_lines
from data_tools.check.rules import CheckRules
from data_tools.check.url_images import ImageDownloader
from data_tools.progress import ProgressBar
from llm.config.schema import Source
from llm.errors import ConfigError

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

    @property
    def source(self) -> Source:
        """The file as a source of training data."""
        return Source(path=self.file, images=self.images, format=self.format)

    @property
    def rules(self) -> CheckRules:
        """The rules that follow from the options."""
        fetch = ImageDownloader(self.allow_urls) if self.allow_urls else None
        return CheckRules(images=self.look, keep=max(KEPT, self.first), fetch=fetch)


def run(options: CheckOptions) -> tuple[dict[str, object], list[str]]:
    """Check a file or a recipe. Returns (the report as JSON, the report as lines).

    Raises ConfigError and DataError for a source that cannot be read.
    """
    if options.file.lower().endswith(RECIPE):
        return _run_recipe(options)
    base = Path.cwd()
    with _progress(options.file) as progress:
        if options.fix is None:
            report = check(options.source, base, options.rules, progress)
            return report.as_json(), list(summary_lines(report, options.first))
        fixed = fix(options.source, base, options.fix, options.rules, progress)
    counts = {"kept": fixed.kept, "quarantined": fixed.quarantined, "out": str(fixed.out)}
    lines = [*summary_lines(fixed.report, options.first), *_fix_lines(fixed, options)]
    return fixed.report.as_json() | counts, lines


@contextmanager
def _progress(title: str) -> Iterator[ProgressCallback]:
    with ProgressBar(title) as bar:
        yield lambda records, images: bar.update(records, f"{records:,} records, {images:,} images")


def _fix_lines(fixed: FixResult, options: CheckOptions) -> list[str]:
    lines = [
        f"{fixed.out}: {fixed.kept:,} records, unchanged",
        f"{fixed.quarantine}: {fixed.quarantined:,} records that cannot be trained on, each with its findings",
    ]
    folder = Path(options.file) if Path(options.file).is_dir() else Path(options.file).parent
    if fixed.report.images and not options.images and fixed.out.parent.resolve() != folder.resolve():
        lines.append(f"its image paths start in another folder; in a recipe write images: {os.path.abspath(folder)}")
    return lines


def _run_recipe(options: CheckOptions) -> tuple[dict[str, object], list[str]]:
    from data_tools.check.recipe_check import check_recipe

    if options.fix or options.allow_urls or options.images or options.format != "auto":
        advice = "Leave out --fix, --allow-urls, --images and --format, or name the data file"
        raise ConfigError(f"{options.file}: these options do not apply to a recipe. {advice}")
    with _progress(options.file) as progress:
        report = check_recipe(options.file, options.rules, progress)
    return report.as_json(), list(summary_lines(report, options.first))
