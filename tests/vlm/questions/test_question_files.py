"""Every form of benchmark file is found by its content and read; damaged and ambiguous ones are refused in words."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llm.errors import ConfigError, DataError, EyegraftError, RecordError
from tests.vlm.questions import benchmark_files as files
from tests.vlm.questions.benchmark_files import WRITERS
from vlm.questions.forms import FORMS
from vlm.questions.question import Question
from vlm.questions.question_files import FORM_NAMES, read_questions
from vlm.scores.boxes import BoxConvention
from vlm.vision.images import check_header


def read(path: Path, **options: object) -> list[Question]:
    """The questions of one file of one form."""
    [found] = read_questions([path], **options)
    return list(found.questions)


@pytest.mark.parametrize("name", WRITERS)
def test_the_form_is_found_and_every_question_is_read(name: str, tmp_path: Path) -> None:
    write, form, count = WRITERS[name]
    [found] = read_questions([write(tmp_path)])
    assert (found.form, len(found.questions), found.lost) == (form, count, ())
    assert len({one.id for one in found.questions}) == count
    assert all(one.form == form and not one.is_hidden for one in found.questions)
    for image in (image for one in found.questions for image in one.images):
        assert check_header(image) == (40, 30)


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("mme_folder", "mmlu", "ceval")])
def test_a_named_form_reads_the_same(name: str, tmp_path: Path) -> None:
    write, form, _ = WRITERS[name]
    path = write(tmp_path)
    assert read(path, form=form) == read(path)


def test_every_form_is_tested_and_known() -> None:
    assert {form for _, form, _ in WRITERS.values()} == set(FORM_NAMES) == set(FORMS)


def test_mmbench(tmp_path: Path) -> None:
    first, turned, other, _ = read(files.mmbench(tmp_path))
    assert (first.id, turned.id, first.hint, first.category, first.split) == ("1", "1000001", "Look.", "l1", "dev")
    assert first.group == turned.group != other.group
    assert first.images == turned.images != other.images  # by the index of the row that holds it
    assert dict(first.options) == {"A": "red", "B": "blue", "C": "green"} and dict(other.options).keys() == {"A", "B"}
    assert (first.answers, turned.answers) == (("A",), ("C",))


def test_hidden_answers(tmp_path: Path) -> None:
    rows = [{name: cell for name, cell in row.items() if name != "answer"} for row in files.mmbench_rows()]
    assert all(one.is_hidden for one in read(files.save_table(tmp_path / "test.tsv", rows)))


def test_questions_of_another_text_are_no_circular_pass(tmp_path: Path) -> None:
    rows = files.mmbench_rows()[:2]
    rows[1]["question"] = "Another?"
    assert len({one.group for one in read(files.save_table(tmp_path / "a.tsv", rows))}) == 2


def test_vqa_joins_answers_by_id(tmp_path: Path) -> None:
    path = files.vqa(tmp_path)
    questions = read(path)
    assert questions[0].answers == ("red",) * 10 and questions[0].category == "other"
    assert questions[0].images[0].path.endswith("COCO_val2014_000000000042.jpg")
    annotations = tmp_path / "v2_mscoco_val2014_annotations.json"
    moved = annotations.rename(tmp_path / "elsewhere.json")
    assert read(path)[0].is_hidden and "answers are hidden" in read_questions([path])[0].notes[0]
    [found] = read_questions([moved, path])
    assert list(found.questions) == questions
    value = json.loads(moved.read_text())
    files.save_json(moved, value | {"annotations": value["annotations"][:1]})
    with pytest.raises(RecordError, match="questions 1.*answers: is not a text or a list of texts"):
        read_questions([path, moved])


def test_pope_of_three_kinds_is_one_set(tmp_path: Path) -> None:
    first = files.pope(tmp_path)
    second = Path(shutil.copy(first, tmp_path / "coco_pope_popular.json"))
    [found] = read_questions([first, second])
    assert [one.category for one in found.questions] == ["random", "random", "popular", "popular"]
    assert found.questions[0].group == found.questions[1].group


def test_mme_pairs(tmp_path: Path) -> None:
    for path in (files.mme_folder(tmp_path), files.mme_table(tmp_path)):
        questions = read(path)
        assert all(
            len({one.answers for one in questions if one.group == group}) == 2 for group in {q.group for q in questions}
        )
        assert all(len(one.images) == 1 for one in questions)


def test_lines_of_mme_without_answer_or_image_are_lost(tmp_path: Path) -> None:
    folder = files.mme_folder(tmp_path)
    (folder / "color/2.txt").write_text("Is it red?\tYes\n\nIs it blue?\n")
    (folder / "color/3.txt").write_text("Is it green?\tNo\n")
    [found] = read_questions([folder], on_bad_row="skip")
    assert len(found.questions) == 3
    assert [str(one).partition("color/")[2].partition(". ")[0] for one in found.lost] == [
        "2.txt:3: line: has no tab before an answer", "3.txt:1: image: there is none named 3",
    ]  # fmt: skip
    with pytest.raises(RecordError, match="2 of 5 rows cannot be read"):
        read_questions([folder])


def test_mmlu_shots_are_of_the_subject(tmp_path: Path) -> None:
    questions = read(files.mmlu(tmp_path))
    assert [one.category for one in questions] == ["anatomy"] * 3 + ["law"] * 3
    shots = questions[3].shots
    assert [one.text for one in shots] == [f"dev law {n}, what?" for n in range(5)] and shots[1].answers == ("B",)
    assert len(read(files.mmlu_parquet(tmp_path))[0].shots) == 3


def test_ceval_asks_what_has_answers_and_cmmlu_its_file(tmp_path: Path) -> None:
    [one] = read(files.ceval(tmp_path))
    assert "val" in one.place.file and one.answers == ("B",) and len(one.shots) == 1
    [other] = read(files.cmmlu(tmp_path))
    assert (other.category, other.answers, len(other.shots)) == ("anatomy", ("C",), 1)


def test_science_qa_asks_its_test_split(tmp_path: Path) -> None:
    first, second = read(files.science_qa(tmp_path))
    assert (first.id, first.answers, first.hint, len(first.images), second.images) == ("2", ("B",), "See.", 1, ())
    assert [one.id for one in read(tmp_path / "problems.json", split="train")] == ["1"]
    with pytest.raises(DataError, match="has no list val"):
        read(tmp_path / "problems.json", split="val")


def test_one_record_with_a_list_of_images_is_a_record(tmp_path: Path) -> None:
    files.save_images(tmp_path, "a.jpg")
    turns = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "A dog"}]
    path = files.save_json(tmp_path / "one.json", {"images": ["a.jpg"], "messages": turns})
    [found] = read_questions([path])
    assert (found.form, found.questions[0].answers) == ("exact", ("A dog",))


def test_a_broken_item_of_a_list_is_lost_alone(tmp_path: Path) -> None:
    path = files.docvqa(tmp_path)
    path.write_text(path.read_text().replace('"questionId": 9,', '"questionId" 9,'), "utf-8")
    [found] = read_questions([path], on_bad_row="skip")
    assert [one.id for one in found.questions] == ["10"] and "Expecting ':' delimiter" in str(found.lost[0])


def test_tables_of_the_hub(tmp_path: Path) -> None:
    [bench] = read(files.hub_mmbench(tmp_path))
    assert (bench.hint, dict(bench.options), bench.answers, bench.category) == ("", {"A": "p", "B": "q"}, ("B",), "x")
    assert read(files.hub_ai2d(tmp_path))[0].answers == ("A",)
    first, second = read(files.hub_mme(tmp_path))
    assert first.group == second.group and first.id != second.id
    assert [one.category for one in read(files.hub_pope(tmp_path))] == ["random", "popular"]
    assert read(files.hub_chartqa(tmp_path))[0].category == "human"
    assert read(files.karpathy(tmp_path), split="test")[0].answers == ("A red dog.", "The dog.")


def test_own_turns(tmp_path: Path) -> None:
    first, second = read(files.own_conversations(tmp_path))
    assert (first.answers, second.answers, second.text) == (("A dog",), ("red",), "Which colour?")
    assert len(second.asked) == 3 and second.images == first.images


@pytest.mark.parametrize(
    ("bbox", "named", "box"),
    [
        ([[20, 10, 40, 30]], None, (20, 10, 40, 30)),
        ([[20, 10, 15, 18]], None, (20, 10, 35, 28)),  # no corners
        ([[1, 2, 11, 12]], "size", (1, 2, 12, 14)),
        ([[1, 2, 11, 12]], "corners", (1, 2, 11, 12)),
        ([[0.5, 0.5, 0.75, 0.75]], None, (20, 15, 30, 22.5)),
    ],
)
def test_boxes_by_their_convention(
    bbox: list[list[float]], named: str | None, box: tuple[float, ...], tmp_path: Path
) -> None:
    files.save_images(tmp_path, "r.jpg")
    rows: list[dict[str, object]] = [
        {"image": "r.jpg", "sent": "man", "bbox": one, "height": 30, "width": 40} for one in bbox
    ]
    path = files.save_lines(tmp_path / "refcoco.jsonl", rows)
    convention = BoxConvention("pixels", named) if named else None
    assert read(path, truth_boxes=convention)[0].box == box


@pytest.mark.parametrize(("bbox", "found"), [([1, 2, 11, 12], "fit both"), ([30, 20, 20, 20], "fit neither")])
def test_boxes_of_unclear_convention_are_refused(bbox: list[float], found: str, tmp_path: Path) -> None:
    files.save_images(tmp_path, "r.jpg")
    path = files.save_lines(
        tmp_path / "r.jsonl", [{"image": "r.jpg", "sent": "man", "bbox": bbox, "height": 30, "width": 40}]
    )
    with pytest.raises(ConfigError, match=found):
        read(path)


Change = Callable[[list[dict[str, object]]], None]


def _damaged_rows(change: Change) -> list[dict[str, object]]:
    rows = files.mmbench_rows()
    change(rows)
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1].update(answer="E"), "mmbench.tsv:3: answer: 'E' is none of the options A, B, C"),
        (lambda rows: rows[0].update(B=""), "mmbench.tsv:2: A: options A, C, with a gap"),
        (lambda rows: rows[0].update(question=""), "mmbench.tsv:2: question: is missing"),
        (lambda rows: rows[1].update(image="77"), "mmbench.tsv:3: image: refers to the image of row 77"),
        (lambda rows: rows[1].update(index=1), "mmbench.tsv:3: id: 1 is given twice"),
        (lambda rows: rows[2].update(B="", C=""), "options: 1 options"),
    ],
)
def test_a_damaged_row_is_an_error_or_counted(change: Change, message: str, tmp_path: Path) -> None:
    path = files.save_table(tmp_path / "mmbench.tsv", _damaged_rows(change))
    with pytest.raises(RecordError, match=message):
        read(path)
    [found] = read_questions([path], on_bad_row="skip")
    assert len(found.questions) == 3 and message.partition(": ")[2].partition(":")[0] in str(found.lost[0])


def test_all_bad_rows_are_counted(tmp_path: Path) -> None:
    def change(rows: list[dict[str, object]]) -> None:
        rows[1].update(answer="E")
        rows[2].update(answer="F")

    path = files.save_table(tmp_path / "mmbench.tsv", _damaged_rows(change))
    with pytest.raises(RecordError, match="2 of 4 rows cannot be read"):
        read(path)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        read_questions([tmp_path / "absent.tsv"])
    with pytest.raises(ConfigError, match="form quiz is unknown"):
        read_questions([tmp_path], form="quiz")
    with pytest.raises(DataError, match="neither MME's categories nor dev and test files"):
        read_questions([tmp_path])
    nothing = files.save_lines(tmp_path / "x.jsonl", [{"colour": "red", "size": 3}])
    with pytest.raises(DataError, match="rows of no known benchmark or format"):
        read_questions([nothing])
    mixed = files.save_lines(
        tmp_path / "y.jsonl",
        [{"image": "a.jpg", "text": "Is it?", "label": "yes"}, {"image": "a.jpg", "caption": "a dog"}],
    )
    with pytest.raises(DataError, match="2 rows of which only some have the fields of pope or captions"):
        read_questions([mixed])
    empty = tmp_path / "z.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match="has no rows"):
        read_questions([empty])
    with pytest.raises(DataError, match="no question is of split test. There are: dev"):
        read_questions([files.mmbench(tmp_path)], split="test")
    (tmp_path / "v").mkdir()
    files.vqa(tmp_path / "v")
    with pytest.raises(DataError, match="no questions. Name the questions' file too"):
        read_questions([tmp_path / "v" / "v2_mscoco_val2014_annotations.json"])


FOLDERS = ("mme_folder", "mmlu", "ceval")
TEXT_FILES = [name for name in WRITERS if name not in (*FOLDERS, "mmlu_parquet") and not name.startswith("hub_")]


@pytest.mark.parametrize("name", TEXT_FILES)
def test_any_damage_gives_questions_or_a_coded_error(name: str, tmp_path: Path) -> None:
    """Files cut anywhere, with lines shuffled, bytes changed, and values of another type."""
    path = WRITERS[name][0](tmp_path)
    original = path.read_bytes()
    generator = random.Random(name)
    outcomes = set()
    for number in range(24):
        path.write_bytes(_damaged(original, number, generator))
        for on_bad_row in ("stop", "skip"):
            try:
                found = read_questions([path], on_bad_row=on_bad_row)
                assert all(one.questions for one in found)
                outcomes.add("read")
            except EyegraftError as error:
                assert str(path.name) in str(error) and ". " in str(error), error
                outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize(
    ("name", "file"), [("mmlu", "test/law_test.csv"), ("mmlu_parquet", ""), ("mme_folder", "color/2.txt")]
)
def test_damage_of_one_file_of_several_is_seen_too(name: str, file: str, tmp_path: Path) -> None:
    path = WRITERS[name][0](tmp_path)
    inner = path / file if file else path
    original = inner.read_bytes()
    generator = random.Random(name)
    for number in range(24):
        inner.write_bytes(_damaged(original, number, generator))
        try:
            read_questions([path], on_bad_row="skip")
        except EyegraftError as error:
            assert ". " in str(error)


def _damaged(data: bytes, number: int, generator: random.Random) -> bytes:
    kind = number % 4
    if kind == 0:
        return data[: generator.randrange(len(data))]
    if kind == 1:
        lines = data.split(b"\n")
        generator.shuffle(lines)
        return b"\n".join(lines)
    if kind == 2:
        at = generator.randrange(len(data))
        return data[:at] + bytes([generator.randrange(256)]) + data[at + 1 :]
    old, new = generator.choice(
        [(b'"', b""), (b": ", b": 3, "), (b"\t", b"\t\t"), (b"[", b"{"), (b"a", b"\xff"), (b",", b";")]
    )
    return data.replace(old, new, generator.randrange(1, 4))


@pytest.mark.parametrize("name", TEXT_FILES)
def test_a_value_of_another_type_gives_questions_or_a_coded_error(name: str, tmp_path: Path) -> None:
    path = WRITERS[name][0](tmp_path)
    if path.suffix in (".tsv", ".csv"):
        return  # all of their values are texts
    text = path.read_text("utf-8")
    lines = path.suffix == ".jsonl" or "\n{" in text.strip()
    rows = [json.loads(line) for line in text.splitlines()] if lines else [json.loads(text)]
    values: tuple[object, ...] = (None, 3, -1.5, True, "", [], {}, ["x", 1], {"a": {}}, "\ud83d")
    for wrong in values:
        for place in _places(rows):
            changed = json.loads(json.dumps(rows))
            holder = changed
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = wrong
            path.write_text("\n".join(json.dumps(row) for row in changed), "utf-8")
            try:
                read_questions([path], on_bad_row="skip")
            except EyegraftError as error:
                assert ". " in str(error)


def _places(value: object, before: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The places of all values inside a value, those of the first two items of a list."""
    if isinstance(value, dict):
        found = [(*before, key) for key in value]
        return found + [place for key, one in value.items() for place in _places(one, (*before, key))]
    if isinstance(value, list):
        found = [(*before, at) for at in range(min(2, len(value)))]
        return found + [place for at, one in enumerate(value[:2]) for place in _places(one, (*before, at))]
    return []
