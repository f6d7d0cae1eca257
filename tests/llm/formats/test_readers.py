"""Every format becomes the conversation its makers meant, `auto` finds it, and a bad row is refused with its place."""

import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants
from PIL import Image

from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place, RecordError
from llm.formats.conversation import ImageRef, Message
from llm.formats.readers import READERS, SEEN, detect, read, source_format
from llm.rows import hub
from tests.llm.rows import ONE, TURNS, Json, bot, messages, refusal, source, system, user

MOSS: Json = {
    "meta_instruction": "You are MOSS.\n",
    "num_turns": 2,
    "chat": {
        "turn_2": {
            "Human": "<|Human|>: Thanks<eoh>\n",
            "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
            "Commands": "<|Commands|>: None<eoc>\n",
            "Tool Responses": "<|Results|>:\nNone\n<eor>\n",
            "MOSS": "<|MOSS|>: None<eom>\n",
        },
        "turn_1": {
            "Human": "<|Human|>: 2+3?<eoh>\n",
            "Inner Thoughts": "<|Inner Thoughts|>: A sum.<eot>\n",
            "Commands": '<|Commands|>: Calculate("2+3")<eoc>\n',
            "Tool Responses": '<|Results|>:\nCalculate("2+3") => 5\n<eor>\n',
            "MOSS": "<|MOSS|>: It is 5 <|1|>.<eom>\n",
        },
    },
}

