"""How strictly a check looks, and what it remembers from row to row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from data_tools.check.report import KEPT
from data_tools.check.seen_hashes import SeenHashes
from llm.formats.conversation import Conversation
from llm.formats.row_files import RawRow
from vlm.vision.images import DEFAULT_LIMITS, ImageLimits

Measure = Callable[[Conversation], object]
Fetch = Callable[[RawRow, str], RawRow]


@dataclass(frozen=True, slots=True)
class CheckRules:
    """What is looked at, beyond what every row is judged by.

    `measure` encodes a record and raises RecordError or TemplateError where training would; `tokens` are the
    tokenizer's own special tokens; `fetch` takes a row that names URLs, and its image folder, to one that names files,
    or raises RecordError; `leaks` compares pictures by content; `keep` findings of every code are held in the report.
    """

    images: Literal["decode", "header", "off"] = "decode"
    limits: ImageLimits = DEFAULT_LIMITS
    keep: int = KEPT
    tokens: tuple[str, ...] = ()
    measure: Measure | None = None
    fetch: Fetch | None = None
    leaks: bool = False


@dataclass(slots=True)
class CheckState:
    """What was met before in the sources of one check: trained rows, sound pictures by name and by content."""

    rows: SeenHashes = field(default_factory=SeenHashes)
    images: SeenHashes = field(default_factory=SeenHashes)
    pictures: SeenHashes = field(default_factory=SeenHashes)
    count: int = 0  # rows of all sources so far
    looked: int = 0  # distinct pictures so far
