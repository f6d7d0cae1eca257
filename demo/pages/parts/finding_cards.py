"""The findings of a code as HTML cards: place, what was found, what to do, the record and its images.

Records contain arbitrary text: every text is escaped, and images are embedded in the page.
"""

import base64
from collections.abc import Callable, Iterable

from demo.pages.parts.check_session import FindingCard
from demo.pages.parts.escaping import escaped
from demo.pages.parts.record_preview import thumbnail
from llm.i18n.translate import Language, translated

CSS = """
#check-cards, #check-cards > * { padding: 0 !important; }
#check-codes .wrap { flex-direction: column; }
.eg-card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 12px 16px; margin: 0 0 12px; }
.eg-card p { margin: 4px 0; overflow-wrap: anywhere; }
.eg-card .place { font-family: var(--font-mono); font-size: 0.85em; color: var(--body-text-color-subdued); }
.eg-card .found b { font-family: var(--font-mono); }
.eg-card .advice { color: var(--body-text-color-subdued); }
.eg-card pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 260px; overflow-y: auto; margin: 8px 0 0;
  padding: 10px 12px; border-radius: 6px; background: var(--background-fill-secondary); font-size: 0.85em; }
.eg-card .images { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
.eg-card img { height: 120px; width: auto; max-width: 100%; border-radius: 6px; }
"""


def cards(shown: Iterable[FindingCard], visible: Callable[[str], str], lang: Language) -> str:
    """The cards as HTML. `visible` shortens the paths in places and messages."""
    colon = "：" if lang == "zh" else ": "
    return "".join(_card(card, lambda text: escaped(translated(visible(text), lang)), colon) for card in shown)


def _card(card: FindingCard, shown: Callable[[str], str], colon: str) -> str:
    """`shown` makes a message what the page shows of it."""
    finding = card.finding
    parts = [
        f'<p class="place">{shown(str(finding.place))}</p>',
        f'<p class="found"><b>{shown(finding.field)}</b>{colon}{shown(finding.found)}</p>',
        f'<p class="advice">{shown(finding.advice)}</p>',
    ]
    images = "".join(f'<img alt="{shown("image")}" src="{_url(data)}">' for data in map(thumbnail, card.images) if data)
    parts.append(f'<div class="images">{images}</div>' if images else "")
    parts.append(f"<pre>{escaped(card.record)}</pre>" if card.record else "")
    return f'<div class="eg-card">{"".join(parts)}</div>'


def _url(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
