"""ms-swift's boxes: `<ref-object>` and `<bbox>` in the texts stand for the entries of `objects`."""

import re
from collections.abc import Iterator

from llm.formats.conversation import Message, MessagePart
from llm.records.record import Record
from llm.records.unread_fields import is_blank

_SLOT = re.compile(r"<ref-object>|<bbox>")


def with_objects(record: Record, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with the names and boxes of `objects` in place of their slots.

    A box is written as fractions of width and height, `[0.1, 0.2, 0.3, 0.4]`, since images are resized. Raises
    RecordError for boxes in pixels, and unless there are as many entries as slots.
    """
    if is_blank(record.row.get("objects")) or not any(_SLOT.search(message.text) for message in messages):
        return messages
    objects = record.part("objects", record.take("objects"))
    slots = [slot for message in messages for slot in _SLOT.findall(message.text)]
    refs, boxes = _entries(objects, "ref"), [_box(objects, box) for box in _entries(objects, "bbox")]
    for name, slot, count in (("ref", "<ref-object>", len(refs)), ("bbox", "<bbox>", len(boxes))):
        if slots.count(slot) != count:
            found = f"{count} entries for {slots.count(slot)} {slot} in the texts"
            raise objects.error(name, found, "Give one entry for each", "objects")
    fills = {"<ref-object>": iter(map(str, refs)), "<bbox>": iter(boxes)}
    return tuple(Message(one.role, tuple(_filled(one, fills)), one.loss) for one in messages)


def _filled(message: Message, fills: dict[str, Iterator[str]]) -> Iterator[MessagePart]:
    for part in message.parts:
        yield _SLOT.sub(lambda slot: next(fills[slot[0]]), part) if isinstance(part, str) else part


def _entries(objects: Record, name: str) -> list[object]:
    value = objects.take(name)
    if is_blank(value):
        return []
    if not isinstance(value, list):
        raise objects.error(name, "is not a list", "Write a list with one entry for each slot", "objects")
    return value


def _box(objects: Record, box: object) -> str:
    if not isinstance(box, list) or len(box) not in (2, 4) or not all(isinstance(edge, int | float) for edge in box):
        raise objects.error("bbox", f"{box!r} is not 2 or 4 numbers", "Write [x1, y1, x2, y2]", "objects")
    if objects.optional("bbox_type") != "norm1":
        advice = 'Divide by width and height, and write "bbox_type": "norm1"'
        raise objects.error("bbox", f"{box} is in pixels, and images are resized", advice, "objects")
    return f"[{', '.join(format(edge, '.4g') for edge in box)}]"
