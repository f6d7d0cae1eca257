"""Small files of every form of benchmark, as their authors publish them."""

import base64
import csv
import json
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def image_bytes(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    """A PNG of one colour."""
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def in_base64(colour: str) -> str:
    """The same as text."""
    return base64.b64encode(image_bytes(colour)).decode()


def save_images(folder: Path, *names: str) -> None:
    """Images of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image_bytes())


def save_table(path: Path, rows: list[dict[str, object]], delimiter: str = "\t") -> Path:
    """A table with a header."""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), "utf-8")
    return path


def save_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def save_json(path: Path, value: object) -> Path:
    """One JSON value."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
    return path


def mmbench(folder: Path) -> Path:
    """Two questions in two circular passes each; the second pass refers to the first one's image."""
    return save_table(folder / "mmbench_dev.tsv", mmbench_rows())


def mmbench_rows() -> list[dict[str, object]]:
    """The rows of it."""
    texts = [("What colour?", ["red", "blue", "green"], "red"), ("图中有几只猫？", ["一只", "两只"], "two")]
    rows: list[dict[str, object]] = []
    for number, (text, options, _) in enumerate(texts, 1):
        for turn in range(2):
            turned = options[turn:] + options[:turn]
            image = in_base64(["red", "blue"][number - 1]) if not turn else str(number)
            cells = {letter: turned[at] if at < len(turned) else "" for at, letter in enumerate("ABCD")}
            right = "ABCD"[turned.index(options[0])]
            rows.append(
                {"index": number + turn * 1_000_000, "question": text, "hint": "Look." if number == 1 else ""}
                | cells
                | {
                    "answer": right,
                    "category": f"c{number}",
                    "l2-category": f"l{number}",
                    "split": "dev",
                    "image": image,
                }
            )
    return rows


def pope(folder: Path) -> Path:
    """Two lines."""
    save_images(folder, "a.jpg")
    rows = [
        {"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"},
        {"question_id": 2, "image": "a.jpg", "text": "Is there a cat in the image?", "label": "no"},
    ]
    return save_lines(folder / "coco_pope_random.json", rows)


def vqa(folder: Path) -> Path:
    """Questions, with the annotations beside them."""
    save_images(folder, "COCO_val2014_000000000042.jpg")
    questions = [{"image_id": 42, "question": f"What is {n}?", "question_id": 42000 + n} for n in range(2)]
    head = {"info": {"version": "2.0"}, "task_type": "Open-Ended", "data_subtype": "val2014"}
    answers = [{"answer": "red", "answer_confidence": "yes", "answer_id": n} for n in range(10)]
    annotations = [
        {"question_id": one["question_id"], "image_id": 42, "answer_type": "other", "answers": answers}
        for one in reversed(questions)
    ]
    save_json(folder / "v2_mscoco_val2014_annotations.json", head | {"annotations": annotations})
    return save_json(folder / "v2_OpenEnded_mscoco_val2014_questions.json", head | {"questions": questions})


def textvqa(folder: Path) -> Path:
    """TextVQA_0.5.1_val.json."""
    save_images(folder, "ab12.jpg")
    rows = [
        {"question": "What brand?", "image_id": "ab12", "question_id": 7, "answers": ["nokia"] * 10, "set_name": "val"}
    ]
    return save_json(folder / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": rows})


def vizwiz(folder: Path) -> Path:
    """A list of rows."""
    save_images(folder, "VizWiz_val_0.jpg", "VizWiz_val_1.jpg")
    answers = [{"answer": "unanswerable", "answer_confidence": "no"}] * 10
    rows = [
        {"image": f"VizWiz_val_{n}.jpg", "question": "What is it?", "answers": answers, "answerable": 0}
        for n in range(2)
    ]
    return save_json(folder / "val.json", rows)


def gqa(folder: Path) -> Path:
    """An object of questions by their ids."""
    save_images(folder, "n1.jpg")
    rows = {
        f"2011{n}": {"question": "Is it red?", "answer": "yes", "imageId": "n1", "types": {"structural": "verify"}}
        for n in range(2)
    }
    return save_json(folder / "testdev_balanced_questions.json", rows)


def chartqa(folder: Path) -> Path:
    """test_human.json."""
    save_images(folder, "png/c.png")
    return save_json(folder / "test_human.json", [{"imgname": "c.png", "query": "How many?", "label": "14"}] * 2)


def docvqa(folder: Path) -> Path:
    """val_v1.0.json."""
    save_images(folder, "documents/d.png")
    row = {"questionId": 9, "question": "Which date?", "image": "documents/d.png", "docId": 1, "answers": ["1/8/93"]}
    return save_json(folder / "val_v1.0.json", {"dataset_name": "docvqa", "data": [row, row | {"questionId": 10}]})


def mme_folder(folder: Path) -> Path:
    """Two categories in both of the layouts."""
    save_images(folder, "MME/count/images/1.jpg", "MME/color/2.png")
    (folder / "MME/count/questions_answers_YN").mkdir()
    (folder / "MME/count/questions_answers_YN/1.txt").write_text("Is there one?\tYes\nAre there two?\tNo\n")
    (folder / "MME/color/2.txt").write_text("Is it red?\tYes\nIs it blue?\tNo")
    return folder / "MME"


def mme_table(folder: Path) -> Path:
    """VLMEvalKit's table."""
    rows: list[dict[str, object]] = [
        {"index": n, "image": in_base64("red"), "image_path": "count/1.jpg", "question": f"Is it {n}?",
         "answer": ["Yes", "No"][n], "category": "count"}
        for n in range(2)
    ]  # fmt: skip
    return save_table(folder / "MME.tsv", rows)


def refcoco(folder: Path) -> Path:
    """Qwen-VL's JSON lines: corners in pixels."""
    save_images(folder, "r.jpg")
    rows: list[dict[str, object]] = [
        {"image": "r.jpg", "sent": "left man", "bbox": [20.0, 10.0, 40.0, 30.0], "height": 30, "width": 40},
        {"image": "r.jpg", "sent": "right man", "bbox": [1.0, 2.0, 11.0, 12.0], "height": 30, "width": 40},
    ]
    return save_lines(folder / "refcoco_testA.jsonl", rows)


def coco_captions(folder: Path) -> Path:
    """captions_val2014.json."""
    save_images(folder, "a.jpg", "b.jpg")
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    annotations = [{"image_id": n % 2 + 1, "id": n, "caption": f"A red dog number {n}."} for n in range(4)]
    return save_json(folder / "captions_val2014.json", {"info": {}, "images": images, "annotations": annotations})


def own_captions(folder: Path) -> Path:
    """One's own JSON lines."""
    save_images(folder, "a.jpg", "b.jpg")
    rows: list[dict[str, object]] = [
        {"image": "a.jpg", "references": ["a red dog", "the dog"]}, {"image": "b.jpg", "references": ["一只红色的狗"]}
    ]  # fmt: skip
    return save_lines(folder / "captions.jsonl", rows)


def mmlu(folder: Path) -> Path:
    """MMLU's folders: csv without header."""
    for split, count in (("dev", 6), ("test", 3)):
        (folder / "data" / split).mkdir(parents=True)
        for subject in ("anatomy", "law"):
            lines = [f'"{split} {subject} {n}, what?",one,two,three,four,{"ABCD"[n % 4]}' for n in range(count)]
            (folder / "data" / split / f"{subject}_{split}.csv").write_text("\n".join(lines) + "\n")
    return folder / "data"


def ceval(folder: Path) -> Path:
    """C-Eval's folders: csv with a header; test has no answers."""
    for split in ("dev", "val", "test"):
        (folder / "ceval" / split).mkdir(parents=True)
        row: dict[str, object] = {"id": 0, "question": "下列哪一项？", "A": "甲", "B": "乙", "C": "丙", "D": "丁"}
        row |= {} if split == "test" else {"answer": "B"}
        save_table(folder / "ceval" / split / f"law_{split}.csv", [row], ",")
    return folder / "ceval"


def cmmlu(folder: Path) -> Path:
    """CMMLU's file: csv with a header and numbers of rows."""
    for split in ("dev", "test"):
        (folder / "cmmlu" / split).mkdir(parents=True)
        row: dict[str, object] = {
            "": 0,
            "Question": "下列哪一项？",
            "A": "甲",
            "B": "乙",
            "C": "丙",
            "D": "丁",
            "Answer": "C",
        }
        save_table(folder / "cmmlu" / split / "anatomy.csv", [row], ",")
    return folder / "cmmlu" / "test" / "anatomy.csv"


def mmlu_parquet(folder: Path) -> Path:
    """The hub's MMLU."""
    (folder / "all").mkdir()
    for split in ("dev", "test"):
        rows = [
            {"question": f"{split} {n}?", "subject": "law", "choices": ["p", "q", "r", "s"], "answer": n}
            for n in range(3)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "all" / f"{split}-00000-of-00001.parquet")
    return folder / "all" / "test-00000-of-00001.parquet"


def science_qa(folder: Path) -> Path:
    """problems.json and pid_splits.json."""
    save_images(folder, "test/2/image.png")
    row = {"question": "Which one?", "choices": ["p", "q"], "answer": 1, "hint": "", "image": None,
           "subject": "physics", "lecture": "", "split": "test"}  # fmt: skip
    problems = {"1": row | {"split": "train"}, "2": row | {"image": "image.png", "hint": "See."}, "3": row}
    save_json(folder / "pid_splits.json", {"train": ["1"], "test": ["2", "3"]})
    return save_json(folder / "problems.json", problems)


def hub_pope(folder: Path) -> Path:
    """The hub's table of POPE: numbers of questions repeat for each kind."""
    rows = [
        {
            "question_id": "1",
            "question": "Is there a dog?",
            "answer": "yes",
            "image": {"bytes": image_bytes()},
            "category": kind,
        }
        for kind in ("random", "popular")
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "pope.parquet")
    return folder / "pope.parquet"


def hub_mme(folder: Path) -> Path:
    """The hub's table of MME: both questions of a pair have the same question_id."""
    rows = [
        {"question_id": "count/1.png", "question": f"Is it {n}?", "answer": ["Yes", "No"][n],
         "image": {"bytes": image_bytes()}, "category": "count"}
        for n in range(2)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "mme.parquet")
    return folder / "mme.parquet"


def hub_mmbench(folder: Path) -> Path:
    """The hub's table of MMBench: pandas' nan for what is empty."""
    row = {"index": 3, "question": "Which?", "hint": "nan", "A": "p", "B": "q", "C": "nan", "D": "nan", "answer": "B",
           "L2-category": "x", "image": {"bytes": image_bytes(), "path": None}}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), folder / "mmbench.parquet")
    return folder / "mmbench.parquet"


