"""Records of every reader through every writer and back: the same conversations, less what is declared as lost."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from data_tools.convert.convert import ConvertOptions, ConvertReport, convert
from data_tools.convert.readers import TABLES
from data_tools.convert.writers import FEATURES, WRITERS, join_texts
from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place, RecordError, RunError
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart
from llm.formats.readers import READERS, read, source_format
from tests.llm.formats.test_readers import FORMATS
from tests.llm.rows import ONE, TURNS, Json, bot, system, user
from vlm.app import cli

# What each format cannot say, by hand: what is dropped and counted, and what makes a row impossible.
LOSES = {"llava": {"loss"}, "sharegpt": {"loss"}, "alpaca": {"system", "loss"}}
REFUSES = {
    "llava": {"plain", "placeholder", "video-typed"},
    "messages": {"plain", "placeholder beside images", "video-beside"},
    "openai": {"plain"},
    "sharegpt": {"plain", "images", "videos"},
    "xtuner": {"images", "videos"},
    "alpaca": {"plain", "images", "videos", "turns"},
    "text": {"question"},
}
READ_AS = {name: name for name in REFUSES} | {"messages": "openai"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A record of a format, and by hand how often it has each feature that some format loses."""

    format: str
    row: Json
    has: dict[str, int]
    columns: dict[str, str] | None = None


QUESTION = {"question": 1}
TALK = QUESTION | {"turns": 1}
# The rows of tests/llm/formats/test_readers.py, whose meaning that file asserts.
HAS: dict[str, dict[str, int]] = dict.fromkeys(FORMATS, QUESTION) | {
    "xtuner": TALK | {"system": 1},
    "text": {"plain": 1},
    "openai": TALK | {"system": 1, "loss": 1},
    "oasst1": TALK,
    "openorca": QUESTION | {"system": 1},
    "gemini": TALK | {"system": 1},
    "moss": TALK | {"system": 1},
    "cauldron": TALK | {"placeholder": 1},
    "query": TALK,
    "swift": TALK | {"system": 1},
}
CAPTION: Json = {"id": "猫-1", "image": "sub/猫.png"}
CAPTION["conversations"] = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "一只猫。\n"}]
SEVERAL: Json = {
    "id": 7,
    "image": ["a.png", "b.png", "a.png"],
    "conversations": [
        {"from": "system", "value": "看图"},
        {"from": "human", "value": "<image>\n<image>\n\nWhich? "},
        {"from": "gpt", "value": "The first.\n"},
        {"from": "human", "value": "And\n<image>"},
        {"from": "gpt", "value": "Both"},
    ],
}
PARTS: Json = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "typed <image> "},
                {"type": "image_url", "image_url": {"url": "a.png"}},
                {"type": "text", "text": "Q"},
                {"type": "text", "text": "1"},
            ],
        },
        {"role": "assistant", "content": "A", "loss": False},
        {"role": "user", "content": "Q2"},
        {"role": "assistant", "content": "A2", "loss": False},
        {"role": "user", "content": "Q3"},
        {"role": "assistant", "content": "A3"},
    ]
}
CLIP: Json = {
    "image": "a.png",
    "video": ["a.mp4", "sub/b.webm"],
    "conversations": [
        {"from": "human", "value": "<video>\n<image>\nDo they match?"},
        {"from": "gpt", "value": "Yes."},
        {"from": "human", "value": "And <video>"},
        {"from": "gpt", "value": "No."},
    ],
}
CLIP_PARTS: Json = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "video_url", "video_url": {"url": "a.mp4"}},
                {"type": "text", "text": "What is <video>?"},
            ],
        },
        {"role": "assistant", "content": "A"},
    ]
}
SAMPLES = {name: Sample(name, row, HAS[name]) for name, (row, _, _) in FORMATS.items()} | {
    "text-only beside images": Sample("llava", {"id": "t", "conversations": TURNS}, QUESTION),
    "caption": Sample("llava", CAPTION, QUESTION | {"images": 1}),
    "several": Sample("llava", SEVERAL, TALK | {"images": 3, "system": 1}),
    "parts": Sample("openai", PARTS, TALK | {"images": 1, "loss": 2, "placeholder": 1, "placeholder beside images": 1}),
    "marks as text": Sample(
        "xtuner", {"conversation": [{"input": "<image>?", "output": "<image>\n"}]}, QUESTION | {"placeholder": 2}
    ),
    "plain xtuner": Sample("xtuner", {"conversation": [{"system": "", "input": "", "output": " 文\n"}]}, {"plain": 1}),
    "a video": Sample("llava", CLIP, TALK | {"videos": 2, "images": 1}),
    "videos as parts": Sample("openai", CLIP_PARTS, QUESTION | {"videos": 1, "video-typed": 1, "video-beside": 1}),
    "imagefolder": Sample("imagefolder", {"file_name": "a.png", "text": "cap"}, QUESTION | {"images": 1}),
    "columns": Sample(
        "columns",
        {"q": "Q", "a": "A", "pic": "a.png", "s": "S"},
        QUESTION | {"images": 1, "system": 1},
        {"input": "q", "output": "a", "image": "pic", "system": "s"},
    ),
}


