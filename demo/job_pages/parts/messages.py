"""Messages of the service in the language of a page."""

from demo.visible_paths import hide_folders
from llm.i18n.translate import Language, translated_error


def said(message: str, lang: Language) -> str:
    """A message without the service's folders, in the language of the page."""
    return translated_error(hide_folders(message), lang)
