"""Translation of finished messages: values, order, parts, and that every message about data has its Chinese text."""

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm.errors import Place, RecordError
from llm.formats.refused_formats import REFUSED
from llm.i18n.catalogue import TABLES
from llm.i18n.translate import translated, translated_error, translated_output

ROOT = Path(__file__).resolve().parents[3]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("is a number, not text", "是数字，应为文本"),
        ("2 <image> placeholders but 1 image given", "有 2 个 <image> 占位符，却给出 1 张图片"),
        ("broken at line 12 column 8: Unterminated string starting at", "第 12 行第 8 列出错：字符串没有结束引号"),
        ("repeats record 3", "与第 3 条记录重复"),
        ("is from user, not from assistant", "来自 user，应来自 assistant"),
        ("'<|im_end|>' typed as text", "文本中写有 '<|im_end|>'"),
        ('Write every record as {"name": value, ...}', '每条记录都应写成 {"name": value, ...}'),
        ("message 3 (user)", "第 3 条消息（user）"),
        (
            "x: not found under runs. Train one, then reload the page",
            "在 runs 下找不到 x。请先训练一个模型，然后刷新页面",
        ),
        ("what has no translation", "what has no translation"),
        ("the key {a} of {b}", "the key {a} of {b}"),
    ],
)
def test_messages_are_translated_with_their_values(english: str, chinese: str) -> None:
    assert translated(english, "zh") == chinese
    assert translated(english, "en") == english


def test_the_parts_of_an_error_are_translated() -> None:
    error = RecordError(
        Place("a.json", 7, "x"), "message 2 (assistant)", "is empty", "Write its text or remove the record"
    )
    assert (
        translated(str(error), "zh") == "a.json:7 (record x)：第 2 条消息（assistant）：为空。请补上文字，或删除该记录"
    )
    assert translated("cat.png: the image is empty. New advice", "zh") == "cat.png：图片文件为空（0 字节）。New advice"


def test_a_long_message_that_quotes_a_file_takes_no_time() -> None:
    began = time.perf_counter()
    for piece in (". ", ": ", ", ", " is ", "keys , while the rows before it are "):
        translated((piece * 2000)[:2000], "zh")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  weights          12.34 GiB", "  权重             12.34 GiB"),
        ("  in all           12.34 GiB: fits", "  合计             12.34 GiB：放得下"),
        ("(new conversation)", "（新对话）"),
        ("warning: a.json: the image is empty", "警告：a.json：图片文件为空（0 字节）"),
        ("a.yaml: data.sources: found a list of 0; give at least one",
         "a.yaml：data.sources：现为含 0 项的列表；请至少给出一个"),
        ("never seen  in any table", "never seen  in any table"),
        ("first line, never seen\nstep 3", "first line, never seen\nstep 3"),
    ],
)  # fmt: skip
def test_what_a_command_prints_is_translated_line_by_line_and_cell_by_cell(line: str, shown: str) -> None:
    assert translated_output(line, "zh") == shown
    assert translated_output(line, "en") == line


def test_a_known_sentence_before_an_unknown_one_stays_english() -> None:
    known = "a.json: no text has {{NAME}} or {{AUTHOR}}. "
    assert translated_error(f"{known}Do what nobody translated", "zh") == f"{known}Do what nobody translated"


# Every message -----------------------------------------------------------------------------------------------------

RAISERS = {"RecordError", "ImageError", "Finding", "error", "_broken", "_finding", "_oversized"}
TEXTS = {"found", "advice", "move", "BITS"}
SOURCES = (
    "llm/formats",
    "llm/records",
    "llm/rows",
    "data_tools/check",
    "data_tools/rows",
    "vlm/vision/file_kinds.py",
    "vlm/vision/images.py",
    "llm/encoding/encoder.py",
)
SAME_IN_BOTH = {"JSON", "CSV", "parquet"}


