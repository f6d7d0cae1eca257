"""A disk that is nearly full, said on the pages where jobs are begun and looked at."""

import os
from pathlib import Path

from demo.job_pages.parts.markup import Markup, tag
from demo.job_pages.parts.table_words import DISK
from demo.job_pages.parts.words import text
from llm.files.disk_space import LEAST_FREE, is_nearly_full
from llm.i18n.translate import Language

UNITS = ("B", "kB", "MB", "GB", "TB")


def disk_note(folder: Path, lang: Language) -> Markup:
    """What to do about the disk of a folder; empty while there is room."""
    if not is_nearly_full(folder):
        return Markup("")
    found = os.statvfs(folder)
    free = bytes_text(found.f_bavail * found.f_frsize)
    link = tag("a", text(DISK, "finished", lang), href="/jobs?show=done")
    return tag("p", text(DISK, "full", lang, free, bytes_text(LEAST_FREE)), " ", link, class_="notice", role="alert")


def bytes_text(size: float) -> str:
    """A number of bytes in the unit in which it has at most three digits before the point: `1.4 GB`."""
    for unit in UNITS[:-1]:
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.2g} {unit}"
        size /= 1000
    return f"{size:.2g} {UNITS[-1]}"
