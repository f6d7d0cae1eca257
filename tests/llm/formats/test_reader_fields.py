"""Every optional field of every format: absent, null, empty and of a wrong type, each with what it then means."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place, RecordError
from llm.formats.conversation import ImageRef, Message
from llm.formats.pairs.pair_reading import read_pairs
from llm.formats.readers import (
    READERS,
    detect,
    format_mismatch,
    guess_format,
    image_folder,
    read,
    record_of,
    source_format,
    source_records,
    source_rows,
)
from llm.records.record import Record, kind
from llm.rows.files import data_files, read_rows
from llm.rows.raw_row import RawRow
from tests.llm.rows import ONE, TURNS, Json, bot, messages, source, system, user

Meaning = tuple[Message, ...] | str
FLAG = "is text, not true or false"


def xtuner(**more: object) -> Json:
    return {"conversation": [{"input": "Q", "output": "A"} | more]}


def openai(*, answer: Json | None = None, **more: object) -> Json:
    said: Json = {"role": "assistant", "content": "A"} | (answer or {})
    return {"messages": [{"role": "user", "content": "Q"}, said]} | more


def moss(**turn: object) -> Json:
    return {"chat": {"turn_1": {"Human": "Q", "MOSS": "A"} | turn}}


def llava(**more: object) -> Json:
    return {"conversations": TURNS} | more


def gemini(*parts: Json) -> Json:
    return {"contents": [{"role": "user", "parts": [*parts]}, {"role": "model", "parts": [{"text": "A"}]}]}


IMAGE = ImageRef("/pictures/a.png")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
BYTES = ImageRef(data=b"\x89PNG\r\n\x1a\n")
SHOWN = [{"from": "human", "value": "<image>\nQ"}, {"from": "gpt", "value": "A"}]

# format -> (row, the messages it means, or what its refusal says)
FIELDS: dict[str, list[tuple[Json, Meaning]]] = {
    "qa": [
        ({"question": "Q", "answer": "A"}, ONE),
        ({"question": "Q", "answer": "A", "A": "only one"}, ONE),
        ({"question": "Q", "answers": ["B", "A", "A"], "image": "a.png"}, (user(IMAGE, "Q"), bot("A"))),
        ({"question": "Q", "answers": [{"answer": "A", "answer_id": 1}, {"answer": "B"}]}, ONE),
        ({"question": "Q", "context": "C", "answers": {"text": ["A"], "answer_start": [3]}}, (user("C\nQ"), bot("A"))),
        ({"question": "Q", "context": "C", "answers": {"text": [], "answer_start": []}}, ()),
        ({"question": "Q", "answers": "A"}, "answers: is no list of texts"),
        ({"question": "Q", "answer": "A", "A": "x", "C": "z"}, ONE),
        ({"question": "Q", "answer": "A", "system": "S", "hint": None}, (system("S"), *ONE)),
        ({"question": "Q", "answer": "A", "image": "a.png"}, (user(IMAGE, "Q"), bot("A"))),
        ({"question": "Q A. x (B) y", "answer": "A", "A": "x", "B": "y"}, (user("Q A. x (B) y"), bot("A"))),
        ({"question": "Q", "answer": 1, "choices": ["x", "y"]}, (user("Q\nA. x\nB. y"), bot("B"))),
        ({"question": "Q", "answer": 2, "options": ["x", "y"]}, "answer: is a number, and there are 2 choices"),
        ({"question": "Q", "answer": None}, "answer: is null, and there are 0 choices"),
    ],
    "xtuner": [
        (xtuner(), ONE),
        (xtuner(system=None), ONE),
        (xtuner(system=" "), ONE),
        (xtuner(system="S"), (system("S"), *ONE)),
        (xtuner(system=3), "conversation[0].system: is a number, not text"),
        (xtuner(output_with_loss=None), ONE),
        (xtuner(output_with_loss=True), ONE),
        (xtuner(output_with_loss=False), (user("Q"), bot("A", False))),
        (xtuner(output_with_loss="no"), f"conversation[0].output_with_loss: {FLAG}"),
        (xtuner(input=None), (bot("A"),)),
        (xtuner(input=" "), (bot("A"),)),
        (xtuner(input=" ", output_with_loss=False), (bot("A", False),)),
        (xtuner(input="", system="S"), (system("S"), user(""), bot("A"))),
        (xtuner(input=["Q"]), "conversation[0].input: is a list, not text"),
        (xtuner(output=None), "conversation[0].output: is missing"),
        ({"conversation": [{"input": "Q", "output": "A"}, {"output": "B"}]}, (*ONE, user(""), bot("B"))),
        (
            {
                "conversation": [
                    {"system": "S", "input": "Q", "output": "A"},
                    {"system": "", "input": "R", "output": "B"},
                ]
            },
            (system("S"), *ONE, user("R"), bot("B")),
        ),
        ({"conversation": []}, "conversation: is an empty list"),
        ({"conversation": None}, "conversation: is missing"),
        ({"conversation": {}}, "conversation: is an object, not a list"),
        ({"conversation": [None]}, "conversation[0]: is null, not an object"),
        (
            {"input": "Q", "output": "A", "system": "S", "output_with_loss": False},
            (system("S"), user("Q"), bot("A", False)),
        ),
    ],
    "openai": [
        (openai(), ONE),
        (openai(answer={"loss": None}), ONE),
        (openai(answer={"loss": False}), (user("Q"), bot("A", False))),
        (openai(answer={"loss": True, "weight": 0}), ONE),
        (openai(answer={"loss": 0}), (user("Q"), bot("A", False))),
        (openai(answer={"loss": 1.0}), ONE),
        (openai(answer={"weight": None}), ONE),
        (openai(answer={"weight": 1}), ONE),
        (openai(answer={"weight": 0}), (user("Q"), bot("A", False))),
        (openai(answer={"weight": 2}), "messages[1].weight: 2 is neither 0 nor 1"),
        (openai(answer={"tool_calls": None}), ONE),
        (openai(answer={"tool_calls": []}), ONE),
        (openai(answer={"tool_calls": "f"}), "messages[1].tool_calls: is text, not a list"),
        (openai(answer={"function_call": None}), ONE),
        (openai(answer={"name": "me"}), ONE),
        (openai(system=None), ONE),
        (openai(system=" "), ONE),
        (openai(system="S"), (system("S"), *ONE)),
        (openai(system=3), "system: is a number, not text"),
        (openai(tools=None), ONE),
        (openai(tools=[]), ONE),
        (openai(tools=""), ONE),
        (openai(tools="f"), "tools: broken JSON"),
        (openai(tools=3), "tools: is a number, not a list"),
        (openai(tools='[{"f": "é"}]'), (system('You may call these tools:\n<tools>\n{"f": "é"}\n</tools>'), *ONE)),
        (openai(tools=[{"f": "é"}]), (system('You may call these tools:\n<tools>\n{"f": "é"}\n</tools>'), *ONE)),
        (openai(system="S", tools=[1, 2]), (system("S\n\nYou may call these tools:\n<tools>\n1\n2\n</tools>"), *ONE)),
        (openai(image=None, images=[]), ONE),
        (openai(image=""), ONE),
        (openai(image="a.png"), "0 <image> placeholders but 1 image given"),
        (
            openai(answer={"content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}),
            (user("Q"), Message("assistant", ("A", "B"))),
        ),
        (openai(answer={"content": []}), "messages[1].content: is an empty list"),
        (openai(answer={"content": [{"type": "text"}]}), "messages[1].content[0].text: is missing"),
        (openai(answer={"content": [{"text": "A"}]}), ONE),
        (openai(answer={"content": [{"words": "A"}]}), "messages[1].content[0].type: is missing"),
    ],
    "llava": [
        (llava(), ONE),
        (llava(id=7, extra=None), ONE),
        (llava(system=None), ONE),
        (llava(system=""), ONE),
        (llava(system="S"), (system("S"), *ONE)),
        (llava(system=[]), "system: is a list, not text"),
        (llava(image=None), ONE),
        (llava(image=[], images=None), ONE),
        (llava(conversations=SHOWN, image="a.png"), (user(IMAGE, "Q"), bot("A"))),
        (llava(conversations=SHOWN, images=["a.png"]), (user(IMAGE, "Q"), bot("A"))),
        (llava(conversations=SHOWN, image="a.png", images=["a.png"]), "image and images: both name images"),
        (llava(conversations=SHOWN, image="a.png", images=""), (user(IMAGE, "Q"), bot("A"))),
        (llava(conversations=[{"from": "human", "value": "Q"}, {"from": "gpt"}]), "conversations[1].value: is missing"),
    ],
    "sharegpt": [
        (llava(image=None), ONE),
        (llava(system="S"), (system("S"), *ONE)),
        (llava(image="a.png"), "image: this format has no images"),
        (
            llava(conversations=[{"from": "system", "value": "S"}, {"from": "gpt", "value": "?"}, *TURNS]),
            (system("S"), *ONE),
        ),
    ],
    "wizardlm": [
        ({"instruction": "Q", "output": "A", "input": "ignored"}, ONE),
        ({"instruction": None, "output": "A"}, "instruction: is missing"),
        ({"instruction": "Q", "output": 3}, "output: is a number, not text"),
    ],
    "alpaca": [
        ({"instruction": "I", "output": "A"}, (user("I"), bot("A"))),
        ({"instruction": "I", "input": None, "output": "A"}, (user("I"), bot("A"))),
        ({"instruction": "I", "input": " ", "output": "A"}, (user("I"), bot("A"))),
        ({"instruction": "", "input": "Q", "output": "A"}, ONE),
        ({"instruction": "I", "input": "Q", "output": "A"}, (user("I\nQ"), bot("A"))),
        ({"instruction": "I", "input": 3, "output": "A"}, "input: is a number, not text"),
        ({"instruction": "I", "output": " <nooutput>\n"}, ()),
        ({"instruction": "I", "output": "<nooutput>."}, (user("I"), bot("<nooutput>."))),
        ({"instruction": "I", "output": None}, "output: is missing"),
        ({"input": "Q", "output": "A"}, "instruction: is missing"),
    ],
    "alpaca_zh": [
        ({"instruction_zh": "说", "output_zh": "好"}, (user("说"), bot("好"))),
        ({"instruction_zh": "说", "input_zh": "话", "output_zh": "好"}, (user("说\n话"), bot("好"))),
        ({"instruction_zh": "说", "input_zh": [], "output_zh": "好"}, "input_zh: is a list, not text"),
    ],
    "openorca": [
        ({"question": "Q", "response": "A"}, ONE),
        ({"system_prompt": None, "question": "Q", "response": "A"}, ONE),
        ({"system_prompt": " ", "question": "Q", "response": "A"}, ONE),
        ({"system_prompt": "S", "question": "Q", "response": "A"}, (system("S"), *ONE)),
        ({"system_prompt": 3, "question": "Q", "response": "A"}, "system_prompt: is a number, not text"),
    ],
    "sql": [
        ({"context": "C", "question": "Q", "answer": "A"}, (user("C\nQ"), bot("A"))),
        ({"context": "", "question": "Q", "answer": "A"}, ONE),
        ({"question": "Q", "answer": "A"}, "context: is missing"),
    ],
    "law": [
        ({"question": "Q", "answer": "A"}, ONE),
        ({"question": "Q", "answer": "A", "input": "x", "output": "y"}, ONE),
        ({"input": "Q", "output": "A", "reference": None}, ONE),
        ({"question": None, "input": "Q", "output": "A"}, "answer: is missing"),
    ],
    "dolly": [
        ({"instruction": "Q", "response": "A"}, ONE),
        ({"instruction": "Q", "context": "", "response": "A"}, ONE),
        ({"instruction": "Q", "context": ["C"], "response": "A"}, "context: is a list, not text"),
    ],
    "gemini": [
        (gemini({"text": "Q"}), ONE),
        (gemini({"text": "Q"}) | {"system_instruction": {"parts": [{"text": "S"}]}}, (system("S"), *ONE)),
        (gemini({"inlineData": {"mimeType": "image/png", "data": PNG}}, {"text": "Q"}), (user(BYTES, "Q"), bot("A"))),
        (gemini({"inline_data": {"mime_type": "image/png", "data": PNG}}, {"text": "Q"}), (user(BYTES, "Q"), bot("A"))),
        (
            gemini({"inlineData": {"mimeType": "audio/wav", "data": PNG}}),
            "contents[0].parts[0].inlineData.mimeType: aud",
        ),
        (gemini({"fileData": {"fileUri": "gs://a"}}), "contents[0].parts[0].parts: a part of fileData"),
        (gemini({"text": "Hm", "thought": True}), "contents[0].parts[0].parts: a part of text, thought"),
        ({"contents": [{"role": "function", "parts": [{"text": "Q"}]}]}, "contents[0].role: 'function' is not a role"),
        ({"contents": [{"role": "model", "parts": [{"text": "A"}]}]}, "question: there is none"),
    ],
    "code_alpaca": [({"prompt": "Q", "completion": "A"}, ONE), ({"prompt": "Q"}, "completion: is missing")],
    "arxiv": [({"abstract": "Q", "title": "A"}, ONE), ({"abstract": "Q", "title": []}, "title: is a list, not text")],
    "colors": [
        ({"description": "sky", "color": "#0f0"}, (user("sky"), bot("#0f0"))),
        ({"description": "Blue: sky", "color": "#0f0"}, (user("sky"), bot("#0f0"))),
        ({"description": ": sky", "color": "#0f0"}, (user("sky"), bot("#0f0"))),
        ({"description": "Blue", "color": None}, "color: is missing"),
    ],
    "moss": [
        (moss(), ONE),
        ({"meta_instruction": None, **moss()}, ONE),
        ({"meta_instruction": " \n", **moss()}, ONE),
        ({"meta_instruction": " S\n", **moss()}, (system("S"), *ONE)),
        ({"meta_instruction": 3, **moss()}, "meta_instruction: is a number, not text"),
        (moss(**{"Inner Thoughts": None, "Commands": None, "Tool Responses": None}), ONE),
        (moss(**{"Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n"}), ONE),
        (moss(**{"Inner Thoughts": "Hm"}), (user("Q"), bot("Hm\nA"))),
        (
            moss(Commands="f()"),
            (user("Q"), bot("<tool_call>\nf()\n</tool_call>"), user("<tool_response>\n\n</tool_response>"), bot("A")),
        ),
        (moss(Human="None", MOSS="None"), (user("None"), bot("None"))),
        (moss(Human=3), "chat.turn_1.Human: is a number, not text"),
        ({"chat": {"turn_2": {"Human": "Q", "MOSS": "A"}}}, "chat.turn_1: has turn_2"),
        ({"chat": {}}, "chat.turn_1: has no turns"),
        ({"chat": None}, "chat: is null, not an object"),
        ({"chat": {"turn_1": "Q"}}, "chat.turn_1: is text, not an object"),
    ],
    "cauldron": [
        ({"texts": [{"user": "Q", "assistant": "A"}]}, ONE),
        ({"images": None, "texts": [{"user": "Q", "assistant": "A"}]}, ONE),
        ({"images": [], "texts": [{"user": "<image>", "assistant": "A"}]}, (user("<image>"), bot("A"))),
        ({"images": "a.png", "texts": [{"user": "Q", "assistant": "A"}]}, (user(IMAGE, "Q"), bot("A"))),
        ({"image": "b.png", "texts": [{"user": "Q", "assistant": "A"}]}, ONE),
        ({"texts": None}, "texts: is missing"),
    ],
    "imagefolder": [
        ({"file_name": "a.png", "text": "A"}, (user(IMAGE), bot("A"))),
        ({"image": "a.png", "text": "A"}, (user(IMAGE), bot("A"))),
        ({"image": "a.png", "file_name": None, "text": "A"}, (user(IMAGE), bot("A"))),
        ({"image": "a.png", "file_name": "a.png", "text": "A"}, "file_name and image: both name images"),
        ({"text": "A"}, "file_name: is missing"),
        ({"file_name": "a.png"}, "text: is missing"),
        ({"image": "a.png", "caption": "A"}, (user(IMAGE), bot("A"))),
        ({"image": "a.png", "text": "A", "caption": "B"}, (user(IMAGE), bot("A"))),
    ],
    "preference": [
        ({"prompt": "Q", "chosen": "A", "rejected": None}, ONE),
        ({"prompt": "Q", "chosen": "A", "rejected": "B", "system": "S"}, (system("S"), *ONE)),
        ({"prompt": None, "chosen": "A", "rejected": "B"}, "prompt: is missing"),
        ({"prompt": "Q", "chosen": "A", "images": "a.png"}, (user(IMAGE, "Q"), bot("A"))),
        ({"prompt": "see <image>", "chosen": "A"}, (user("see <image>"), bot("A"))),
        ({"prompt": "<image>\nQ", "chosen": "A", "image": "a.png"}, (user(IMAGE, "Q"), bot("A"))),
    ],
    "oasst1": [
        ({"text": "### Human: Q### Assistant: A", "meta": 1}, ONE),
        ({"text": " \n###Human:Q###Assistant:A"}, ONE),
        ({"text": "Q ### Assistant: A"}, "text: does not begin with '### Human:'"),
        ({"text": ""}, "text: does not begin with '### Human:'"),
        ({"text": None}, "text: is missing"),
    ],
    "text": [({"text": "A"}, (bot("A"),)), ({"text": 3}, "text: is a number, not text"), ({}, "text: is missing")],
}
FIELDS["query"] = [
    ({"query": "Q", "response": "A"}, ONE),
    ({"query": "Q", "response": "A", "system": "S"}, (system("S"), *ONE)),
    ({"query": "Q", "response": "A", "history": []}, ONE),
    ({"query": "Q", "response": "A", "history": [["P", "B"]]}, (user("P"), bot("B"), *ONE)),
    ({"query": "Q", "response": "A", "history": '[["P", "B"]]'}, (user("P"), bot("B"), *ONE)),
    ({"query": "Q", "response": "A", "history": [{"human": "P", "assistant": "B"}]}, (user("P"), bot("B"), *ONE)),
    (
        {
            "query": "Q",
            "response": "A",
            "history": [{"role": "user", "content": "P"}, {"role": "assistant", "content": "B"}],
        },
        (user("P"), bot("B"), *ONE),
    ),
    ({"query": "Q", "response": "A", "history": "P"}, "history: broken JSON"),
    ({"query": "Q", "response": "A", "history": {"P": "B"}}, "history: is an object, not a list"),
    ({"query": "Q", "response": "A", "history": [["P"]]}, "history[0]: is not a question and an answer"),
    ({"query": "Q", "response": "A", "images": "a.png"}, (user(IMAGE, "Q"), bot("A"))),
    ({"query": "Q <image>", "response": "A", "images": ["a.png"]}, (user("Q ", IMAGE), bot("A"))),
    (
        {"query": "Q", "response": "A", "images": ["a.png"], "history": [["<image>P", "B"]]},
        (user(IMAGE, "P"), bot("B"), *ONE),
    ),
    ({"query": "Q"}, "response: is missing"),
]
FIELDS["swift"] = [
    ({"conversation": [{"human": "Q", "assistant": "A"}]}, ONE),
    ({"system": "S", "conversation": [{"human": "Q", "assistant": "A"}]}, (system("S"), *ONE)),
    ({"images": ["a.png"], "conversation": [{"human": "<image>Q", "assistant": "A"}]}, (user(IMAGE, "Q"), bot("A"))),
    ({"conversation": [{"human": "Q"}]}, "conversation[0].assistant: is missing"),
]
FIELDS["medical"], FIELDS["tiny_codes"] = FIELDS["alpaca"], [({"prompt": "Q", "response": "A"}, ONE)]
FIELDS["stack_exchange"] = [({"question": "Q", "response": "A"}, ONE), ({"question": "Q"}, "response: is missing")]
CASES = [(name, row, meaning) for name, cases in FIELDS.items() for row, meaning in cases]


def test_the_table_covers_every_format() -> None:
    assert READERS.keys() - FIELDS.keys() == {"columns"}  # test_tables has the recipe's own


@pytest.mark.parametrize(("name", "row", "meaning"), CASES)
def test_the_meaning_of_fields(name: str, row: Json, meaning: Meaning) -> None:
    record = Record(Place("a.json", 7), row, name, "/pictures")
    if not isinstance(meaning, str):
        assert READERS[name].read(record) == meaning
        return
    with pytest.raises(RecordError) as caught:
        READERS[name].read(record)
    assert f"{caught.value.field}: {caught.value.found}".removeprefix("images: ").startswith(meaning)
    assert caught.value.place == Place("a.json", 7)


# Which format ---------------------------------------------------------------------------------------------------------

FITS: list[tuple[Json, str]] = [
    ({"chosen": None, "rejected": None}, "preference"),
    (openai(), "openai"),
    ({"conversations": openai()["messages"]}, "openai"),
    ({"messages": [], "conversations": TURNS}, "llava"),
    (llava(), "llava"),
    ({"texts": [{"user": 1, "assistant": 2}]}, "cauldron"),
    (xtuner(), "xtuner"),
    ({"input": "Q", "output": "A"}, "xtuner"),
    (moss(), "moss"),
    ({"instruction": "Q", "output": "A"}, "alpaca"),
    ({"instruction": "Q", "input": "x", "output": "A"}, "alpaca"),
    ({"instruction_zh": "Q", "output_zh": "A"}, "alpaca_zh"),
    ({"system_prompt": "", "question": "Q", "response": "A"}, "openorca"),
    ({"context": "C", "question": "Q", "answer": "A"}, "sql"),
    ({"reference": None, "question": "Q", "answer": "A"}, "law"),
    ({"prompt": "Q", "completion": "A"}, "code_alpaca"),
    ({"prompt": [{"role": "user", "content": "Q"}], "completion": "A"}, "code_alpaca"),
    ({"prompt": [], "completion": "A"}, ""),
    ({"query": "Q", "response": "A"}, "query"),
    ({"query": "Q", "response": "A", "rejected_response": "B"}, "preference"),
    ({"conversation": [{"human": "Q", "assistant": "A"}]}, "swift"),
    ({"prompt": "Q", "response": "A"}, "tiny_codes"),
    ({"question": "Q", "response": "A"}, "stack_exchange"),
    ({"question": "Q", "answer": "A"}, "qa"),
    ({"question": "Q", "answer": 1, "choices": ["x", "y"]}, "qa"),
    ({"question": "Q", "answers": ["A", "B"]}, "qa"),
    ({"question": "Q", "context": "C", "answers": {"text": ["A"], "answer_start": [3]}}, "qa"),
    ({"instruction": "Q", "context": "", "response": "A"}, "dolly"),
    ({"contents": [{"parts": [{"text": "Q"}]}]}, "gemini"),
    ({"image": "a.png", "caption": "A"}, "imagefolder"),
    ({"abstract": "Q", "title": "A"}, "arxiv"),
    ({"description": 1, "color": 2}, "colors"),
    ({"file_name": "a.TIFF", "text": "A"}, "imagefolder"),
    ({"image": {"bytes": b"x"}, "text": "A"}, "imagefolder"),
    ({"text": " ### Human: Q"}, "oasst1"),
    ({"text": "Q"}, "text"),
    ({"file_name": "a.py", "text": "Q"}, "text"),
    # Near misses fit nothing.
    ({}, ""),
    ({"chosen": "A"}, ""),
    ({"messages": []}, ""),
    ({"messages": ["x"]}, ""),
    ({"messages": [{"role": "user"}]}, ""),
    ({"conversations": [{"from": "human"}]}, ""),
    ({"texts": [{"user": 1}]}, ""),
    ({"conversation": []}, ""),
    ({"conversation": [{"input": "Q"}]}, ""),
    ({"input": "Q", "output": None}, ""),
    ({"instruction": None, "input": "Q", "output": "A"}, ""),
    ({"chat": {"turn_1": {}}}, ""),
    ({"chat": [1]}, ""),
    ({"question": "Q", "answer": None}, ""),
    ({"question": "Q", "answer": 1}, ""),
    ({"question": "Q", "answers": "A"}, ""),
    ({"question": "Q", "answers": [1]}, ""),
    ({"contents": []}, ""),
    ({"caption": "A"}, ""),
    ({"description": "x"}, ""),
    ({"text": None}, ""),
]


@pytest.mark.parametrize(("row", "name"), FITS)
def test_which_format_a_row_has(row: Json, name: str) -> None:
    """The first that fits; `detect`, `guess_format` and `format_mismatch` agree about it."""
    found = [reader for reader in READERS if READERS[reader].fits(row)]
    assert (found or [""])[0] == name
    record = Record(Place("a"), row, name)
    if name:
        assert detect([(Place("a"), row)]) == (name, f"the only row has {READERS[name].shape}")
        assert guess_format(Source(path="a"), [row]) == name and format_mismatch(record) is None
        return
    with pytest.raises(RecordError, match="no known format has the keys"):
        detect([(Place("a"), row)])
    assert format_mismatch(record) is not None


def test_formats_that_are_never_detected() -> None:
    everything = {key: "x" for row, _ in FITS for key in row} | {"conversations": TURNS}
    assert not any(READERS[name].fits(everything) for name in ("sharegpt", "wizardlm", "medical", "columns"))


def test_the_guessed_format_of_partly_invalid_rows() -> None:
    auto = Source(path="a")
    one, other = {"text": "x"}, {"prompt": "Q", "response": "A"}
    assert guess_format(auto, [one, other, other, 3, None]) == "tiny_codes"
    assert guess_format(auto, [other, one]) == "tiny_codes", "the first in the table of equals"
    for key, name in (
        ("conversations", "llava"),
        ("messages", "openai"),
        ("conversation", "xtuner"),
        ("chosen", "preference"),
        ("instruction", "alpaca"),
        ("text", "text"),
    ):
        assert guess_format(auto, [{"x": 1}, {key: None}]) == name
    assert guess_format(auto, [{"text": None}, {"messages": 3}]) == "openai", "the first in the list of keys"
    assert guess_format(auto, [{"x": 1}]) == guess_format(auto, ["text"]) == guess_format(auto, []) == ""
    assert guess_format(Source(path="a", format="sql"), []) == "sql"
    assert guess_format(Source(path="a", columns={"text": "t"}), []) == "columns"
    with pytest.raises(ConfigError, match="format: x is unknown"):
        guess_format(Source(path="a", format="x"), [])


def test_a_row_of_another_format_differs_from_one_of_none() -> None:
    known = Record(Place("a", 3), {"text": "x"}, "sql")
    error = format_mismatch(known)
    assert error is not None and error.code == "format-mixed" and error.place == Place("a", 3)
    assert error.found == "keys text, while the rows before it are sql"
    assert format_mismatch(Record(Place("a"), {"x": 1}, "sql")) is None, "its own reader says what is wrong with it"
    none = format_mismatch(Record(Place("a"), {}, ""))
    assert none is not None and (none.code, none.found) == ("format-unknown", "no known format has the keys none")


def test_detection_narrows_the_formats_row_by_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no record to train on"):
        detect([])
    rows: list[tuple[Place, object]] = [(Place("a", 1), {"text": "### Human: Q"}), (Place("a", 2), {"text": "x"})]
    assert detect(rows) == ("text", "the first 2 rows have text")
    with pytest.raises(RecordError, match="keys x, while the rows before it are oasst1") as caught:
        detect([rows[0], (Place("a", 5), {"x": 1})])
    assert (caught.value.place.line, caught.value.code) == (5, "format-mixed")
    with pytest.raises(RecordError, match="record: is null, not an object") as caught:
        detect([rows[0], (Place("a", 6), None)])
    assert (caught.value.place.line, caught.value.code) == (6, "row-type")


# Sources --------------------------------------------------------------------------------------------------------------


def test_the_folder_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(str(tmp_path / "sub" / "a.json"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for images, folder in (
        ("", tmp_path / "sub"),
        ("pics", tmp_path / "pics"),
        ("../x", tmp_path.parent / "x"),
        ("/else", Path("/else")),
        ("~/p", tmp_path / "home" / "p"),
    ):
        assert image_folder(Source(path="a", images=images), tmp_path, place) == str(folder)
    monkeypatch.chdir(tmp_path)
    assert image_folder(Source(path="a"), Path(), Place("sub/a.json")) == str(tmp_path / "sub")


def test_a_record_has_the_settings_of_its_source(tmp_path: Path) -> None:
    given = Source(path="a", images="pics", columns={"text": "t"})
    row = {"t": "x"}
    assert record_of(given, tmp_path, Place("f", 2), row, "columns") == Record(
        Place("f", 2), row, "columns", str(tmp_path / "pics"), {"text": "t"}
    )
    with pytest.raises(RecordError, match="f:2: record: is a list, not an object"):
        record_of(given, tmp_path, Place("f", 2), [], "columns")


def test_records_pairs_and_raw_rows_of_a_file(tmp_path: Path) -> None:
    given = source(tmp_path, {"prompt": "Q", "chosen": "A", "rejected": "B", "id": "x"}, {"chosen": 1, "rejected": 2})
    assert [(one.format, one.place.line, one.place.id) for one in source_records(given, tmp_path)] == [
        ("preference", 1, "x"),
        ("preference", 2, ""),
    ]
    pairs = read_pairs(given, tmp_path)
    assert next(pairs).rejected.messages == (user("Q"), bot("B"))
    with pytest.raises(RecordError, match="chosen: is a number"):
        next(pairs)
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\n{"te\n3\n')
    raw = list(source_rows(given, tmp_path))
    assert [(row.place.line, row.value, row.text, row.error is None) for row in raw] == [
        (1, {"text": "x"}, '{"text": "x"}', True),
        (2, None, '{"te', False),
        (3, 3, "3", True),
    ]


def test_a_source_of_unanswered_rows_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marked = {"instruction": "I", "output": "<nooutput>"}
    with pytest.raises(DataError, match="no record to train on"):
        messages(tmp_path, marked, marked)
    assert "left out 2 rows marked as unanswered, first" in caplog.text
    caplog.clear()
    assert len(list(read(source(tmp_path, {"text": "x"}), tmp_path))) == 1 and caplog.text == ""


def test_missing_and_invalid_sources_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.jsonl").write_text('{"text": "x"}')
    assert source_format(Source(path="~/x.jsonl"), Path("/none"))[0] == "text"
    for path in (" ", "x.JSONL", "gone/x.csv"):
        with pytest.raises(ConfigError, match="no such file or folder"):
            list(source_rows(Source(path=path), tmp_path))


# Records --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "null"),
        (True, "true or false"),
        (1, "a number"),
        (1.5, "a number"),
        ("", "text"),
        ([], "a list"),
        ({}, "an object"),
        (b"", "bytes"),
        ((), "tuple"),
    ],
)
def test_names_of_value_types(value: object, word: str) -> None:
    assert kind(value) == word


ROW: Json = {
    "no": None,
    "empty": "",
    "text": "x",
    "yes": True,
    "off": False,
    "zero": 0,
    "list": [],
    "turns": [{"a": 1}],
}
RECORD = Record(Place("f", 1), ROW, "llava", "/pictures", {"text": "t"})


def test_fields_that_are_present() -> None:
    assert (RECORD.text("text"), RECORD.text("empty")) == ("x", "")
    assert (RECORD.optional("text"), RECORD.optional("no"), RECORD.optional("gone")) == ("x", "", "")
    assert [RECORD.flag("yes", False), RECORD.flag("off", True)] == [True, False]
    assert [RECORD.flag("no", True), RECORD.flag("gone", False)] == [True, False]
    (turn,) = RECORD.parts("turns")
    assert turn == Record(Place("f", 1), {"a": 1}, "llava", "/pictures", {"text": "t"}, "turns[0].")
    assert turn.part("b", {}).path == "turns[0].b."


ADVICE = "The source is read as llava: correct the record, or name the format it is in"


@pytest.mark.parametrize(
    ("read", "message", "code"),
    [
        (lambda: RECORD.text("no"), f"no: is missing. {ADVICE}", "field-missing"),
        (lambda: RECORD.text("zero"), f"zero: is a number, not text. {ADVICE}", "field-type"),
        (lambda: RECORD.optional("yes"), f"yes: is true or false, not text. {ADVICE}", "field-type"),
        (
            lambda: RECORD.flag("zero", True),
            "zero: is a number, not true or false. Write true or false, without quotes",
            "field-type",
        ),
        (lambda: RECORD.parts("no"), f"no: is missing. {ADVICE}", "field-missing"),
        (lambda: RECORD.parts("text"), f"text: is text, not a list. {ADVICE}", "field-type"),
        (lambda: RECORD.parts("list"), "list: is an empty list. Add the turns or remove the record", "turns-empty"),
        (lambda: RECORD.part("x", None), f"x: is null, not an object. {ADVICE}", "field-type"),
    ],
)
def test_missing_and_mistyped_fields_raise(read: Callable[[], object], message: str, code: str) -> None:
    with pytest.raises(RecordError) as caught:
        read()
    assert (str(caught.value), caught.value.code) == (f"f:1: {message}", code)
    plain = RECORD.error("x", "odd")
    assert (plain.code, plain.advice) == ("record", ADVICE)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"id": "x"}, "x"),
        ({"id": 0}, "0"),
        ({"id": True}, "True"),
        ({"id": ""}, ""),
        ({"id": 1.5}, ""),
        ({"id": None}, ""),
        ({"id": ["x"]}, ""),
        ({}, ""),
        (["id"], ""),
    ],
)
def test_a_place_has_the_id_of_its_row(tmp_path: Path, row: object, name: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert [place for place, _ in read_rows(tmp_path / "a.jsonl")] == [Place(str(tmp_path / "a.jsonl"), 1, name)]


def test_which_files_of_a_folder_are_data(tmp_path: Path) -> None:
    """Records before texts, whatever the case of their suffix; links that lead nowhere and hidden folders are none."""
    for name in ("b.JSON", "a/c.Csv", "t.txt", ".h.json", ".d/e.json", "p.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "f.json").mkdir()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    assert data_files(tmp_path) == [tmp_path / "a/c.Csv", tmp_path / "b.JSON"]
    for name in ("b.JSON", "a/c.Csv"):
        (tmp_path / name).unlink()
    assert data_files(tmp_path) == [tmp_path / "t.txt"]
    (tmp_path / "t.txt").unlink()
    with pytest.raises(DataError, match="no data file in this folder"):
        data_files(tmp_path)


def rows_of(path: Path) -> list[RawRow]:
    from llm.rows.files import raw_rows

    return list(raw_rows(path))


def test_reading_a_table_continues_after_invalid_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('q,id\n"a, b",7\n1,2,3\n\n"two\nlines",\n')
    found = rows_of(path)
    assert [(row.place.line, row.place.id, row.value) for row in found] == [
        (2, "7", {"q": "a, b", "id": "7"}),
        (3, "", None),
        (5, "", {"q": "two\nlines", "id": ""}),
    ]
    assert found[1].error is not None and found[1].error.code == "csv-broken" and found[1].text == "1,2,3"
    for header in ("q,q", "q,"):
        path.write_text(f"{header}\n1,2\n")
        (broken,) = rows_of(path)
        assert broken.error is not None and broken.error.found.startswith("column names q, ")
    path.write_text("q,id\n")
    assert rows_of(path) == []


def test_a_text_file_is_one_row_and_an_empty_one_none(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    for content, found in (
        (b"", []),
        (b" \n\t", []),
        (b"\xef\xbb\xbfx\r\ny", [{"text": "x\ny"}]),
        (b" x \n", [{"text": " x \n"}]),
    ):
        path.write_bytes(content)
        assert [row.value for row in rows_of(path)] == found
    path.write_bytes(b"fine\nfine\nbad \xff\n")
    (broken,) = rows_of(path)
    assert broken.error is not None and (broken.error.place.line, broken.error.code) == (3, "encoding")
