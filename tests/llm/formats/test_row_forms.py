"""Rows as other trainers' data sets have them, from their documentation: what each means, or why it is refused."""

import base64
from pathlib import Path

import pytest

from llm.errors import RecordError
from llm.formats.conversation import ImageRef, Message
from llm.formats.pairs.pair_reading import read_pairs
from tests.llm.rows import ONE, TURNS, Json, bot, messages, refusal, source, system, user

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
PNG_TEXT = base64.b64encode(PNG).decode()
GIF_TEXT = base64.b64encode(b"GIF89a" + bytes(30)).decode()
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
OFFER = 'You may call these tools:\n<tools>\n{"name": "f"}\n</tools>'
ANSWER = {"role": "assistant", "content": "A"}
ASKED = {"role": "user", "content": "Q"}


def said(name: str, text: object) -> Json:
    return {"from": name, "value": text}


def chat(*contents: object, **more: object) -> Json:
    roles = ["user", "assistant"]
    return {"messages": [{"role": roles[n % 2], "content": c} for n, c in enumerate(contents)]} | more


def image(name: str = "a.png") -> ImageRef:
    return ImageRef(f"/pictures/{name}")


SHAREGPT_CALL = [said("human", "Q"), said("function_call", '{"name": "f", "arguments": {"x": 1}}')]
SHAREGPT_CALL += [said("observation", "7"), said("gpt", "A")]
CALLED = (user("Q"), bot(CALL), user("<tool_response>\n7\n</tool_response>"), bot("A"))

