"""Chinese texts in code, pages and notebooks: full-width marks, and spaces beside Latin letters and digits."""

import ast
import json
import re
from collections.abc import Iterator

import pytest

from tests.docs.blocks import ROOT

SPACES = "no space beside Latin or digits"
PACKAGES = ("llm", "vlm", "data_tools", "demo")
HAN = "[\u3400-\u4dbf\u4e00-\u9fff]"
OTHERS = "[\u3040-\u30ff\uac00-\ud7af]"  # kana and hangul: samples of several scripts, no texts
FULL = "，。：；？！、（）《》“”"
# A half-width mark beside a Chinese character, unless a digit, a path or code follows it as in `a.b`.
FAULTS = {
    "half-width mark": re.compile(rf"{HAN}[,;:?!]|[,;:?!]{HAN}|{HAN}\.(?=\s|$|{HAN})"),
    "half-width bracket": re.compile(rf"{HAN} ?\((?=[^)]*{HAN})|\({HAN}|{HAN}\)"),
    "ellipsis": re.compile(rf"{HAN}(?:\.{{2,}}|。{{2,}}|…(?!…))|(?<!…)…{HAN}"),
    "dash": re.compile(rf"{HAN} --? {HAN}|{HAN}--{HAN}|(?<!—)—(?!—)"),
    "space at a full-width mark": re.compile(rf"(?<=[{HAN[1:-1]}]) [{FULL}]|[，。：；？！、）] (?={HAN})"),
    "quotes": re.compile(rf"{HAN} ?\"(?={HAN})|\"{HAN}+\" ?{HAN}"),
    SPACES: re.compile(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}"),
}
# One word for one thing; those of XTuner's and LLaMA-Factory's Chinese documentation where they agree.
TERMS = {
    "图像": "图片",
    "词元": "token",
    "令牌": "token，或密钥",
    "投影层": "投影器",
    "视觉编码器": "视觉塔",
    "视觉主干": "视觉塔",
    "聊天模板": "对话模板",
    "训练配置": "配方",
    "断点": "检查点",
    "评估": "评测",
    "系统提示(?!词)": "系统提示词",
}


def faults(text: str) -> list[str]:
    """What is wrong, with a few characters around it."""
    return [
        f"{kind}: {text[max(0, found.start() - 12) : found.end() + 12]!r}"
        for kind, pattern in FAULTS.items()
        for found in pattern.finditer(text)
    ] + [f"term: {found[0]}, {term}" for wrong, term in TERMS.items() for found in re.finditer(wrong, text)]


def prose(page: str) -> str:
    """Markdown without code blocks, addresses of links, comments and HTML tags; code is `x9`."""
    for pattern, kept in (
        (r"^```.*?^```$", ""), (r"<!--.*?-->", ""), (r"`[^`\n]*`", "x9"), (r"\]\([^)\s]*\)", "]"), (r"<[^>\n]+>", ""),
    ):  # fmt: skip
        page = re.sub(pattern, kept, page, flags=re.MULTILINE | re.DOTALL)
    return page


def pages() -> dict[str, str]:
    """Prose of every Chinese page and notebook."""
    found = [*ROOT.glob("*.zh*.md"), *(ROOT / "docs").rglob("*.zh.md")]
    texts = {str(page.relative_to(ROOT)): prose(page.read_text("utf-8")) for page in found}
    for notebook in (ROOT / "docs").rglob("*.zh.ipynb"):
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        text = "\n\n".join(prose("".join(cell["source"])) for cell in cells if cell["cell_type"] == "markdown")
        texts[str(notebook.relative_to(ROOT))] = text
    return texts


def strings(source: str) -> Iterator[str]:
    """String literals of a module that hold Chinese; implicitly joined ones are one, code is `x9`."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(HAN, node.value)
            and not re.search(OTHERS, node.value)
        ):
            yield re.sub(r"`[^`\n]*`", "x9", node.value)


PAGES = pages()
DATA = (  # what users write: many leave out the spaces
    "demo/probes.json",
    "data_tools/generate/identity_zh.json",
    "data_tools/generate/wide_zh.json",
)
PATTERNS = ("vlm/scores/answer_reading.py", "vlm/scores/refusals.py")  # regular expressions of what models answer
MODULES = {
    str(file.relative_to(ROOT)): found
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
    if (found := list(strings(file.read_text("utf-8"))))
}


@pytest.mark.parametrize("page", PAGES)
def test_pages(page: str) -> None:
    assert faults(PAGES[page]) == []


@pytest.mark.parametrize("module", MODULES)
def test_texts_in_code(module: str) -> None:
    if module in PATTERNS:
        return
    users = module == "llm/records/field_names.py"  # words that users write
    found = [fault for text in MODULES[module] for fault in faults(text)]
    assert [fault for fault in found if not (users and fault.startswith("term"))] == []


@pytest.mark.parametrize("file", DATA)
def test_questions_and_answers(file: str) -> None:
    texts = re.findall(r'"((?:[^"\\]|\\.)*)"', (ROOT / file).read_text("utf-8"))
    assert [fault for text in texts for fault in faults(text) if not fault.startswith((SPACES, "term"))] == []


def test_there_are_texts() -> None:
    assert len(PAGES) > 30 and "llm/i18n/chinese_data.py" in MODULES and "demo/pages/i18n.py" in MODULES


@pytest.mark.parametrize(
    "text", ["你好,世界", "完成.", "说明:见下", "文件(见下文)", "文件 (见下文)", "等等...", "等等…", "一 - 二",
             "一--二", "第2步", "图片 。", "好， 再来",
             '称为"图片"的', "使用LoRA训练", "训练LoRA", "一张图像", "系统提示为空"],
)  # fmt: skip
def test_faults_are_found(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize(
    "text", ["你好，世界。", "见 a.b 文件：一、二", "等等……", "文件（a.json）", "使用 LoRA 训练",
             "3.5 秒 1,000 条", "一——二", "第 2 步",
             "f(x) 函数", "系统提示词为空"],
)  # fmt: skip
def test_right_texts_have_none(text: str) -> None:
    assert faults(text) == []