def hub_ai2d(folder: Path) -> Path:
    """The hub's table of AI2D: the place of the answer as text."""
    row = {"question": "Which?", "options": ["p", "q", "1"], "answer": "0", "image": {"bytes": image_bytes()}}
    pq.write_table(pa.Table.from_pylist([row, row]), folder / "ai2d.parquet")
    return folder / "ai2d.parquet"


def hub_chartqa(folder: Path) -> Path:
    """The hub's table of ChartQA."""
    row = {"image": {"bytes": image_bytes()}, "query": "How many?", "label": ["14"], "human_or_machine": 0}
    pq.write_table(pa.Table.from_pylist([row]), folder / "chartqa.parquet")
    return folder / "chartqa.parquet"


def textcaps(folder: Path) -> Path:
    """TextCaps_0.1_val.json: a row for each caption."""
    save_images(folder, "ab.jpg", "cd.jpg")
    rows = [
        {
            "image_id": name,
            "caption_str": f"a red dog {n}",
            "caption_id": n,
            "reference_strs": ["a red dog 0", "a red dog 1"],
        }
        for name in ("ab", "cd")
        for n in range(2)
    ]
    return save_json(folder / "TextCaps_0.1_val.json", {"dataset_name": "textcaps", "data": rows})


def karpathy(folder: Path) -> Path:
    """dataset_flickr30k.json."""
    save_images(folder, "a.jpg")
    sentences = [{"raw": "A red dog."}, {"raw": "The dog."}]
    row = {"filename": "a.jpg", "imgid": 0, "sentences": sentences, "split": "test"}
    return save_json(folder / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": [row]})


def own_conversations(folder: Path) -> Path:
    """LLaVA's format, with two turns."""
    save_images(folder, "a.jpg")
    turns = [
        {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A dog"},
        {"from": "human", "value": "Which colour?"}, {"from": "gpt", "value": "red"},
    ]  # fmt: skip
    return save_json(folder / "mine.json", [{"id": "x", "image": "a.jpg", "conversations": turns}])


WRITERS: dict[str, tuple[Callable[[Path], Path], str, int]] = {
    "mmbench": (mmbench, "letters", 4),
    "pope": (pope, "pope", 2),
    "vqa": (vqa, "vqa", 2),
    "textvqa": (textvqa, "textvqa", 1),
    "vizwiz": (vizwiz, "vizwiz", 2),
    "gqa": (gqa, "gqa", 2),
    "chartqa": (chartqa, "chartqa", 2),
    "docvqa": (docvqa, "docvqa", 2),
    "mme_folder": (mme_folder, "mme", 4),
    "mme_table": (mme_table, "mme", 2),
    "refcoco": (refcoco, "refcoco", 2),
    "coco_captions": (coco_captions, "captions", 2),
    "own_captions": (own_captions, "captions", 2),
    "mmlu": (mmlu, "mmlu", 6),
    "ceval": (ceval, "mmlu", 1),
    "cmmlu": (cmmlu, "mmlu", 1),
    "mmlu_parquet": (mmlu_parquet, "mmlu", 3),
    "science_qa": (science_qa, "letters", 2),
    "hub_pope": (hub_pope, "pope", 2),
    "hub_mme": (hub_mme, "mme", 2),
    "hub_mmbench": (hub_mmbench, "letters", 1),
    "hub_ai2d": (hub_ai2d, "letters", 2),
    "hub_chartqa": (hub_chartqa, "chartqa", 1),
    "textcaps": (textcaps, "captions", 2),
    "karpathy": (karpathy, "captions", 1),
    "own_conversations": (own_conversations, "exact", 2),
}
"""Name -> (writer, form, questions)."""
