"""easy-VQA's questions as records, captions and single questions."""

import json
from pathlib import Path

import pytest
from PIL import Image

from data_tools.quickstart.easy_vqa import (
    Facts,
    QuestionRow,
    build_easy_vqa,
    captions,
    facts_of,
    single_questions,
    turns_by_image,
)
from llm.errors import AssetError

ROWS = [
    ["what is the blue shape?", "rectangle", 0],
    ["is there a red shape?", "no", 0],
    ["is there a black shape?", "no", 0],
    ["does the image contain a rectangle?", "yes", 0],
    ["is there not a teal shape?", "yes", 0],
    ["is a gray shape present?", "no", 1],
    ["what color is the circle?", "teal", 2],
]
QUESTIONS = [QuestionRow(*row) for row in ROWS]  # rows are (str, str, int)


@pytest.mark.parametrize(
    ("text", "answer", "facts"),
    [
        ("what color is the shape?", "red", Facts("red", "")),
        ("what shape is in the image?", "circle", Facts("", "circle")),
        ("what is the color of the triangle?", "teal", Facts("teal", "triangle")),
        ("what is the gray shape?", "circle", Facts("gray", "circle")),
        ("is there a red shape in the image?", "yes", Facts("red", "")),
        ("is there a red shape in the image?", "no", Facts()),
        ("does the image contain a circle?", "yes", Facts("", "circle")),
        ("is no circle present?", "no", Facts("", "circle")),
        ("is no circle present?", "yes", Facts()),
        ("does the image not contain a brown shape?", "no", Facts("brown", "")),
        ("is there not a brown shape?", "yes", Facts()),
    ],
)
def test_facts_of_a_question(text: str, answer: str, facts: Facts) -> None:
    assert facts_of([QuestionRow(text, answer, 0)]) == facts


def test_facts_of_one_image_must_agree() -> None:
    agreeing = [QuestionRow("is there a red shape?", "yes", 3), QuestionRow("what is the red shape?", "circle", 3)]
    assert facts_of(agreeing) == Facts("red", "circle")
    with pytest.raises(AssetError, match="image 3 is both blue and red"):
        facts_of([*agreeing, QuestionRow("what color is the shape?", "blue", 3)])


def test_captions_use_the_known_facts() -> None:
    assert [Facts(*pair).caption for pair in (("red", "circle"), ("red", ""), ("", "circle"), ("", ""))] == [
        "a red circle",
        "a red shape",
        "a circle",
        "",
    ]
    made = list(captions(QUESTIONS))
    assert [record["id"] for record in made] == ["train-0-caption", "train-2-caption"]  # nothing is known of image 1
    assert made[0] == {
        "id": "train-0-caption",
        "image": "train/images/0.png",
        "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a blue rectangle"}],
    }


def test_one_record_an_image_with_every_question_shuffled_by_seed() -> None:
    made = list(turns_by_image(QUESTIONS, 0))
    assert [record["id"] for record in made] == ["train-0", "train-1", "train-2"]
    turns = made[0]["conversations"]
    assert isinstance(turns, list)
    assert [turn["from"] for turn in turns] == ["human", "gpt"] * 5
    assert [turn["value"].startswith("<image>\n") for turn in turns] == [True] + [False] * 9
    asked = [(q["value"].removeprefix("<image>\n"), a["value"]) for q, a in zip(turns[::2], turns[1::2], strict=True)]
    published = [(text, answer) for text, answer, image in ROWS if image == 0]
    assert sorted(asked) == sorted(published)
    assert asked != published
    assert list(turns_by_image(QUESTIONS, 0)) == made
    assert list(turns_by_image(QUESTIONS, 1)) != made
    assert next(turns_by_image(QUESTIONS[:5], 0)) == made[0]  # the order does not depend on other records


def test_each_image_has_its_own_order() -> None:
    same = [QuestionRow(f"is there a {colour} shape?", "no", image) for image in (0, 1) for colour in "abcdefgh"]
    first, second = (str(record["conversations"]) for record in turns_by_image(same, 0))
    assert first != second
    assert sorted(first) == sorted(second)


def test_single_questions_carry_their_type() -> None:
    made = list(single_questions("test", QUESTIONS, {"open", "yes_no"}))
    assert len(made) == len(ROWS)
    assert made[1] == {
        "id": "test-0-1-yes_no",
        "image": "test/images/0.png",
        "conversations": [
            {"from": "human", "value": "<image>\nis there a red shape?"},
            {"from": "gpt", "value": "no"},
        ],
        "type": "yes_no",
    }
    assert [record["id"] for record in single_questions("train", QUESTIONS, {"open"})] == [
        "train-0-0-open",
        "train-2-0-open",
    ]


def test_the_folder_made_from_an_unpacked_wheel(tmp_path: Path) -> None:
    data, target = tmp_path / "wheel" / "easy_vqa" / "data", tmp_path / "made"
    for split in ("train", "test"):
        (data / split / "images").mkdir(parents=True)
        (data / split / "images" / ".DS_Store").write_bytes(b"junk")
        (data / split / "questions.json").write_text(json.dumps(ROWS))
        for number in range(3):
            Image.new("RGB", (64, 64), (number, 0, 0)).save(data / split / "images" / f"{number}.png")
    build_easy_vqa(tmp_path / "wheel", target)
    counts = {"train.json": 3, "captions.json": 2, "open_questions.json": 2, "test_questions.json": 7}
    for name, count in counts.items():
        text = (target / name).read_text(encoding="utf-8")
        assert len(json.loads(text)) == count == text.count("\n") - 2  # one record a line between the brackets
        for record in json.loads(text):
            assert (target / record["image"]).is_file()
            assert record["image"].startswith("test/" if name.startswith("test") else "train/")
    image = Path("test/images/2.png")
    assert (target / image).read_bytes() == (data / image).read_bytes()
    assert not list(target.rglob(".DS_Store"))


def test_a_wheel_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"no questions\.json"):
        build_easy_vqa(tmp_path, tmp_path / "made")
