"""The rules of a check, and what it remembers from record to record."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from data_tools.check.box_checks import BoxRules
from data_tools.check.report import KEPT
from data_tools.check.seen_hashes import SeenHashes
from llm.formats.conversation import Conversation
from llm.rows.raw_row import RawRow
from vlm.vision.images import DEFAULT_LIMITS, ImageLimits

CheckEncoding = Callable[[Conversation], object]
"""Encodes a record. Raises RecordError or TemplateError where training would."""

FetchImages = Callable[[RawRow, str], RawRow]
"""(record, image folder) -> the record with files in place of URLs. Raises RecordError."""


@dataclass(frozen=True, slots=True)
class CheckRules:
    """What is checked beyond the rules that hold for every record.

    Args:
        images: Whether images are decoded, only their headers read, or not opened at all.
        limits: The largest image that is accepted.
        keep: How many findings of every code the report holds.
        tokens: The tokenizer's own special tokens, which are reported when typed as text.
        encode: The encoding of a run; without it lengths are not checked.
        fetch: Downloads images given as URLs; without it they are errors.
        repair: Whether records are changed as `data_tools.check.repair` does, for `--fix`.
        leaks: Whether images of training and validation are compared by content as well as by name.
        boxes: How the model writes boxes; without it only boxes in pixels are reported.
        answers: What a run learns of preferences: the chosen answer alone, pairs, or labelled answers; any: pairs where
            the rows have them.
        margin: The field with the margin of each pair; empty for none.
    """

    images: Literal["decode", "header", "off"] = "decode"
    limits: ImageLimits = DEFAULT_LIMITS
    keep: int = KEPT
    tokens: tuple[str, ...] = ()
    encode: CheckEncoding | None = None
    fetch: FetchImages | None = None
    repair: bool = False
    leaks: bool = False
    boxes: BoxRules | None = None
    answers: Literal["any", "chosen", "pairs", "labels"] = "any"
    margin: str = ""


@dataclass(slots=True)
class CheckState:
    """What the sources of one check held so far: training records, and sound images by name and by content."""

    conversations: SeenHashes = field(default_factory=SeenHashes)
    image_names: SeenHashes = field(default_factory=SeenHashes)
    image_contents: SeenHashes = field(default_factory=SeenHashes)
    records: int = 0  # in the sources that are finished
    images: int = 0  # distinct ones that were checked
    videos: int = 0