def test_every_reader_has_a_sample_and_every_writer_a_limit() -> None:
    assert set(READERS) == {sample.format for sample in SAMPLES.values()}
    assert set(WRITERS) == set(REFUSES)
    assert {name: writer.reader for name, writer in WRITERS.items()} == READ_AS


def given(folder: Path, sample: Sample, rows: int = 1) -> Source:
    (folder / "rows.jsonl").write_text((json.dumps(sample.row, ensure_ascii=False) + "\n") * rows, encoding="utf-8")
    return Source(path=str(folder / "rows.jsonl"), format=sample.format, columns=sample.columns or {})


def less(messages: tuple[Message, ...], losses: set[str]) -> tuple[Message, ...]:
    """What is left of a conversation, neighbouring texts join_texts: a slow second telling of what the writers do."""
    kept = []
    for message in messages:
        if message.role == "system" and "system" in losses:
            continue
        parts: list[MessagePart] = []
        for part in message.parts:
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] = parts[-1] + part
            else:
                parts.append(part)
        kept.append(replace(message, parts=tuple(parts), loss=message.loss or "loss" in losses))
    return tuple(kept)


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("name", SAMPLES)
def test_round_trip(tmp_path: Path, name: str, to: str) -> None:
    sample = SAMPLES[name]
    source, out = given(tmp_path, sample, rows=2), tmp_path / "out.json"
    (before, _) = read(source, Path())
    if impossible := REFUSES[to] & set(sample.has):
        with pytest.raises(RecordError) as caught:
            convert(ConvertOptions(source, out, to))
        assert caught.value.place.line == 1 and any(FEATURES[it][1] in caught.value.found for it in impossible)
        assert not out.exists()
        return
    report = convert(ConvertOptions(source, out, to))
    back = list(read(Source(path=str(out), format=READ_AS[to]), Path()))
    losses = LOSES.get(to, set())
    assert [item.messages for item in back] == [less(before.messages, losses)] * 2
    assert report.lost == {it: 2 * sample.has[it] for it in losses & set(sample.has)}
    assert report.written == 2
    has_id = "id" in sample.row
    assert [item.place.id for item in back] == [str(sample.row["id"]) if has_id else ""] * 2


def test_the_matrix_covers_every_case() -> None:
    """Counted, since a matrix in which everything is refused would pass too."""
    held = Counter[str]()
    lossy = Counter[str]()
    for sample in SAMPLES.values():
        for to in WRITERS:
            held[to] += not REFUSES[to] & set(sample.has)
            lossy[to] += bool(not REFUSES[to] & set(sample.has) and LOSES.get(to, set()) & set(sample.has))
    assert min(held.values()) >= 2, held
    assert set(lossy) - {to for to in lossy if not lossy[to]} == {"llava", "sharegpt", "alpaca"}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("to", WRITERS)
