"""The language of what a command prints. No other module decides it; the page follows the visitor's browser."""

import os
import sys
from collections.abc import Mapping

from llm.errors import ConfigError
from llm.i18n.translate import Language

VARIABLE = "EYEGRAFT_LANG"
LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first one with a value counts, as POSIX has it
NEUTRAL = {"c", "posix"}


def language(variables: Mapping[str, str] | None = None, encoding: str | None = None) -> Language:
    """`EYEGRAFT_LANG`, else Chinese under a Chinese locale on a terminal that can show it, else English.

    `variables` are those of this process by default, `encoding` is standard error's. Raises ConfigError for an
    `EYEGRAFT_LANG` that is neither English nor Chinese.
    """
    variables = os.environ if variables is None else variables
    chosen = variables.get(VARIABLE, "").strip()
    if chosen:
        return _chosen(chosen)
    locale = next((value for name in LOCALES if (value := variables.get(name, ""))), "")
    return "zh" if _tag(locale) == "zh" and _shows_chinese(encoding or sys.stderr.encoding) else "en"


def _chosen(value: str) -> Language:
    tag = _tag(value)
    if tag == "zh":
        return "zh"
    if tag == "en" or tag in NEUTRAL:
        return "en"
    raise ConfigError(f"{VARIABLE}={value}: there are texts in English and Chinese only. Set it to en or zh")


def _tag(locale: str) -> str:
    """`zh` of zh_CN.UTF-8, zh-Hans, ZH and zh@pinyin."""
    for mark in "_-.@":
        locale = locale.partition(mark)[0]
    return locale.lower()


def _shows_chinese(encoding: str) -> bool:
    try:
        "中文，".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
