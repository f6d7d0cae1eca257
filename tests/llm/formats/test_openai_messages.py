"""OpenAI messages: content parts, loss flags, tool calls; and preference rows, which hold such messages."""

from pathlib import Path

import pytest

from llm.errors import Place, RecordError
from llm.formats.conversation import ImageRef
from llm.formats.pairs.pair_reading import read_pairs
from llm.formats.readers import read, source_format
from llm.formats.turns.message_turns import ROLE_CONTENT, read_turns
from llm.records.record import Record
from tests.llm.rows import ONE, Json, bot, messages, refusal, source, system, user


def openai(*contents: object, **more: object) -> Json:
    roles = ["user", "assistant"]
    return {"messages": [{"role": roles[n % 2], "content": c} for n, c in enumerate(contents)]} | more


def test_openai_content_parts(tmp_path: Path) -> None:
    a, b = ImageRef(str(tmp_path / "a.png")), ImageRef(str(tmp_path / "b.png"))
    text = {"type": "text", "text": "Q"}
    rows = [
        openai([{"type": "image_url", "image_url": {"url": "a.png"}}, text], "A"),
        openai([text, {"type": "image", "image": "a.png"}, {"type": "image_url", "image_url": "b.png"}], "A"),
        openai([{"type": "image", "text": None}, text, {"type": "image"}], "A", images=["a.png", "b.png"]),
        openai("<image>\nQ", "A", image="a.png"),
        openai("what is <image>?", [{"type": "text", "text": "A"}]),
    ]
    assert messages(tmp_path, *rows) == [
        (user(a, "Q"), bot("A")),
        (user("Q", a, b), bot("A")),
        (user(a, "Q", b), bot("A")),
        (user(a, "Q"), bot("A")),
        (user("what is <image>?"), bot("A")),
    ]