def test_round_trip_in_other_file_types(tmp_path: Path, to: str, suffix: str) -> None:
    """All samples that a format holds, one file each, mixed: text-only rows, captions and several images."""
    for picture in ("a.png", "b.png", "sub/猫.png"):
        (tmp_path / picture).parent.mkdir(exist_ok=True)
        (tmp_path / picture).write_bytes(b"\x89PNG" + picture.encode())
    for clip, start in (("a.mp4", b"\0\0\0\x18ftypisom"), ("sub/b.webm", b"\x1aE\xdf\xa3")):
        (tmp_path / clip).write_bytes(start + bytes(99))
    samples = [one for one in SAMPLES.values() if one.format in ("llava", "xtuner", "openai", "text", "alpaca")]
    compared = images = 0
    for sample in samples:
        if REFUSES[to] & set(sample.has):
            continue
        source, out = given(tmp_path, sample), tmp_path / f"out{suffix}"
        (before,) = read(source, Path())
        convert(ConvertOptions(source, out, to))
        (back,) = read(Source(path=str(out), format=READ_AS[to]), Path())
        wanted = less(before.messages, LOSES.get(to, set()))
        assert back.messages == (tuple(map(with_bytes, wanted)) if suffix == ".parquet" else wanted)
        compared, images = compared + 1, images + len(back.images)
    assert compared >= 2 and (images >= 4) == ("images" not in REFUSES[to] and to != "text")


def with_bytes(message: Message) -> Message:
    parts = (it if isinstance(it, str) else type(it)(data=Path(it.path).read_bytes()) for it in message.parts)
    return replace(message, parts=tuple(parts))


HAND_WRITTEN: dict[str, tuple[Json, Json]] = {
    "llava": (
        SEVERAL,
        {
            "id": 7,
            "image": ["a.png", "b.png", "a.png"],
            "system": "看图",
            "conversations": [
                {"from": "human", "value": "<image>\n<image>\n\nWhich? "},
                {"from": "gpt", "value": "The first.\n"},
                {"from": "human", "value": "And\n<image>"},
                {"from": "gpt", "value": "Both"},
            ],
        },
    ),
    "messages": (
        CAPTION,
        {
            "id": "猫-1",
            "messages": [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "一只猫。\n"}],
            "images": ["sub/猫.png"],
        },
    ),
    "openai": (
        CAPTION,
        {
            "id": "猫-1",
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "sub/猫.png"}}]},
                {"role": "assistant", "content": "一只猫。\n"},
            ],
        },
    ),
    "sharegpt": ({"id": "t", "conversations": TURNS}, {"id": "t", "conversations": TURNS}),
    "xtuner": (
        FORMATS["openai"][0],
        {
            "conversation": [
                {"system": "S", "input": "Q", "output": "A", "output_with_loss": False},
                {"input": "Q2", "output": "A2"},
            ]
        },
    ),
    "alpaca": (FORMATS["alpaca"][0], {"instruction": "I\nQ", "input": "", "output": "A"}),
    "text": ({"text": " Once\n"}, {"text": " Once\n"}),
}


@pytest.mark.parametrize("to", WRITERS)
def test_records_as_written_by_hand(tmp_path: Path, to: str) -> None:
    row, wanted = HAND_WRITTEN[to]
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    source = Source(path=str(tmp_path / "rows.jsonl"))
    for name in ("out.json", "out.jsonl"):
        convert(ConvertOptions(source, tmp_path / name, to))
    line = json.dumps(wanted, ensure_ascii=False)
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == f"[\n{line}\n]\n"
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == line + "\n"
    assert source_format(Source(path=str(tmp_path / "out.json")), Path())[0] == {"sharegpt": "llava"}.get(
        to, READ_AS[to]
    )


