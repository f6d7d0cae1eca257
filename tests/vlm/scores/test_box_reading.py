"""Boxes in answers, in the forms that models write."""

import time

import pytest

from vlm.scores.box_reading import NamedBox, read_boxes
from vlm.scores.box_styles import LONGEST, MOST_BOXES, BoxStyle, seen_by

SIZE = (200, 100)
CAT = (20.0, 10.0, 100.0, 60.0)


@pytest.mark.parametrize(
    "answer",
    [
        "the cat [0.1, 0.1, 0.5, 0.6]",
        "- the cat: [.1,.1,.5,.6].",
        "There it is.\nthe cat: [0.10, 0.10, 0.50, 0.60]",
        "<ref>the cat</ref><box>(100,100),(500,600)</box>",
        "<ref>the cat</ref><box>[[100, 100, 500, 600]]</box>",
        "<|object_ref_start|>the cat<|object_ref_end|><|box_start|>(100,100),(500,600)<|box_end|>",
        "the cat(100,100),(500,600)",  # the same where special tokens are left out
        '```json\n[{"bbox_2d": [20, 10, 100, 60], "label": "the cat"}]\n```',
        '[{"label": "the cat", "bbox_2d": [20, 10, 100, 60]}]',
    ],
)
def test_each_form_with_its_name(answer: str) -> None:
    [found] = read_boxes(answer, SIZE)
    assert found.label == "the cat" and found.box == pytest.approx(CAT)


@pytest.mark.parametrize(
    ("style", "answer"),
    [
        ("thousand", "the cat [100, 100, 500, 600]"),
        ("thousand", '{"bbox_2d": [100, 100, 500, 600], "label": "the cat"}'),
        ("pixels", "the cat: [20, 10, 100, 60]"),
        ("qwen2.5", '[{"bbox_2d": [19.6, 11.2, 98, 67.2], "label": "the cat"}]'),
        ("xtuner", "the cat {<10><10><50><60>}"),
        ("paligemma", "the cat <loc0102><loc0102><loc0614><loc0512>"),
        ("llava", "the cat [0.1, 0.1, 0.5, 0.6]"),
    ],
)
def test_a_model_is_read_in_its_style(style: BoxStyle, answer: str) -> None:
    """Also a list of whole numbers, which is no box of a model of unknown style; the numbers of others are none."""
    [found] = read_boxes(answer, SIZE, style, seen_by(style, SIZE))
    assert found.label == "the cat" and found.box == pytest.approx(CAT, abs=0.2)
    others = [other for other in ("llava", "xtuner", "paligemma") if other != style]
    assert all(read_boxes(answer, SIZE, other) == [] for other in others)


def test_several_boxes() -> None:
    named = "<ref>cats</ref><box>(0,0),(100,100)</box><box>(500,0),(600,100)</box> and "
    named += "<ref>a dog</ref><box>(0,500),(99,999)</box>"
    assert [one.label for one in read_boxes(named, SIZE)] == ["cats", "cats", "a dog"]
    assert [one.label for one in read_boxes("猫：[0.1,0.1,0.5,0.6]，狗：[0.5,0.5,0.9,0.9]", SIZE)] == ["猫", "狗"]
    many = " ".join(["[0.1, 0.1, 0.5, 0.6]"] * 80)
    assert len(read_boxes(many, SIZE)) == MOST_BOXES


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "The list is [1, 2, 3, 4].",
        "[0, 0, 1, 1]",
        "(1, 2) and (3, 4)",
        "[0.5, 0.5, 0.1, 0.1]",  # its edges are the wrong way round
        "[0.1, 0.2, 0.3]",
        '{"bbox_2d": [1, 2, "x", 4]}',
        '{"bbox_2d": [1, 2, 3',
        "<box>(1200,100),(1500,600)</box>",
        '{"bbox_2d": [900, 10, 950, 60], "label": "outside"}',
    ],
)
def test_what_is_no_box(answer: str) -> None:
    assert read_boxes(answer, SIZE) == []


def test_a_box_ends_at_the_edge_of_the_image() -> None:
    assert read_boxes('{"bbox_2d": [150, 50, 260, 130]}', SIZE) == [NamedBox("", (150.0, 50.0, 200.0, 100.0))]


@pytest.mark.parametrize("piece", ["[", "(1,", "<ref>", "{", '{"bbox_2d"', "1", "[0.1,"])
def test_a_long_answer_takes_no_time(piece: str) -> None:
    began = time.monotonic()
    read_boxes(piece * LONGEST, SIZE)
    assert time.monotonic() - began < 5
