"""The default limits, and the bounds of JSON: below, at and above each of them."""

from dataclasses import asdict, replace

import pytest

from demo.server.json_bounds import excess
from demo.server.limits import DEFAULT, IMAGE, SHORTEST_TOKEN, JsonBounds, Limits, public_limits
from vlm.vision.images import DEFAULT_LIMITS, ImageLimits

SMALL = JsonBounds(items=3, depth=2, structure=12, quotes=4)
QUOTES, STRUCTURE = "more than 4 quotation marks", "more than 12 bytes outside its strings"
ITEMS, DEPTH = "more than 3 values", "lists and objects nested more than 2 deep"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", ""),
        (b"3", ""),
        # Quotation marks, those inside strings included.
        (b'["ab"]', ""),
        (b'["a","b"]', ""),
        (rb'["a","\""]', QUOTES),
        (b'["a","b","c"]', QUOTES),
        (b'"' * 4, ""),
        (b'"' * 5, QUOTES),
        # Bytes outside strings: below, at, above; and a long string, which does not count.
        (b"[         1", ""),
        (b"[          1", ""),
        (b"[           1", STRUCTURE),
        (b'[       "a"       ]'.replace(b"  ", b" "), ""),
        (b'["' + b" [[[,,," * 99 + b'"]', ""),
        (b'"a"' + b" " * 12, ""),
        (b'"a"' + b" " * 13, STRUCTURE),
        (b" " * 12 + b'"a"', ""),
        (b" " * 13 + b'"a"', STRUCTURE),
        # Values: each comma, list and object counts as one.
        (b"[1,2]", ""),
        (b"[1,2,3]", ""),
        (b"[1,2,3,4]", ITEMS),
        (b"1,2,3,4", ""),
        (b"1,2,3,4,5", ITEMS),
        (b"[][][]", ""),
        (b"[][][][]", ITEMS),
        (b"{}{}{}", ""),
        (b"{}{}{}{}", ITEMS),
        (b"{}[],", ""),
        (b"{}[],,", ITEMS),
        (b'{"a":1}', ""),
        # Nesting of lists and objects; a closing bracket without an opening one lowers it.
        (b"[1]", ""),
        (b"[[1]]", ""),
        (b"[[[1]]]", DEPTH),
        (b"{[{", DEPTH),
        (b"[]{}[]", ""),
        (b"[[", ""),
        (b"[[[", DEPTH),
        (b"][[[", ""),
        (b"}[[[", ""),
    ],
)
def test_each_bound_at_its_edge(body: bytes, found: str) -> None:
    assert excess(body, SMALL) == found


def test_the_first_exceeded_bound_is_reported() -> None:
    assert excess(b'"""""' + b"[" * 20, SMALL) == QUOTES
    assert excess(b"[" * 13, SMALL) == STRUCTURE
    assert excess(b"[[[[", SMALL) == ITEMS


def test_default_bounds_are_reported_with_thousands_separators() -> None:
    bounds = JsonBounds()
    assert excess(b'"' * 250_001, bounds) == "more than 250,000 quotation marks"
    assert excess(b" " * 500_001, bounds) == "more than 500,000 bytes outside its strings"
    assert excess(b"," * 20_001, bounds) == "more than 20,000 values"
    assert excess(b"[" * 25, bounds) == "lists and objects nested more than 24 deep"
    for within in (b'"' * 250_000, b" " * 500_000, b"," * 20_000, b"[" * 24):
        assert excess(within, bounds) == ""


def test_the_default_limits() -> None:
    """Written out by hand, so that a change of a default is noticed."""
    assert asdict(JsonBounds()) == {"items": 20_000, "depth": 24, "structure": 500_000, "quotes": 250_000}
    formats = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
    assert ImageLimits(64_000_000, 10_485_760, 200, formats) == IMAGE
    assert replace(IMAGE, max_bytes=DEFAULT_LIMITS.max_bytes) == DEFAULT_LIMITS, "the verdict of training"
    assert SHORTEST_TOKEN == 16
    assert asdict(DEFAULT) == {
        "images": 4,
        "image": asdict(IMAGE),
        "videos": 1,
        "video": {"max_seconds": 600.0, "max_frames": 36_000, "max_bytes": 33_554_432, "max_pixels": 9_437_184},
        "text": 100_000,
        "messages": 200,
        "parts": 64,
        "stop_words": 16,
        "body": 67_108_864,
        "event": 2_097_152,
        "json": asdict(JsonBounds()),
        "waiting": 24,
        "together": 8,
        "events": 1024,
        "new_tokens": 4096,
        "model_memory": 0,
        "head_seconds": 15.0,
        "body_seconds": 120.0,
        "send_seconds": 60.0,
        "uploads": 4_294_967_296,
        "unread": 200,
        "sessions": 256,
        "share_waiting": 0,
        "share_events": 0,
        "share_uploads": 0,
        "share_sessions": 0,
        "share_connections": 0,
    }
    assert Limits() == DEFAULT


def test_four_images_of_maximum_size_fit_in_a_request() -> None:
    """base64 encodes three bytes in four characters."""
    assert DEFAULT.images * (DEFAULT.image.max_bytes * 4 // 3 + 4) < DEFAULT.body


def test_public_limits_set_the_shares_and_nothing_else() -> None:
    shares = {
        "share_waiting": 8,
        "share_events": 32,
        "share_uploads": 268_435_456,
        "share_sessions": 16,
        "share_connections": 64,
    }
    assert asdict(public_limits()) == asdict(DEFAULT) | shares
    assert public_limits(replace(DEFAULT, text=7)).text == 7


@pytest.mark.parametrize(("waiting", "share"), [(0, 1), (1, 1), (3, 1), (5, 1), (6, 2), (8, 2), (9, 3)])
def test_a_visitors_share_is_a_third_of_the_queue_and_at_least_one(waiting: int, share: int) -> None:
    shared = public_limits(Limits(waiting=waiting, sessions=32, events=640))
    assert (shared.share_waiting, shared.share_events, shared.share_sessions) == (share, 20, 2)