def test_llava_records_load_unchanged(tmp_path: Path) -> None:
    """system.md's forms: a system prompt on the first turn only, and LLaVA JSON with text-only rows mixed in."""
    turn = {"system": "你是助手", "input": "你是谁", "output": "我是小睛"}
    course = [{"conversation": [turn, {"input": "再说", "output": "小睛"}]}, {"conversation": [turn]}]
    llava = [CAPTION, {"id": "t", "conversations": TURNS}, SEVERAL]
    for rows, to in ((course, "messages"), (llava, "openai")):
        (tmp_path / "in.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        convert(ConvertOptions(Source(path=str(tmp_path / "in.json")), tmp_path / "out.jsonl", to))
        before = [one.messages for one in read(Source(path=str(tmp_path / "in.json")), Path())]
        assert [one.messages for one in read(Source(path=str(tmp_path / "out.jsonl")), Path())] == before
    assert before[1] == ONE and len(before[2][3].parts) == 2


def report_of(folder: Path, rows: list[Json], to: str, **more: bool) -> ConvertReport:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return convert(ConvertOptions(Source(path=str(folder / "rows.jsonl")), folder / "out.jsonl", to, **more))


def test_what_is_lost_is_reported_and_counted(tmp_path: Path) -> None:
    written: Json = FORMATS["openai"][0] | {"tools_used": 1, "empty": None}
    rows = [PARTS | {"note": "of a record that is left out"}, written, written]
    report = report_of(tmp_path, rows, "llava", skip=True)
    out = tmp_path / "out.jsonl"
    assert report.lines() == [
        f"{tmp_path / 'rows.jsonl'}: read as openai (the first 3 rows have messages with role and content)",
        f"{out}: 2 records as llava",
        "lost: loss flags of answers (2): llava has no place for them",
        "lost: field tools_used of 2 records",
        "left out: 1 record (<image> typed as text)",
        f"the first record left out: {tmp_path / 'rows.jsonl'}:1",
    ]
    assert len(out.read_text().splitlines()) == 2


def test_unanswered_records_and_rejected_answers(tmp_path: Path) -> None:
    marked = {"instruction": "I", "input": "", "output": "<nooutput>"}
    report = report_of(tmp_path, [marked, {"instruction": "I", "output": "A"}], "xtuner")
    assert (report.written, report.left_out) == (1, {"marked as unanswered": 1})
    assert "left out: 1 record marked as unanswered" in report.lines()
    pair: Json = {"prompt": "Q", "chosen": "A", "rejected": "B"}
    assert "lost: field rejected of 2 records" in report_of(tmp_path, [pair, pair], "alpaca").lines()
    quoted: Json = {"conversation": [{"input": "Q", "output": " <nooutput>"}]}
    with pytest.raises(RecordError, match="answers <nooutput>: alpaca cannot hold them. Write it as llava"):
        report_of(tmp_path, [quoted], "alpaca")


def test_the_report_names_the_reader_if_auto_would_choose_another(tmp_path: Path) -> None:
    lines = report_of(tmp_path, [{"text": "### Human: Q### Assistant: A"}, {"text": "x"}], "text").lines()
    assert not any("auto takes it" in line for line in lines)
    (tmp_path / "rows.jsonl").write_text('{"text": "### Human: Q"}\n')
    source = Source(path=str(tmp_path / "rows.jsonl"), format="text")
    lines = convert(ConvertOptions(source, tmp_path / "out.jsonl", "text")).lines()
    assert lines[-1] == "read it with format: text; auto takes it for oasst1"


def test_after_a_refused_record_no_file_is_left(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("as it was")
    rows: list[Json] = [{"conversations": TURNS}, {"conversations": TURNS * 2}]
    found = r"rows.jsonl:2: record: records of several turns: alpaca cannot hold them. Write it as llava, messages"
    with pytest.raises(RecordError, match=found):
        report_of(tmp_path, rows, "alpaca")
    assert (tmp_path / "out.jsonl").read_text() == "as it was"
    with pytest.raises(DataError, match="no record is left that alpaca can hold"):
        report_of(tmp_path, rows[1:], "alpaca", skip=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


@pytest.mark.parametrize(
    ("out", "more", "message"),
    [
        ("rows.jsonl", {}, "is the input"),
        ("./x/../rows.jsonl", {}, "is the input"),
        ("out.csv", {}, "an unknown suffix. Use .json, .jsonl"),
        ("out.jsonl", {"to": "LLaVA"}, "--to LLaVA: is not an output format. Choose from llava, messages"),
        ("out.jsonl", {"data_urls": True}, "--data-urls: needs --to openai"),
        ("out.parquet", {"copy_images": True}, "--copy-images: a parquet file embeds"),
        ("out.jsonl", {"annotations": Path("a.json")}, "--annotations: only for vqav2 and refcoco"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, out: str, more: dict[str, object], message: str) -> None:
    source = given(tmp_path, SAMPLES["llava"])
    with pytest.raises(ConfigError, match=message):
        convert(ConvertOptions(source, tmp_path / out, **({"to": "llava"} | more)))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_inputs_and_outputs_that_are_refused(tmp_path: Path) -> None:
    source = given(tmp_path, SAMPLES["llava"])
    with pytest.raises(ConfigError, match="format lava is not an input format. Choose from auto, preference.*easy_vqa"):
        convert(ConvertOptions(source.model_copy(update={"format": "lava"}), tmp_path / "o.json", "text"))
    with pytest.raises(ConfigError, match="is the input"):  # it would be read the next time
        convert(ConvertOptions(Source(path=str(tmp_path)), tmp_path / "new" / "o.json", "text"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(RunError, match="folder.json"):
        convert(ConvertOptions(source, tmp_path / "folder.json", "llava"))
    assert set(TABLES) & set(READERS) == set()


def test_records_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record is written before the next is read."""
    from data_tools.convert import convert as module

    order: list[str] = []

    def noted(conversation: Conversation) -> Conversation:
        order.append("read")
        return join_texts(conversation)

    def writes(path: Path, rows: Iterator[Json], format: str) -> int:
        order.extend("write" for _ in rows)
        return 3

    monkeypatch.setattr(module, "join_texts", noted)
    monkeypatch.setattr(module, "write_rows", writes)
    convert(ConvertOptions(given(tmp_path, SAMPLES["llava"], rows=3), tmp_path / "o.json", "llava"))
    assert order == ["read", "write"] * 3


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cats.csv").write_text("pic,cap,q\nb/1.png,一只猫,什么？\n", encoding="utf-8")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").write_bytes(b"an image")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["eyegraft", "data", "convert", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    columns = ["--columns", "image=pic", "--columns", "output=cap", "--columns", "input=q"]
    output = "cats.csv: read as columns (columns are given in the recipe)\nout.jsonl: 1 record as llava\n"
    output += "next: eyegraft data check out.jsonl\n      eyegraft data show out.jsonl\n"
    assert run("cats.csv", "out.jsonl", "--to", "llava", *columns) == (0, output, "")
    (back,) = read(Source(path="out.jsonl"), Path())
    assert back.messages == (user(ImageRef(str(tmp_path / "b" / "1.png")), "什么？"), bot("一只猫"))
    code, _, error = run("cats.csv", "out.jsonl", "--to", "alpaca", *columns)
    assert code == 3 and "cats.csv:2: record: images: alpaca cannot hold them" in error
    code, _, error = run("cats.csv", "out.jsonl", "--to", "alpaca", "--columns", "image")
    assert code == 2 and "--columns image: write ROLE=COLUMN" in error


def test_adjacent_texts_are_joined() -> None:
    split = Conversation((system("S"), Message("user", ("a", "", "b", ImageRef("x"), "c", "d")), bot("A")), Place("f"))
    assert join_texts(split).messages == (system("S"), user("ab", ImageRef("x"), "cd"), bot("A"))
