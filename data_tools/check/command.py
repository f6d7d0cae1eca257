"""What was asked of `eyegraft data check` on the command line, done: a report and the lines that tell it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_tools.check.check import check
from data_tools.check.fix import FixResult, fix
from data_tools.check.report import KEPT, CheckReport, told
from data_tools.check.rules import CheckRules
from data_tools.check.url_images import ImageDownloader
from data_tools.progress import bar
from llm.config.schema import Source
from llm.errors import ConfigError

RECIPE = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The arguments of one call."""

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
        """How closely it is looked at."""
        fetch = ImageDownloader(self.allow_urls) if self.allow_urls else None
        return CheckRules(images=self.look, keep=max(KEPT, self.first), fetch=fetch)


def run(asked: CheckOptions) -> tuple[dict[str, object], list[str]]:
    """(report for programs, lines for people). Raises ConfigError and DataError for what cannot be read at all."""
    if asked.file.lower().endswith(RECIPE):
        return _run_recipe(asked)
    base = Path.cwd()
    with bar(asked.file) as progress:
        if asked.fix is None:
            report = check(asked.source, base, asked.rules, progress)
            return report.as_json(), list(told(report, asked.first))
        fixed = fix(asked.source, base, asked.fix, asked.rules, progress)
    more = {"kept": fixed.kept, "quarantined": fixed.quarantined, "out": str(fixed.out)}
    report = fixed.report
    return report.as_json() | more, [*told(report, asked.first), *_told_fix(fixed, asked)]


def _told_fix(fixed: FixResult, asked: CheckOptions) -> list[str]:
    lines = [f"{fixed.out}: {fixed.kept:,} rows, as they were"]
    lines.append(f"{fixed.quarantine}: {fixed.quarantined:,} rows that cannot be trained on, each with its findings")
    folder = Path(asked.file) if Path(asked.file).is_dir() else Path(asked.file).parent
    if fixed.report.images and not asked.images and fixed.out.parent.resolve() != folder.resolve():
        lines.append(f"its pictures lie where they lay: name their folder, images: {os.path.abspath(folder)}")
    return lines


def _run_recipe(asked: CheckOptions) -> tuple[dict[str, object], list[str]]:
    from data_tools.check.recipe_check import check_recipe

    if asked.fix or asked.allow_urls or asked.images or asked.format != "auto":
        raise ConfigError(f"{asked.file}: a recipe says itself what is read and how: name its data file instead")
    with bar(asked.file) as progress:
        report: CheckReport = check_recipe(asked.file, asked.rules, progress)
    return report.as_json(), list(told(report, asked.first))