def messages(source: str) -> Iterator[str]:
    """The texts that a module raises: strings passed to RAISERS, and those assigned to TEXTS; values as `{}`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in RAISERS:
                for argument in node.args:
                    yield from _texts(argument)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                if any(isinstance(one, ast.Name) and one.id in TEXTS for one in names):
                    yield from _texts(node.value)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(map(_piece, node.values))
    elif isinstance(node, ast.IfExp):
        yield from (*_texts(node.body), *_texts(node.orelse))
    elif isinstance(node, ast.Tuple):
        for part in node.elts:
            yield from _texts(part)


def _piece(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    return "<image>" if isinstance(part, ast.FormattedValue) and ast.unparse(part.value) == "PLACEHOLDER" else "\0"


def untranslated(source: str) -> list[str]:
    """The texts without Chinese. Names of fields, codes, and what only joins values are not texts."""
    filled = {text: text.replace("\0", "7") for text in messages(source) if re.search("[a-z] |[a-z]$", text)}
    return [
        text for text, shown in filled.items() if " " in text.strip() and not CHINESE.search(translated(shown, "zh"))
    ]


@pytest.mark.parametrize("place", SOURCES)
def test_every_message_about_data_has_its_chinese_text(place: str) -> None:
    path = ROOT / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    missing = {str(file.relative_to(ROOT)): found for file in files if (found := untranslated(file.read_text("utf-8")))}
    assert missing == {}, "add them to llm/i18n/chinese_data.py"


def test_every_refused_form_has_its_chinese_text() -> None:
    texts = [text for _, found, advice in REFUSED for text in (found, advice)]
    assert [text for text in texts if not CHINESE.search(translated(text, "zh"))] == []


def test_untranslated_messages_are_found() -> None:
    assert untranslated('raise RecordError(place, "f", f"{a} was never seen", "Do what has no name")') == [
        "\0 was never seen",
        "Do what has no name",
    ]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_chinese_texts_have_full_width_punctuation_and_every_value(table: str) -> None:
    for english, chinese in TABLES[table].items():
        values = [f"v{number}" for number in range(english.count("{}"))]
        text = chinese.format(*values)
        assert all(value in text for value in values), english
        assert not re.search(r"[\u4e00-\u9fff][,:;()?!]|[,:;()?!][\u4e00-\u9fff]", text), f"{english}: half-width mark"


# Errors of commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("my data/a b.jsonl:2 (record cat one): value: is empty. Write its text or remove the record",
         "my data/a b.jsonl:2 (record cat one)：value：为空。请补上文字，或删除该记录"),
        ("a.json: value: is empty. Do what nobody translated", None),
        ("a.yaml: something never seen. Write its text or remove the record", None),
        ("text: format: image", None),  # a file and keys
        ("never seen", None),
        ("a.yaml:3: train.batch: found 'x'; write a whole number", "a.yaml:3：train.batch：现为 'x'；请写整数"),
        ("a.yaml:3: optim.lr: found -1; it should be greater than 0", "a.yaml:3：optim.lr：现为 -1；应大于 0"),
        ("a.yaml:2: tune.kind: found 'lorra'; choose full, lora or qlora; did you mean lora?",
         "a.yaml:2：tune.kind：现为 'lorra'；请选择 full, lora 或 qlora；您是想写 lora 吗？"),
        ("a.yaml:1: nonsense: unknown key; known keys: name, out", "a.yaml:1：nonsense：未知的键；可用的键：name, out"),
        ("a.yaml:2: out: missing; the folder that a run writes", None),  # a field's description has no Chinese
        ("a.yaml: x: missing; add it\na.yaml: y: missing; add it", "a.yaml：x：缺失；请补上\na.yaml：y：缺失；请补上"),
        ("a.yaml: x: missing; add it\na.yaml: y: missing; the folder of it", None),
        ("none: no such file or recipe. Remember", None),
        ("x: the recipe changed since it was written:\n  was: batch: 3\n  now: batch: 4",
         "x：写出之后配方有改动：\n  原来：batch: 3\n  现在：batch: 4"),
        ("stopped. The same command starts again", "已停止。再次运行同一命令会重新开始"),
    ],
)  # fmt: skip
def test_an_error_is_all_chinese_or_all_english(message: str, shown: str | None) -> None:
    assert translated_error(message, "zh") == (shown or message)
    assert translated_error(message, "en") == message
