"""COCO, VQAv2, RefCOCO and easy-VQA, as hand-written tables in the published form."""

import json
from pathlib import Path

import pytest

from data_tools.convert.coco import POINT
from data_tools.convert.convert import ConvertOptions, ConvertReport, convert
from data_tools.convert.readers import detect_tables
from llm.config.schema import Source
from llm.errors import ConfigError, DataError, EyegraftError, RecordError
from llm.formats.conversation import ImageRef, Message
from llm.formats.readers import read
from tests.llm.rows import ONE, TURNS, Json, bot, user

PICTURES: list[Json] = [
    {"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "width": 200, "height": 100},
    {"id": 25, "file_name": "sub/25.jpg", "width": 640, "height": 480},
]
FILES = (*(str(one["file_name"]) for one in PICTURES), "COCO_train2014_000000458752.jpg")
CAPTIONS: Json = {
    "info": {"year": 2017, "annotations": "not this"},
    "images": PICTURES,
    "licenses": [{"id": 1}],
    "annotations": [
        {"image_id": 25, "id": 503, "caption": "A giraffe.\n"},
        {"image_id": 9, "id": 661, "caption": "一盘菜"},
        {"image_id": 25, "id": 504, "caption": "Two giraffes"},
    ],
}
INSTANCES: Json = {
    "annotations": [
        {"id": 1, "image_id": 9, "bbox": [50, 25, 100.0, 50], "category_id": 3},
        {"id": 2, "image_id": 25, "bbox": [0, 0, 641, 240], "category_id": 3},
    ],
    "images": PICTURES,
}
REFS: list[Json] = [
    {"ref_id": 7, "ann_id": 1, "image_id": 9, "split": "train", "file_name": "COCO_train2014_000000000009_1.jpg"},
    {"ref_id": 8, "ann_id": 2, "image_id": 25, "split": "testA", "sentences": [{"sent": "left giraffe"}]},
]
REFS[0]["sentences"] = [{"sent": "the plate", "raw": "The plate!"}, {"sent": "盘子"}]
QUESTIONS: Json = {
    "info": {},
    "data_subtype": "train2014",
    "questions": [
        {"image_id": 458752, "question": "What is this?", "question_id": 458752000},
        {"image_id": 9, "question": "Is it food?", "question_id": 9001},
        {"image_id": 458752, "question": "什么颜色？", "question_id": 458752001},
    ],
}
ANSWERS: Json = {
    "annotations": [
        {"question_id": number, "image_id": 0, "multiple_choice_answer": answer, "answers": [{"answer": "other"}]}
        for number, answer in ((9001, "yes"), (458752001, "绿色"), (458752000, "net"), (1, "of another question"))
    ]
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tables, and a folder `pictures` with the files that they name, which are empty: they are not opened."""
    tables = {"captions": CAPTIONS, "instances": INSTANCES, "refs": REFS, "questions": QUESTIONS, "answers": ANSWERS}
    for name, value in tables.items():
        write(tmp_path / f"{name}.json", value)
    for name in FILES:
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def run(folder: Path, name: str, annotations: str = "", **more: str) -> ConvertReport:
    given = {"images": str(folder / "pictures")} | more
    second = folder / annotations if annotations else None
    return convert(
        ConvertOptions(Source.model_validate({"path": str(folder / name)} | given), folder / "o.jsonl", "llava", second)
    )


def found(folder: Path) -> list[tuple[str, tuple[Message, ...]]]:
    return [(one.place.id, one.messages) for one in read(Source(path=str(folder / "o.jsonl")), Path())]


def picture(folder: Path, name: str) -> ImageRef:
    return ImageRef(str(folder / "pictures" / name))


def test_one_record_per_caption(folder: Path) -> None:
    report = run(folder, "captions.json")
    assert report.lines() == [
        f"{folder / 'captions.json'}: read as coco (by its tables)",
        f"{folder / 'o.jsonl'}: 3 records as llava",
    ]
    plate, giraffe = picture(folder, "COCO_train2014_000000000009.jpg"), picture(folder, "sub/25.jpg")
    assert found(folder) == [
        ("503", (user(giraffe), bot("A giraffe."))),
        ("661", (user(plate), bot("一盘菜"))),
        ("504", (user(giraffe), bot("Two giraffes"))),
    ]


def test_vqav2_joins_questions_and_answers_by_image(folder: Path) -> None:
    report = run(folder, "questions.json", "answers.json")
    assert (report.format, report.written) == ("vqav2", 2)
    net, plate = (picture(folder, f"COCO_train2014_{name}.jpg") for name in ("000000458752", "000000000009"))
    assert found(folder) == [
        ("458752", (user(net, "What is this?"), bot("net"), user("什么颜色？"), bot("绿色"))),
        ("9", (user(plate, "Is it food?"), bot("yes"))),
    ]


def test_refcoco_describes_boxes_of_one_split(folder: Path) -> None:
    assert run(folder, "refs.json", "instances.json").written == 1
    box = bot("[0.25, 0.25, 0.75, 0.75]")
    asked = [POINT.format(text) for text in ("the plate", "盘子")]
    plate = picture(folder, "COCO_train2014_000000000009.jpg")
    assert found(folder) == [("7", (user(plate, asked[0]), box, user(asked[1]), box))]
    run(folder, "refs.json", "instances.json", split="testA")
    ((name, (_, answer)),) = found(folder)
    assert (name, answer) == ("8", bot("[0.00, 0.00, 1.00, 0.50]"))  # a box is clipped to the image
    with pytest.raises(DataError, match="no ref of split val. Choose --split of train, testA"):
        run(folder, "refs.json", "instances.json", split="val")


def test_easy_vqa_folders(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    rows = [["is it red?", "no", 3], ["什么形状？", "circle", 3], ["is it blue?", "yes", 1]]
    write(tmp_path / "train" / "questions.json", rows)
    source = Source(path=str(tmp_path / "train"))
    assert convert(ConvertOptions(source, tmp_path / "o.jsonl", "llava")).format == "easy_vqa"
    records = found(tmp_path)
    blue = ImageRef(str(tmp_path / "train" / "images" / "1.png"))
    assert records[0] == ("1", (user(blue, "is it blue?"), bot("yes")))
    assert records[1][0] == "3" and {one.text for one in records[1][1]} == {"is it red?", "no", "什么形状？", "circle"}
    write(tmp_path / "train" / "questions.json", [*rows, ["is it?", "yes"]])
    with pytest.raises(RecordError, match=r"questions.json:\d+: record: is not \[question, answer, image\]"):
        convert(ConvertOptions(source, tmp_path / "o.jsonl", "llava"))


def test_tables_are_recognised(folder: Path) -> None:
    names = {"captions": "coco", "questions": "vqav2", "refs": "refcoco", "instances": "", "answers": ""}
    assert {name: detect_tables(folder / f"{name}.json") for name in names} == names
    rows = [{"id": "1", "images": ["a.png"], "questions": [{"q": 1}], "conversations": TURNS}]
    for text in (json.dumps(rows), json.dumps(rows[0]) + "\n" + json.dumps(rows[0]), "[1", "{", "", "\ufeff[]", "5"):
        (folder / "x.json").write_text(text, encoding="utf-8")
        assert detect_tables(folder / "x.json") == ""
    assert detect_tables(folder) == detect_tables(folder / "gone.json") == ""


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("captions", {"annotations": [{"image_id": 5, "id": 1, "caption": "x"}]}, "image_id: 5 is not in the table"),
        (
            "captions",
            {"annotations": [{"image_id": 9, "id": 1, "caption": " "}]},
            r"captions.json:\d+ \(record 1\).*empty",
        ),
        ("captions", {"annotations": [{"image_id": 9, "caption": "x"}]}, "id: is missing"),
        (
            "captions",
            {"annotations": [{"image_id": True, "id": 1, "caption": "x"}]},
            "image_id: is true or false, not an",
        ),
        ("captions", {"annotations": [5]}, "record: is a number, not an object"),
        ("captions", {"annotations": []}, "the list annotations is missing or empty"),
        ("captions", {"images": [{"id": 9}]}, "file_name: is missing"),
        (
            "captions",
            {"images": [{"id": n, "file_name": "../a.jpg"} for n in (9, 25)]},
            "is outside the image folder",
        ),
        ("questions", {"data_subtype": None}, "data_subtype: is missing"),
        ("questions", {"questions": [{"image_id": 9, "question": "Q", "question_id": 5}]}, "5 has no annotation"),
        (
            "questions",
            {"questions": [{"image_id": "a", "question": "Q", "question_id": 9001}]},
            "is text, not a number",
        ),
        ("answers", {"annotations": [{"question_id": 9001}]}, "multiple_choice_answer: is missing"),
        ("instances", {"annotations": [{"id": 2}]}, "ann_id: 1 is not in the instances"),
        ("instances", {"annotations": [{"id": 1, "bbox": [1, 2, 3]}]}, r"bbox: is not \[x, y, width, height\]"),
        ("instances", {"annotations": [{"id": 1, "bbox": [1, 2, 3, "4"]}]}, "bbox: is text, not a number"),
        ("instances", {"images": [{"id": 9, "file_name": "a", "width": 0, "height": 5}]}, "must be above 0"),
    ],
)
def test_damaged_tables(folder: Path, name: str, change: Json, message: str) -> None:
    whole = {"captions": CAPTIONS, "questions": QUESTIONS, "answers": ANSWERS, "instances": INSTANCES}[name]
    write(folder / f"{name}.json", whole | change)
    first, second = {"captions": ("captions", ""), "instances": ("refs", "instances.json")}.get(
        name, ("questions", "answers.json")
    )
    form = {"captions": "coco", "refs": "refcoco", "questions": "vqav2"}[first]
    with pytest.raises(DataError, match=message):
        run(folder, f"{first}.json", second, format=form)
    assert not (folder / "o.jsonl").exists()


def test_annotations_and_pickles(folder: Path) -> None:
    cases = {"questions.json": "vqav2 needs the answers. Add --annotations", "refs.json": "refcoco needs the boxes"}
    for name, message in cases.items():
        with pytest.raises(ConfigError, match=message):
            run(folder, name)
    (folder / "refs(unc).p").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="a pickle. Pickles can run code and are never loaded. Write the list"):
        run(folder, "refs(unc).p", "instances.json", format="refcoco")
    with pytest.raises(EyegraftError, match="no such file"):
        run(folder, "questions.json", "gone.json")
    with pytest.raises(ConfigError, match="is the input"):
        given = Source(path=str(folder / "questions.json"))
        convert(ConvertOptions(given, folder / "answers.json", "llava", folder / "answers.json"))


def test_one_record_with_many_images_is_no_table(folder: Path) -> None:
    row = {"images": [], "questions": [{"q": 1}], "conversations": TURNS}
    (folder / "x.json").write_text(json.dumps(row))
    run(folder, "x.json")
    assert found(folder) == [("", ONE)]
