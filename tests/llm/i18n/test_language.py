"""The language of commands: which variable decides, what is in Chinese under it, and what stays English."""

import json
import re
import sys
from pathlib import Path

import pytest

from llm import console
from llm.errors import ConfigError
from llm.i18n.language import language
from llm.i18n.translate import width
from vlm.app import cli

RECORDS = [
    {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": ""}]},
    {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}], "note": "a long text"},
]
RECIPE = "name: small\nmodel: {llm: x/y}\ndata: {sources: [{path: b.json}]}\n"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "zh_TW.UTF-8@stroke"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LC_CTYPE": "zh_CN.UTF-8", "LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "zh_CN.UTF-8", "EYEGRAFT_LANG": "en"}, "en"),
        ({"LC_ALL": "zh_CN.UTF-8", "EYEGRAFT_LANG": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "EYEGRAFT_LANG": ""}, "zh"),
        *(({"LANG": "C", "EYEGRAFT_LANG": value}, "zh") for value in ("zh", "ZH", "zh_CN", "zh-Hans", " zh_CN.UTF-8 ")),
    ],
)
def test_the_variable_then_the_locale_decide(variables: dict[str, str], expected: str) -> None:
    assert language(variables, "utf-8") == expected


@pytest.mark.parametrize(("encoding", "expected"), [("ascii", "en"), ("latin-1", "en"), ("gbk", "zh"), ("utf-8", "zh")])
def test_a_locale_is_followed_only_where_the_terminal_has_the_characters(encoding: str, expected: str) -> None:
    assert language({"LC_ALL": "zh_CN"}, encoding) == expected
    assert language({"EYEGRAFT_LANG": "zh"}, encoding) == "zh", "asked for by name"


@pytest.mark.parametrize("value", ["fr", "chinese", "zhx", "_"])
def test_another_language_is_refused_by_name(value: str) -> None:
    with pytest.raises(ConfigError, match=f"EYEGRAFT_LANG={value}: .* Set it to en or zh"):
        language({"EYEGRAFT_LANG": value})


def run(*arguments: str) -> int:
    """The exit code of the command."""
    sys.argv = ["eyegraft", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which commands run, in Chinese."""
    monkeypatch.setenv("EYEGRAFT_LANG", "zh")
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    return tmp_path


def test_data_check_in_chinese(chinese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", "a.jsonl") == 3
    assert capsys.readouterr().out.replace(f"{chinese}/", "").splitlines() == [
        "2 条记录，0 张图片",
        "          1  警告  field-unread        字段中的文本未被读取",
        "          1  错误  answer-empty        回答为空",
        "",
        "field-unread：字段中的文本未被读取",
        "  a.jsonl:2：note：不会被读取。它不会参与训练：请移到该格式会读取的字段，或将其删除",
        "",
        "answer-empty：回答为空",
        "  a.jsonl:1：第 2 条消息（assistant）：为空。请补上文字，或删除该记录",
        "",
        "2 条记录：其中 1 条不能用于训练",
        "下一步：eyegraft data check a.jsonl --fix a.fixed.jsonl",
    ]


def test_what_programs_read_stays_english(chinese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", "a.jsonl", "--json") == 3
    assert capsys.readouterr().out.isascii()


def test_a_fixed_file_and_its_commands(chinese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("data", "check", "a.jsonl", "--fix", "b.jsonl")
    run("data", "check", "b.jsonl", "--first", "0")
    said = capsys.readouterr().out.splitlines()
    assert "b.jsonl：1 条记录，内容未改动" in said
    assert said[-3:] == [
        "1 条记录：全部可以用于训练",
        "下一步：eyegraft data show b.jsonl",
        "        eyegraft train RECIPE data.sources.0.path=b.jsonl",
    ], "below each other: a Chinese character has two columns"


def test_errors_in_chinese_or_complete_english(chinese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text(f"{RECIPE}nonsense: 1\n")
    assert run("data", "check", "a.yaml", "--split", "x") == 2
    assert capsys.readouterr().err == (
        "错误：a.yaml：这些选项不适用于配方。"
        "请去掉 --fix、--allow-urls、--images、--format、--split、--columns 和 --boxes，或直接写数据文件名\n"
    )
    assert run("validate", "a.yaml") == 2
    assert capsys.readouterr().err.startswith("错误：a.yaml:4：nonsense：未知的键；可用的键：")
    assert run("validate", "a.yaml", "nonsense.x=1") == 2
    assert capsys.readouterr().err.startswith("错误：命令行：nonsense.x：'x' 要在 1 中查找")


def test_the_verdict_on_a_recipe(chinese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text(RECIPE)
    assert run("validate", "a.yaml") == 0
    said = capsys.readouterr()
    assert said.out.isascii(), "the recipe itself"
    assert said.err.splitlines() == [
        "model.llm：x/y：本地没有这个文件夹；将视为模型仓库的名称并下载",
        "data.sources.0.path：b.json：不存在；您是想写 a.jsonl 吗？",
        "a.yaml：配方有效；其中列出的文件有 2 个不存在",
        "下一步：eyegraft plan a.yaml",
        "        eyegraft train a.yaml",
    ]


def test_help_pages_and_usage_errors(
    chinese: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("data", "stats", "--help") == 0
    page = capsys.readouterr().out
    assert page.startswith("用法：eyegraft data stats [OPTIONS]") and "\n参数：\n" in page and "\n示例：\n" not in page
    options, _, examples = page.partition("  示例：\n")
    assert "eyegraft data stats my-run.yaml --plots plots" in examples
    assert not re.search("[a-z]{2,} [a-z]{2,} [a-z]{2,}", options.partition("\n")[2]), "words in a row"
    assert all(width(line) <= 80 for line in page.splitlines())
    assert run("train", "a.yaml", "--nproc", "x") == 2
    assert capsys.readouterr().err.endswith("用 eyegraft train --help 查看帮助。\n\n错误：--nproc 的值无效：应为整数\n")


def test_what_a_model_wrote_is_never_translated(chinese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console.raw("no such file")
    console.out("no such file")
    assert capsys.readouterr().out == "no such file\n文件不存在\n"


def test_an_unknown_language_is_an_error(
    chinese: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EYEGRAFT_LANG", "fr")
    assert run("data", "check", "a.jsonl") == 2
    assert capsys.readouterr().err.startswith("error: EYEGRAFT_LANG=fr: ")
