"""What the page says about a check, in English and Chinese."""

from data_tools.check.findings import CODES
from data_tools.check.fix import FixResult
from demo.pages.parts.check_session import CheckResult

CHECK = {
    "en": {
        "so_far": "so far",
        "rows": "{:,} rows",
        "images": "{:,} pictures",
        "bad": "**{:,} rows cannot be trained on**",
        "good": "**all can be trained on**",
        "clean": "nothing found",
        "shown": "the first {:,} of {:,}",
        "error": "error",
        "warning": "warning",
        "kept": "`{}`: {:,} rows, as they were",
        "away": "`{}`: {:,} rows that cannot be trained on, each with its findings",
        "folder": "The pictures stay where they are; a recipe that reads the cleaned file needs `images: {}`",
    },
    "zh": {
        "so_far": "已检查",
        "rows": "{:,} 条记录",
        "images": "{:,} 张图片",
        "bad": "**{:,} 条记录不能用于训练**",
        "good": "**全部可以用于训练**",
        "clean": "没有发现问题",
        "shown": "前 {:,} 条, 共 {:,} 条",
        "error": "错误",
        "warning": "提醒",
        "kept": "`{}`: {:,} 条记录, 保持原样",
        "away": "`{}`: {:,} 条不能用于训练的记录, 各附原因",
        "folder": "图片仍在原处; 训练配置读取清洗后的文件时, 需要写 `images: {}`",
    },
}
HEADERS = {"en": ["count", "level", "found", "code"], "zh": ["数量", "级别", "问题", "代码"]}


def check_text(checked: CheckResult, lang: str) -> str:
    """What was read and what became of it, in a line."""
    words, report = CHECK[lang], checked.report
    parts = [words["rows"].format(report.rows), words["images"].format(report.images)]
    if not checked.done:
        return " · ".join([words["so_far"], *parts])
    left = words["bad"].format(report.bad_rows) if report.bad_rows else words["good"]
    verdict = [left] if report.rows else []
    return " · ".join([f"`{checked.source.path}`", *parts, *verdict, *([words["clean"]] if report.clean else [])])


def code_table(checked: CheckResult, lang: str) -> list[list[str | int]]:
    """Count, level, title and code of what was found, errors first."""
    counts = checked.report.counts
    order = sorted(counts, key=lambda code: CODES[code].level)  # of a level in the order in which codes are told
    return [[counts[code], CHECK[lang][CODES[code].level], title(code, lang), code] for code in order]


def title(code: str, lang: str) -> str:
    """What a code says."""
    return CODES[code].title_zh if lang == "zh" else CODES[code].title


def cards_text(code: str, shown: int, count: int, lang: str) -> str:
    """Above the cards of a code: its title, and how many of how many follow where these are not all."""
    more = f" · {CHECK[lang]['shown'].format(shown, count)}" if count > shown else ""
    return f"**{title(code, lang).replace('<', '&lt;')}**{more}"


def cleaned_text(fixed: FixResult, folder: str, lang: str) -> str:
    """How many rows went where. `folder` is where the pictures lie, empty where there are none."""
    words = CHECK[lang]
    lines = [words["kept"].format(fixed.out.name, fixed.kept)]
    lines.append(words["away"].format(fixed.quarantine.name, fixed.quarantined))
    return "\n\n".join([*lines, *([words["folder"].format(folder)] if folder else [])])