def test_openai_turns_under_conversations(tmp_path: Path) -> None:
    row = {"conversations": openai("Q", "A")["messages"]}
    assert source_format(source(tmp_path, row), tmp_path)[0] == "openai"
    assert messages(tmp_path, row) == [ONE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "alien"}, "messages[1].role: 'alien' is not a role"),
        ({"content": None}, "messages[1].content: is missing"),
        ({"content": [{"type": "audio", "audio": "v"}]}, "messages[1].content[0].type: 'audio' is not supported"),
        ({"content": [{"type": "image"}]}, "message 2: <image> in an answer"),
        ({"loss": "true"}, "messages[1].loss: is text, not true or false"),
        ({"loss": False}, "no answer has loss"),
        ({"weight": 0.5}, "messages[1].weight: 0.5 is neither 0 nor 1"),
        ({"weight": 0}, "no answer has loss"),
        ({"function_call": {"name": "f"}}, "messages[1].function_call.arguments: is null, not an object"),
        ({"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "tool_calls[0].function.arguments: broken"),
        ({"tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}, "arguments: is a list, not an object"),
        ({"tool_calls": [{"function": {"arguments": "{}"}}]}, "tool_calls[0].function.name: is missing"),
    ],
)
def test_invalid_openai_turns_raise(tmp_path: Path, change: Json, message: str) -> None:
    answer: Json = {"role": "assistant", "content": "A"}
    row = {"messages": [{"role": "user", "content": "Q"}, answer | change]}
    assert message in refusal(tmp_path, row)


def test_only_answers_have_loss_and_calls(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "A"}
    row = {"messages": [{"role": "user", "content": "Q", "loss": True}, answer]}
    assert "messages[0].loss: true in a turn of the user" in refusal(tmp_path, row)
    row = {"messages": [{"role": "user", "content": "Q", "loss": False}, answer]}
    assert messages(tmp_path, row) == [ONE]
    call = [{"function": {"name": "f", "arguments": {}}}]
    row = {"messages": [{"role": "user", "content": "Q", "tool_calls": call}, answer]}
    assert "Only answers call tools" in refusal(tmp_path, row)


def test_tool_calls_and_results(tmp_path: Path) -> None:
    calls = [{"type": "function", "function": {"name": "f", "arguments": '{"x": "é"}'}}] * 2
    turns = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2", "tool_call_id": "b"},
        {"role": "assistant", "content": "A", "tool_calls": []},
    ]
    call = '<tool_call>\n{"name": "f", "arguments": {"x": "é"}}\n</tool_call>'
    results = "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>"
    rest = (user("Q"), bot(f"{call}\n{call}"), user(results), bot("A"))
    offer = 'You may call these tools:\n<tools>\n{"name": "f"}\n</tools>'
    first = {"role": "system", "content": "S"}
    rows = [{"messages": turns}, {"messages": turns, "tools": [{"name": "f"}]}]
    rows.append({"messages": [first, *turns], "tools": [{"name": "f"}]})
    assert messages(tmp_path, *rows) == [rest, (system(offer), *rest), (system(f"S\n\n{offer}"), *rest)]
    image = {"role": "tool", "content": [{"type": "image", "image": "a.png"}]}
    assert "results are text" in refusal(tmp_path, {"messages": [*turns[:2], image, turns[-1]]})


def test_both_sides_of_a_preference(tmp_path: Path) -> None:
    turn = {"role": "user", "content": "Q"}
    good, bad = [{"role": "assistant", "content": text} for text in "AB"]
    rows = [
        {"prompt": "Q", "chosen": "A", "rejected": "B"},
        {"prompt": [turn], "chosen": [good], "rejected": [bad]},
        {"prompt": "Q", "chosen": [turn, good], "rejected": [turn, bad], "messages": [turn, good]},
        {"chosen": [turn, good], "rejected": [turn, bad]},
    ]
    pairs = [(pair.chosen.messages, pair.rejected.messages) for pair in read_pairs(source(tmp_path, *rows), tmp_path)]
    assert pairs == [(ONE, (user("Q"), bot("B")))] * 4
    assert messages(tmp_path, *rows) == [ONE] * 4
    pictured = {"prompt": "<image>\nQ", "chosen": "A", "rejected": "B", "image": "a.png"}
    assert messages(tmp_path, pictured) == [(user(ImageRef(str(tmp_path / "a.png")), "Q"), bot("A"))]


def test_a_pair_needs_two_answers_and_fine_tuning_one(tmp_path: Path) -> None:
    for rejected, message in (("A", "equals the chosen answer"), ("", "is empty"), (None, "rejected: is missing")):
        given = source(tmp_path, {"prompt": "Q", "chosen": "A", "rejected": rejected})
        with pytest.raises(RecordError, match=message):
            list(read_pairs(given, tmp_path))
        assert [found.messages for found in read(given, tmp_path)] == [ONE]


@pytest.mark.parametrize(
    "content",
    [
        "What is <image> this?",
        "<IMG_CONTEXT>\nWhat?",
        [{"type": "text", "text": "<image>What?"}],
        [{"type": "image", "image": "a.png"}, {"type": "text", "text": "<IMG_CONTEXT>What?"}],
        [{"type": "text", "text": ""}, {"type": "image", "image": "a.png"}],
    ],
)
@pytest.mark.parametrize("marks", [True, False])
def test_plain_turns_are_read_as_all_others(content: object, marks: bool) -> None:
    """Turns of a role and a text are read without a Record; a field that asks for nothing takes them the other way."""
    record = Record(Place("a.json", 1), {"messages": [{"role": "user", "content": content}]}, "openai", "/images")
    longer = Record(
        record.place, {"messages": [{"role": "user", "content": content, "name": None}]}, "openai", "/images"
    )
    plain = read_turns(record, "messages", ROLE_CONTENT, marks)
    assert plain == read_turns(longer, "messages", ROLE_CONTENT, marks)
    assert not record.inside and longer.inside


def test_a_single_answer_is_plain_text(tmp_path: Path) -> None:
    """So ms-swift has texts for continued pretraining; beside a system prompt a question is missing."""
    assert messages(tmp_path, {"messages": [{"role": "assistant", "content": "Once."}]}) == [(bot("Once."),)]
    row = {"system": "S", "messages": [{"role": "assistant", "content": "Once."}]}
    assert "question: there is none" in refusal(tmp_path, row)
