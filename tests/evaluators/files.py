"""The benchmark files that all evaluation programs read: made here, or parts of an emoji world.

FOLDER/mmlu/dev/SUBJECT_dev.csv, mmlu/test/SUBJECT_test.csv   MMLU's, five answered questions a subject
FOLDER/pope_random.jsonl, images/                             POPE's lines
FOLDER/mmbench.tsv                                            MMBench's table with circular passes
FOLDER/evalscope/                                             the last two in evalscope's own forms
"""

import base64
import csv
import json
import random
from io import BytesIO
from itertools import islice
from pathlib import Path
from shutil import copyfile
from typing import Any

from PIL import Image

from tests.evaluators.tasks.prompts import letters_prompt, yes_no_prompt

SUBJECTS = ("addition", "alphabet")
SHOTS, LETTERS = 5, "ABCD"
CIRCLE = 1_000_000  # between the indices of two circular passes of a question
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "gray": (128, 128, 128)}
POPE, MMBENCH = "pope_random.jsonl", "mmbench.tsv"
Row = dict[str, Any]


def make_files(folder: Path, world: Path | None, questions: int) -> None:
    """Write every file, with about `questions` rows in each; images from `world`, its test folder, or plain colours."""
    random_numbers = random.Random(26)
    for subject in SUBJECTS:
        rows = [_examination_row(subject, random_numbers) for _ in range(SHOTS + (questions + 1) // 2)]
        _write_csv(folder / "mmlu" / "dev" / f"{subject}_dev.csv", rows[:SHOTS])
        _write_csv(folder / "mmlu" / "test" / f"{subject}_test.csv", rows[SHOTS:])
    (folder / "images").mkdir()
    if world is None:
        pope, mmbench = _coloured(folder / "images", questions)
    else:
        pope, mmbench = _of_world(world, folder / "images", questions)
    _write_lines(folder / POPE, pope)
    with (folder / MMBENCH).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(mmbench[0]), delimiter="\t")
        table.writeheader()
        table.writerows(mmbench)
    _write_evalscope(folder, pope, mmbench)


def _examination_row(subject: str, random_numbers: random.Random) -> list[str]:
    """Question, four options, letter."""
    if subject == "addition":
        first, second = random_numbers.randint(2, 9), random_numbers.randint(2, 9)
        question, right = f"What is {first} + {second}?", str(first + second)
        wrong = [str(one) for one in range(4, 19) if str(one) != right]
    else:
        place = random_numbers.randint(0, 20)
        question, right = f"Which letter follows {chr(ord('a') + place)} in the alphabet?", chr(ord("b") + place)
        wrong = [chr(one) for one in range(ord("a"), ord("z")) if chr(one) != right]
    options = [right, *random_numbers.sample(wrong, 3)]
    random_numbers.shuffle(options)
    return [question, *options, LETTERS[options.index(right)]]


def _coloured(images: Path, questions: int) -> tuple[list[Row], list[Row]]:
    """POPE's lines and MMBench's rows about images of one colour, which vary a little."""
    random_numbers, names = random.Random(27), list(COLOURS)
    pope: list[Row] = []
    mmbench: list[Row] = []
    for number in range(questions):
        colour = names[number % 4]
        pixel = [min(255, max(0, one + random_numbers.randint(-15, 15))) for one in COLOURS[colour]]
        Image.new("RGB", (32, 32), tuple(pixel)).save(images / f"{number}.png")
        asked = colour if number // 4 % 2 else names[(number + 1) % 4]
        label = "yes" if asked == colour else "no"
        pope.append({"question_id": number, "image": f"images/{number}.png"})
        pope[-1] |= {"text": f"Is there {asked} in the image?", "label": label}
        if number % 4 == 0:
            group = number // 4
            shown = names[group % 4]
            mmbench += _circle(group, shown, names, _base64(COLOURS[shown], group))
    return pope, mmbench


def _circle(group: int, right: str, names: list[str], image: str) -> list[Row]:
    """The four circular passes of one question; all but the first refer to its image."""
    return [
        {"index": group + turn * CIRCLE, "question": "What colour is it?", "hint": "Look." if group % 2 else ""}
        | dict(zip(LETTERS, names[turn:] + names[:turn], strict=True))
        | {"answer": LETTERS[(names[turn:] + names[:turn]).index(right)], "category": "colour", "l2-category": "colour"}
        | {"split": "dev", "image": str(group) if turn else image}
        for turn in range(4)
    ]  # fmt: skip


def _base64(colour: tuple[int, int, int], shade: int) -> str:
    stream = BytesIO()
    Image.new("RGB", (32, 32), (*colour[:2], min(255, colour[2] + shade % 16))).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _of_world(world: Path, images: Path, questions: int) -> tuple[list[Row], list[Row]]:
    """The first questions of an emoji world's English POPE and MMBench files, circular passes together."""
    with (world / "pope_random.en.jsonl").open(encoding="utf-8") as file:
        pope: list[Row] = [json.loads(line) for line in islice(file, questions)]
    for row in pope:
        name = Path(row["image"]).name
        copyfile(world / row["image"], images / name)
        row["image"] = f"images/{name}"
    csv.field_size_limit(2**24)
    with (world / "mmbench.en.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    passes = max(1, sum(int(row["index"]) % CIRCLE == int(rows[0]["index"]) % CIRCLE for row in rows))
    groups = list(dict.fromkeys(int(row["index"]) % CIRCLE for row in rows))[: max(1, questions // passes)]
    return pope, [row for row in rows if int(row["index"]) % CIRCLE in set(groups)]


def _write_evalscope(folder: Path, pope: list[Row], mmbench: list[Row]) -> None:
    """general_vqa has messages and an answer, general_vmcq a question with the place of its image, and options."""
    (folder / "evalscope").mkdir()
    asked: list[Row] = []
    for row in pope:
        url = {"type": "image_url", "image_url": {"url": str(folder / row["image"])}}
        message = {"role": "user", "content": [url, {"type": "text", "text": yes_no_prompt(row)}]}
        asked.append({"messages": [message], "answer": row["label"]})
    _write_lines(folder / "evalscope" / "pope_test.jsonl", asked)
    shown = {str(row["index"]): row["image"] for row in mmbench}
    _write_lines(
        folder / "evalscope" / "mmbench_val.jsonl",
        [
            {
                "question": f"<image 1>{letters_prompt(row)}",
                "options": [row[letter] for letter in LETTERS if row.get(letter)],
                "image_1": f"data:image/png;base64,{shown.get(row['image'], row['image'])}",
                "answer": row["answer"],
            }
            for row in mmbench
        ],
    )


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _write_lines(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