# format: (a row of it, what it means, whether auto finds it)
FORMATS: dict[str, tuple[Json, tuple[Message, ...], bool]] = {
    "xtuner": (
        {"conversation": [{"system": "S", "input": "Q", "output": "A"}, {"input": "Q2", "output": "A2"}]},
        (system("S"), user("Q"), bot("A"), user("Q2"), bot("A2")),
        True,
    ),
    "text": ({"text": " Once\n", "meta": 1}, (bot(" Once\n"),), True),
    "openai": (
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "Q"},
                {"role": "assistant", "content": "A", "loss": False},
                {"role": "user", "content": "Q2"},
                {"role": "assistant", "content": "A2", "loss": True},
            ]
        },
        (system("S"), user("Q"), bot("A", False), user("Q2"), bot("A2")),
        True,
    ),
    "llava": ({"id": "7", "conversations": TURNS}, ONE, True),
    "sharegpt": ({"conversations": [*TURNS, {"from": "human", "value": "left"}]}, ONE, False),
    "wizardlm": ({"idx": "1", "conversations": [{"from": "gpt", "value": "?"}, *TURNS]}, ONE, False),
    "alpaca": ({"instruction": "I", "input": "Q", "output": "A", "text": "all"}, (user("I\nQ"), bot("A")), True),
    "medical": ({"instruction": "I", "input": "", "output": "A"}, (user("I"), bot("A")), False),
    "alpaca_zh": ({"instruction_zh": "说", "input_zh": None, "output_zh": "好"}, (user("说"), bot("好")), True),
    "oasst1": (
        {"text": "### Human: Q## 2### Assistant: A\n```# x```### Human: Q2 ### Assistant: A2### Human: left"},
        (user("Q## 2"), bot("A\n```# x```"), user("Q2"), bot("A2")),
        True,
    ),
    "openorca": (
        {"id": "f.1", "system_prompt": "S", "question": "Q", "response": "A"},
        (system("S"), user("Q"), bot("A")),
        True,
    ),
    "code_alpaca": ({"prompt": "Q", "completion": "A"}, ONE, True),
    "dolly": (
        {"instruction": "I", "context": "C", "response": "A", "category": "closed_qa"},
        (user("C\nI"), bot("A")),
        True,
    ),
    "gemini": (
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "S"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Q"}, {"text": "1"}]},
                {"role": "model", "parts": [{"text": "A"}]},
                {"parts": [{"text": "Q2"}]},
                {"role": "model", "parts": [{"text": "A2"}]},
            ],
        },
        (system("S"), user("Q1"), bot("A"), user("Q2"), bot("A2")),
        True,
    ),
    "sql": ({"question": "Q", "context": "CREATE", "answer": "A"}, (user("CREATE\nQ"), bot("A")), True),
    "law": ({"reference": ["R"], "question": "Q", "answer": "A"}, ONE, True),
    "colors": ({"color": "#00f", "description": "Blue: as: sky"}, (user("as: sky"), bot("#00f")), True),
    "arxiv": ({"id": "1", "abstract": "Q", "title": "A"}, ONE, True),
    "stack_exchange": ({"qid": 1, "question": "Q", "response": "A"}, ONE, True),
    "query": ({"query": "Q", "response": "A", "history": [["P", "B"]]}, (user("P"), bot("B"), *ONE), True),
    "qa": (
        {"index": 0, "hint": "H", "question": "Q", "A": "x", "B": "y", "C": "", "answer": "A"},
        (user("H\nQ\nA. x\nB. y"), bot("A")),
        True,
    ),
    "swift": (
        {"system": "S", "conversation": [{"human": "Q", "assistant": "A"}, {"human": "Q2", "assistant": "A2"}]},
        (system("S"), *ONE, user("Q2"), bot("A2")),
        True,
    ),
    "tiny_codes": ({"prompt": "Q", "response": "A", "topic": "x"}, ONE, True),
    "moss": (
        MOSS,
        (
            system("You are MOSS."),
            user("2+3?"),
            bot('A sum.\n<tool_call>\nCalculate("2+3")\n</tool_call>'),
            user('<tool_response>\nCalculate("2+3") => 5\n</tool_response>'),
            bot("It is 5 <|1|>."),
            user("Thanks"),
            bot("None"),
        ),
        True,
    ),
    "cauldron": (
        {
            "images": [],
            "texts": [{"user": "<image>?", "assistant": "A"}, {"user": "Q2", "assistant": "A2", "source": "x"}],
        },
        (user("<image>?"), bot("A"), user("Q2"), bot("A2")),
        True,
    ),
    "preference": ({"prompt": "Q", "chosen": "A", "rejected": "B"}, ONE, True),
}


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_published_data_sets(tmp_path: Path, name: str) -> None:
    row, meaning, _ = FORMATS[name]
    assert messages(tmp_path, row, row, format=name) == [meaning, meaning]


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name][2]])
def test_auto_finds_the_format_and_its_reason(tmp_path: Path, name: str) -> None:
    row, meaning, _ = FORMATS[name]
    found, reason = source_format(source(tmp_path, row, row), tmp_path)
    assert (found, reason) == (name, f"the first 2 rows have {READERS[name].shape}")
    assert messages(tmp_path, row) == [meaning]


def test_the_examples_cover_every_reader() -> None:
    assert set(READERS) - set(FORMATS) == {"columns", "imagefolder"}  # test_tables and test_image_rows


def test_second_releases_of_law_and_wizardlm(tmp_path: Path) -> None:
    assert messages(tmp_path, {"input": "Q", "output": "A"}, format="law") == [ONE]
    assert messages(tmp_path, {"instruction": "Q", "output": "A"}, format="wizardlm") == [ONE]


def test_auto_takes_the_format_that_all_rows_fit(tmp_path: Path) -> None:
    rows = [{"text": "### Human: Q### Assistant: A"}, {"text": "plain"}]
    assert source_format(source(tmp_path, *rows), tmp_path)[0] == "text"
    assert source_format(source(tmp_path, rows[0]), tmp_path) == (
        "oasst1",
        "the only row has " + READERS["oasst1"].shape,
    )


def test_auto_raises_at_the_first_row_of_another_format(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="rows before it are llava") as caught:
        source_format(source(tmp_path, {"conversations": TURNS}, {"instruction": "Q", "output": "A"}), tmp_path)
    assert caught.value.place.line == 2


def test_auto_reports_unknown_keys(tmp_path: Path) -> None:
    assert "no known format has the keys frage, antwort" in refusal(tmp_path, {"frage": "Q", "antwort": "A"})
    assert "record: is a number, not an object" in refusal(tmp_path, 1)