MEANINGS: dict[str, tuple[Json, tuple[Message, ...]]] = {
    "table with an image": ({"image": "a.png", "prompt": "Q", "completion": "A"}, (user(image(), "Q"), bot("A"))),
    "alpaca with images": (
        {"instruction": "<image>Q", "input": "", "output": "A", "images": ["a.png"]},
        (user(image(), "Q"), bot("A")),
    ),
    "alpaca with system and history": (
        {"instruction": "Q", "input": "", "output": "A", "system": "S", "history": [["P", "B"]]},
        (system("S"), user("P"), bot("B"), *ONE),
    ),
    "input, output and image": ({"input": "Q", "output": "A", "image": "a.png"}, (user(image(), "Q"), bot("A"))),
    "an image and its caption": ({"input": "", "output": "A", "image": "a.png"}, (user(image()), bot("A"))),
    "several images in a cell": (
        {"instruction": "Q", "output": "A", "images": '["a.png", "b.png"]'},
        (user(image(), image("b.png"), "Q"), bot("A")),
    ),
    "base64 in a cell": (
        {"question": "Q", "response": "A", "image": PNG_TEXT},
        (user(ImageRef(data=PNG), "Q"), bot("A")),
    ),
    "base64 of a GIF in lines": (
        {"image": GIF_TEXT[:20] + "\n" + GIF_TEXT[20:], "text": "A"},
        (user(ImageRef(data=b"GIF89a" + bytes(30))), bot("A")),
    ),
    "sharegpt calls": ({"conversations": SHAREGPT_CALL}, CALLED),
    "sharegpt tools": ({"conversations": SHAREGPT_CALL, "tools": '[{"name": "f"}]'}, (system(OFFER), *CALLED)),
    "sharegpt tools and system": (
        {"conversations": TURNS, "system": "S", "tools": [{"name": "f"}]},
        (system(f"S\n\n{OFFER}"), *ONE),
    ),
    "tools that the system prompt lists": (
        {"conversations": [said("system", f"S {OFFER}"), *TURNS], "tools": '[{"function": {"name": "f"}}]'},
        (system(f"S {OFFER}"), *ONE),
    ),
    "no tools": ({"conversations": TURNS, "tools": "[]"}, ONE),
    "hermes results": (
        {"conversations": [*TURNS, said("tool", "<tool_response>\n7\n</tool_response>"), said("gpt", "B")]},
        (*ONE, user("<tool_response>\n7\n</tool_response>"), bot("B")),
    ),
    "ms-swift calls": (
        {
            "messages": [
                ASKED,
                {"role": "tool_call", "content": '{"name": "f", "arguments": {"x": 1}}'},
                {"role": "tool_call", "content": '{"name": "f", "arguments": "{\\"x\\": 1}"}'},
                {"role": "tool_response", "content": "7"},
                {"role": "tool_response", "content": "8"},
                ANSWER,
            ]
        },
        (
            user("Q"),
            bot(f"{CALL}\n{CALL}"),
            user("<tool_response>\n7\n</tool_response>\n<tool_response>\n8\n</tool_response>"),
            bot("A"),
        ),
    ),
    "OpenAI's older call": (
        {
            "messages": [
                ASKED,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
                {"role": "function", "name": "f", "content": "7"},
                ANSWER,
            ],
            "functions": [{"name": "f"}],
        },
        (system(OFFER), *CALLED),
    ),
    "Anthropic's blocks": (
        {
            "system": "S",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_TEXT}},
                        {"type": "text", "text": "Q"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "7"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            ],
        },
        (system("S"), user(ImageRef(data=PNG), "Q"), *CALLED[1:]),
    ),
    "thoughts": (
        {"messages": [ASKED, ANSWER | {"reasoning_content": "Hm.\n"}]},
        (user("Q"), bot("<think>\nHm.\n</think>\n\nA")),
    ),
    "thoughts under two names": (
        {"messages": [ASKED, ANSWER | {"reasoning": "Hm.", "reasoning_content": "Hm."}]},
        (user("Q"), bot("<think>\nHm.\n</think>\n\nA")),
    ),
    "thoughts as a part": (
        {
            "messages": [
                ASKED,
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A"}],
                },
            ]
        },
        (user("Q"), bot("<think>\nHm.\n</think>\n\nA")),
    ),
    "no thoughts": ({"messages": [ASKED, ANSWER | {"reasoning_content": "", "thinking": None}]}, ONE),
    "LLaMA-Factory's parts": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "value": "a.png"}, {"type": "text", "value": "Q"}],
                    "loss_weight": 0.0,
                },
                {"role": "assistant", "content": [{"type": "text", "value": "A"}], "loss_weight": 0.0},
                {"role": "user", "content": [{"type": "text", "value": "R"}], "loss_weight": 0.0},
                {"role": "assistant", "content": [{"type": "text", "value": "B"}], "loss_weight": 1.0},
            ]
        },
        (user(image(), "Q"), bot("A", False), user("R"), bot("B")),
    ),
    "Axolotl's train flag": (
        {"messages": [ASKED, ANSWER | {"train": False}, ASKED, ANSWER | {"train": True}]},
        (user("Q"), bot("A", False), *ONE),
    ),
    "from/value with weight": (
        {"conversations": [*TURNS[:1], TURNS[1] | {"weight": 0}, *TURNS]},
        (user("Q"), bot("A", False), *ONE),
    ),
    "Unsloth's vision rows": (
        chat(
            [{"type": "text", "text": "Q"}, {"type": "image", "image": {"bytes": list(PNG), "path": "x.png"}}],
            [{"type": "text", "text": "A"}],
        ),
        (user("Q", ImageRef(data=PNG)), bot("A")),
    ),
    "Qwen's parts without a type": (
        chat([{"image": "a.png"}, {"text": "Q"}], [{"text": "A"}]),
        (user(image(), "Q"), bot("A")),
    ),
    "image as an object of a path": (
        {"image": {"path": "a.png", "bytes": None}, "text": "A"},
        (user(image()), bot("A")),
    ),
    "image as an object of a url": (
        {"image": {"url": "a.png"}, "conversations": [said("human", "<image>\nQ"), TURNS[1]]},
        (user(image(), "Q"), bot("A")),
    ),
    "image as an object of base64": (
        {"image": {"bytes": PNG_TEXT}, "conversations": [said("human", "<image>\nQ"), TURNS[1]]},
        (user(ImageRef(data=PNG), "Q"), bot("A")),
    ),
    "XTuner's context": (
        chat(
            [
                {"type": "image_url", "image_url": {"url": "a.png", "image_wh": [1, 2]}},
                {"type": "text", "text": "See <IMG_CONTEXT>\nQ"},
            ],
            "A",
        ),
        (user("See ", image(), "Q"), bot("A")),
    ),
    "InternVL's context": (
        {"image": "a.png", "width": 1, "height": 2, "conversations": [said("human", "<IMG_CONTEXT>\nQ"), TURNS[1]]},
        (user(image(), "Q"), bot("A")),
    ),
    "Qwen-VL's tag": (
        {"id": "i_0", "conversations": [said("user", "Picture 1: <img>a.png</img>\nQ"), said("assistant", "A")]},
        (user(image(), "Q"), bot("A")),
    ),
    "Qwen-VL's tags of several images": (
        {"conversations": [said("user", "Picture 1: <img>a.png</img>\nPicture 2: <img>b.png</img>\nQ"), TURNS[1]]},
        (user("Picture 1: ", image(), "Picture 2: ", image("b.png"), "Q"), bot("A")),
    ),
    "a tag in a table": ({"query": "<img>a.png</img>Q", "response": "A"}, (user(image(), "Q"), bot("A"))),
    "LLaMA-Factory's images": (
        {"conversations": [said("human", "<image>Q"), TURNS[1]], "images": ["a.png"], "videos": [], "audios": None},
        (user(image(), "Q"), bot("A")),
    ),
    "TRL's messages with an image": (
        {
            "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}]}],
            "completion": [ANSWER],
            "images": ["a.png"],
        },
        (user(image(), "Q"), bot("A")),
    ),
    "TRL's mixed forms": ({"prompt": [ASKED], "completion": "A"}, ONE),
    "Cohere's roles": (
        {
            "messages": [
                {"role": "System", "content": "S"},
                {"role": "User", "content": "Q"},
                {"role": "Chatbot", "content": "A"},
            ]
        },
        (system("S"), *ONE),
    ),
    "OpenAI's preference": (
        {
            "input": {"messages": [ASKED], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [ANSWER],
            "non_preferred_output": [ANSWER | {"content": "B"}],
        },
        ONE,
    ),
    "LLaMA-Factory's ranking": (
        {"conversations": [said("human", "Q")], "chosen": said("gpt", "A"), "rejected": said("gpt", "B")},
        ONE,
    ),
    "LLaMA-Factory's ranking in columns": ({"instruction": "Q", "input": "", "chosen": "A", "rejected": "B"}, ONE),
    "ms-swift's preference": (chat("Q", "A", rejected_response="B"), ONE),
    "ms-swift's boxes": (
        chat(
            "<image>Find the <ref-object>",
            "<bbox>",
            images=["a.png"],
            objects={"ref": ["sheep"], "bbox": [[0.1, 0.25, 0.5, 1]], "bbox_type": "norm1"},
        ),
        (user(image(), "Find the sheep"), bot("[0.1, 0.25, 0.5, 1]")),
    ),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_what_a_row_means(tmp_path: Path, name: str) -> None:
    row, meaning = MEANINGS[name]
    assert messages(tmp_path, row, row, images="/pictures") == [meaning, meaning]


REFUSALS: dict[str, tuple[Json, str]] = {
    "COCO in one object": ({"images": [], "annotations": [], "categories": []}, "annotations of COCO in one object"),
    "a box of COCO": ({"id": 1, "image_id": 2, "category_id": 3, "bbox": [1, 2, 3, 4]}, "an annotation of COCO: a box"),
    "Label Studio": ({"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": []}]}, "a task of Label Studio"),
    "LabelMe": ({"version": "5", "flags": {}, "shapes": [], "imagePath": "a.png"}, "boxes of LabelMe"),
    "VIA": ({"a.png12": {"filename": "a.png", "size": 12, "regions": []}}, "regions of VIA"),
    "YOLO": ({"text": "0 0.5 0.5 0.1 0.2\n3 .5 0.5 0.1 0.2\n".replace(" .5", " 0.5")}, "boxes of YOLO"),
    "a detection set of the hub": ({"image": "a.png", "objects": {"bbox": [[1, 2, 3, 4]]}}, "boxes without a question"),
    "audio": ({"audio": {"bytes": "x"}, "sentence": "hi"}, "audio, which cannot be trained on"),
    "audio beside text": ({"audio": "a.wav", "text": "hi"}, "audio: holds audio, which format text does not read"),
    "video": ({"video": "a.mp4", "caption": "A crane."}, "a video without a question, which cannot be trained on"),
    "steps with labels": ({"prompt": "Q", "completions": ["A"], "labels": [True]}, "stepwise supervision"),
    "SQuAD's own file": ({"title": "T", "paragraphs": [{"context": "C", "qas": []}]}, "an article of SQuAD"),
    "classes": ({"image": "a.png", "label": 3}, "an image with a class"),
    "a question": ({"prompt": "Q"}, "a question without an answer"),
    "part of a weight": (
        chat("Q", "A") | {"messages": [ASKED, ANSWER | {"loss_weight": 0.5}]},
        "0.5 is neither 0 nor 1",
    ),
    "loss of a question": ({"messages": [ASKED | {"loss_weight": 1.0}, ANSWER]}, "Only answers have loss"),
    "thoughts in two places": (
        {"messages": [ASKED, {"role": "assistant", "content": "<think>\nx\n</think>\nA", "reasoning_content": "y"}]},
        "the answer has <think> of its own",
    ),
    "an audio part": (
        chat([{"type": "input_audio", "input_audio": {"data": "x"}}], "A"),
        "'input_audio' is not supported",
    ),
    "a broken call": ({"conversations": [said("human", "Q"), said("function_call", "f(1)"), *TURNS]}, "broken JSON"),
    "boxes in pixels": (
        chat("<image><ref-object>", "<bbox>", images=["a.png"], objects={"ref": ["x"], "bbox": [[1, 2, 30, 40]]}),
        "is in pixels, and images are resized",
    ),
    "too few boxes": (
        chat("<image>Q", "<bbox><bbox>", images=["a.png"], objects={"bbox": [[0, 0, 1, 1]], "bbox_type": "norm1"}),
        "1 entries for 2 <bbox>",
    ),
    "an image of a URL": (chat("<img>https://x.org/a.png</img>Q", "A"), "is a URL, and images are not downloaded"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_why_a_row_is_refused(tmp_path: Path, name: str) -> None:
    row, found = REFUSALS[name]
    assert found in refusal(tmp_path, row)


def test_a_list_of_messages_on_each_line(tmp_path: Path) -> None:
    for turns in ([ASKED, ANSWER], TURNS):
        assert messages(tmp_path, turns, turns) == [ONE, ONE]
        assert messages(tmp_path, turns) == [ONE], "one line is one conversation"
    with pytest.raises(RecordError, match="record: is a list, not an object"):
        messages(tmp_path, [1], [2])


def test_both_answers_of_other_preference_rows(tmp_path: Path) -> None:
    names = (
        "OpenAI's preference",
        "LLaMA-Factory's ranking",
        "LLaMA-Factory's ranking in columns",
        "ms-swift's preference",
    )
    rows = [MEANINGS[name][0] for name in names]
    for row in rows:
        (pair,) = read_pairs(source(tmp_path, row), tmp_path)
        assert (pair.chosen.messages, pair.rejected.messages) == (ONE, (user("Q"), bot("B")))
