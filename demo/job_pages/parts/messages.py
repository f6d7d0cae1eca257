"""Messages of the service in the language of a page."""

import re

from demo.job_pages.parts.words import RUN_STATES, STATES
from demo.visible_paths import hide_folders
from llm.i18n.translate import Language, translated_error

_NAMES = {key: chinese for key, (_, chinese) in (RUN_STATES | STATES).items()}
# Messages name a state as the API does: a pattern of its own for each would be in no source of an English one.
_BEFORE = ("现为 ", "（")  # words of translated errors that a state follows
_STATE = re.compile(rf"(?:{'|'.join(_BEFORE)})({'|'.join(_NAMES)})(?![\w-])")


def said(message: str, lang: Language) -> str:
    """A message without the service's folders, in the language of the page."""
    shown = translated_error(hide_folders(message), lang)
    return shown if lang == "en" else _STATE.sub(lambda found: found[0].replace(found[1], _NAMES[found[1]]), shown)