def test_auto_reads_the_first_rows_only(tmp_path: Path) -> None:
    taken = 0

    def endless() -> Iterator[tuple[Place, object]]:
        nonlocal taken
        while True:
            taken += 1
            yield Place("a"), {"text": "x"}

    assert detect(endless()) == ("text", f"the first {SEEN} rows have text")
    assert taken == SEEN
    late = source(tmp_path, *[{"text": "x"}] * SEEN)
    with (tmp_path / late.path).open("a") as file:
        file.write("broken\n")
    assert source_format(late, tmp_path)[0] == "text"
    with pytest.raises(RecordError, match="JSON: broken at line 101 column 1") as caught:
        list(read(late, tmp_path))
    assert caught.value.place.line == SEEN + 1


def test_a_named_format_is_not_detected(tmp_path: Path) -> None:
    assert source_format(source(tmp_path, {}, format="sql"), tmp_path) == ("sql", "format is given in the recipe")
    with pytest.raises(ConfigError, match=r"format: sqll is unknown\. Known are auto, preference"):
        source_format(source(tmp_path, {}, format="sqll"), tmp_path)
    row: Json = {"question": "Q", "answer": "A"}
    assert "context: is missing. The source is read as sql" in refusal(tmp_path, row, format="sql")


@pytest.mark.parametrize("form", ["auto", "text"])
def test_a_source_without_rows_is_an_error(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl: no record to train on"):
        messages(tmp_path, format=form)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"conversations": [{"from": "human", "value": "Q"}]}, "answers: there is none"),
        ({"conversations": [{"from": "alien", "value": "Q"}]}, r"conversations\[0\].from: 'alien' is not a role"),
        ({"conversations": [TURNS[1]]}, "question: there is none"),
        ({"conversations": [*TURNS, TURNS[0]]}, "message 3: a question without an answer"),
        ({"conversations": [*TURNS, "and"]}, r"conversations\[2\]: is text, not an object"),
        ({"conversations": [*TURNS, {"from": "human", "value": None}]}, r"conversations\[2\].value: is missing"),
        ({"instruction": "Q", "output": ""}, r"message 2 \(assistant\): is empty"),
        ({"text": " "}, "is empty"),
        ({"conversation": [{"input": "Q", "output": "A"}, {"input": "", "output": "A"}]}, "message 3 .* is empty"),
        ({"conversation": [{"input": "Q", "output": "A"}, {"system": "S", "input": "Q", "output": "A"}]}, "differs"),
    ],
)
def test_invalid_rows_raise_with_the_field(tmp_path: Path, row: Json, message: str) -> None:
    assert re.search(message, refusal(tmp_path, row))


def test_empty_system_and_input_is_plain_text(tmp_path: Path) -> None:
    rows = [{"conversation": [{"system": "", "input": "", "output": "text"}]}, {"input": "", "output": "text"}]
    for row in rows:
        (conversation,) = read(source(tmp_path, row), tmp_path)
        assert conversation.is_plain and conversation.messages == (bot("text"),)


def test_xtuner_loss_flag_and_repeated_system(tmp_path: Path) -> None:
    turns = [
        {"system": "S", "input": "Q", "output": "A", "output_with_loss": False},
        {"system": "S", "input": "Q", "output": "B"},
    ]
    assert messages(tmp_path, {"conversation": turns}) == [
        (system("S"), user("Q"), bot("A", False), user("Q"), bot("B"))
    ]


def test_role_names(tmp_path: Path) -> None:
    names = [("system", "S"), ("user", "Q"), ("bot", "A"), ("human", "Q2"), ("assistant", "A2")]
    row = {"conversations": [{"from": name, "value": text} for name, text in names]}
    assert messages(tmp_path, row) == [(system("S"), user("Q"), bot("A"), user("Q2"), bot("A2"))]


def test_a_rows_system_text(tmp_path: Path) -> None:
    assert messages(tmp_path, {"system": "S", "conversations": TURNS}) == [(system("S"), *ONE)]
    row = {"system": "S", "conversations": [{"from": "system", "value": "T"}, *TURNS]}
    assert "is given in addition to a system turn" in refusal(tmp_path, row)


def test_sharegpt_reads_placeholders_as_text_and_refuses_images(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "what is <image>?"}, TURNS[1]]}
    assert messages(tmp_path, row, format="sharegpt") == [(user("what is <image>?"), bot("A"))]
    assert "Use format: llava" in refusal(tmp_path, row | {"image": "a.png"}, format="sharegpt")


def test_trimming_never_removes_all_turns(tmp_path: Path) -> None:
    assert "there is none" in refusal(tmp_path, {"text": "### Human: Q"}, format="oasst1")
    row = {"conversations": [TURNS[1], TURNS[0]]}
    assert "message 1: is from assistant" in refusal(tmp_path, row, format="sharegpt")


def test_a_folder_is_one_source(tmp_path: Path) -> None:
    for name, text in (("b.txt", "B"), ("a.md", "A"), ("c/d.py", "x = 1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = list(read(Source(path="."), tmp_path))
    assert [item.messages for item in found] == [(bot("A"),), (bot("B"),), (bot("x = 1"),)]
    assert found[0].place == Place(str(tmp_path / "a.md"), 1)


@pytest.mark.parametrize("path", ["gone.json", "data/gone", "org/gone.json", "a b/c", "/no/where", "", "gone"])
def test_a_mistyped_path_never_asks_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **more: pytest.fail("asked the hub"))
    with pytest.raises(ConfigError, match="no such file or folder"):
        source_format(Source(path=path), tmp_path)


def test_a_hub_data_set_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    pictures = datasets.Features(
        {"image": datasets.Image(), "q": datasets.Value("string"), "a": datasets.Value("string")}
    )
    row = {"image": {"bytes": file.getvalue(), "path": None}, "q": "Q", "a": "A"}
    table = datasets.Dataset.from_list([row] * 3, features=pictures)
    asked = []

    def load_dataset(name: str, subset: str | None, split: str) -> datasets.Dataset:
        asked.append((name, subset, split))
        return table

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    mapping = {"image": "image", "input": "q", "output": "a"}
    given = Source(path="org/name:small", split="validation", columns=mapping)
    found = list(read(given, tmp_path))
    assert [item.messages for item in found] == [(user(ImageRef(data=file.getvalue()), "Q"), bot("A"))] * 3
    assert found[2].place == Place("org/name:small[validation]", id="row 3")
    assert set(asked) == {("org/name", "small", "validation")}


def test_a_missing_hub_data_set_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, subset: str | None, split: str) -> datasets.Dataset:
        raise datasets.exceptions.DatasetNotFoundError("doesn't exist")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hub, "why_unreachable", lambda: "")
    with pytest.raises(DataError, match=r"org/name: the hub gave no split 'train'.*doesn't exist.*No local file"):
        source_format(Source(path="org/name"), tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'eyegraft\[hub\]'"):
        source_format(Source(path="org/name"), tmp_path)


def test_a_hub_that_does_not_answer_is_not_asked_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` itself would try for a minute."""
    monkeypatch.setattr(hub, "why_unreachable", lambda: "no answer within 2 s")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    began = time.monotonic()
    advice = "fetched from huggingface.co: no answer.*hf download org/name --repo-type dataset.*modelscope download"
    with pytest.raises(DataError, match=advice):
        source_format(Source(path="org/name"), tmp_path)
    assert time.monotonic() - began < 2
    assert not datasets.config.HF_HUB_OFFLINE and not constants.HF_HUB_OFFLINE


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    source(tmp_path, FORMATS["llava"][0])
    code = (
        "import sys; from pathlib import Path; from llm.config.schema import Source;"
        "from llm.formats.readers import read;"
        f"print(len(list(read(Source(path='rows.jsonl'), Path({str(tmp_path)!r})))));"
        "print({'torch', 'datasets', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\nset()\n"
