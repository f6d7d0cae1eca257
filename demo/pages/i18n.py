"""All texts of the pages, in English and Chinese, and the lines made from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from data_tools.check.findings import CODES
from data_tools.check.fix import FixResult
from demo.pages.language import preferred_language
from demo.pages.parts.check_session import CheckResult
from demo.pages.parts.curves import PANELS
from demo.pages.parts.html_table import html_table
from demo.pages.parts.records import RecordView
from demo.pages.parts.run_status import RunState
from demo.probes import NOT_ASKED, NOT_JUDGED
from llm.i18n.translate import Language

MAX_SKIPPED, MAX_REASON = 10, 300  # skipped folders that are listed; characters of a name or reason

# Labels, which gradio's frontend chooses by the browser's language.
LABELS = {
    "title": ("Eyegraft", "Eyegraft"),
    "chat": ("Chat", "对话"),
    "compare": ("Compare", "对比"),
    "runs": ("Runs", "训练"),
    "data": ("Data", "数据"),
    "model": ("Model", "模型"),
    "own_chat": ("Each model has a conversation of its own.", "每个模型的对话各自独立。"),
    "settings": ("Settings", "设置"),
    "system": ("System prompt", "系统提示词"),
    "temperature": ("Temperature (0: greedy)", "温度（0 为贪心解码）"),
    "top_p": ("Top-p", "Top-p"),
    "top_k": ("Top-k (0: off)", "Top-k（0 为不限）"),
    "penalty": ("Repetition penalty (1: off)", "重复惩罚（1 为关闭）"),
    "new_tokens": ("Max new tokens", "最大生成 token 数"),
    "seed": ("Seed", "随机种子"),
    "stop": ("Stop sequences, comma-separated", "停止词（用逗号分隔）"),
    "still_counts": (
        "The image of an earlier message still counts for the next answer.",
        "之前消息中的图片对下一个回答仍然有效。",
    ),
    "new_chat": ("Start without it: new chat", "不带图片重新开始：新对话"),
    "ask": ("Ask a question or add an image", "输入问题，或添加图片"),
    "ask_text": ("Ask a question (this model reads text only)", "输入问题（该模型只能读文本）"),
    "chat_begins": ("Ask the model something below.", "在下方输入问题，开始对话。"),
    "data_begins": (
        "**Show random records** shows what the model reads of a record, and which of its words it learns. "
        "**Check file** looks at every record and writes a file without those that cannot be trained on.",
        "**随机查看记录**：查看模型实际读到的内容，以及其中哪些文字会被学习。"
        "**检查文件**：逐条检查全部记录，并可生成剔除了不可用记录的文件。",
    ),
    "chat_heading": ("## Chat", "## 对话"),
    "compare_heading": ("## Compare two models", "## 对比两个模型"),
    "runs_heading": ("## Runs", "## 训练任务"),
    "data_heading": ("## Training data", "## 训练数据"),
    "question": ("Question", "问题"),
    "conversation": ("Conversation", "对话记录"),
    "author": ("Weights that answered", "作答的权重"),
    "images": ("Images of the record", "记录中的图片"),
    "ask_both": ("Ask both", "同时提问"),
    "left": ("Model A", "模型 A"),
    "right": ("Model B", "模型 B"),
    "answer": ("Answer", "回答"),
    "probes_about": (
        "### Probe questions\n\n"
        "Ask both models the same questions: identity, leading questions, general knowledge, and questions about "
        "images of the data file below. Each image question is asked with its own image, a blank one, and one of "
        "another record, which has a different answer if the file has one. A hit is always the answer for the own "
        "image: a model that uses the image has more hits with it than with the other two.",
        "### 探针问题\n\n"
        "向两个模型提同样的问题：身份、诱导性提问、常识，以及下方数据文件中的图片问题。每个图片问题分别配原图、空白图片"
        "和另一条记录的图片各问一次；只要文件中有，就选答案不同的记录。命中始终以原图的答案为准：真正看图的模型，"
        "配原图时的命中数应高于另外两种情况。",
    ),
    "name": (
        "Expected assistant name (empty: identity is not judged)",
        "助手应自称的名字（留空则不评判身份问题）",
    ),
    "run_probes": ("Run probes", "运行探针问题"),
    "csv": ("Download CSV", "下载 CSV"),
    "markdown": ("Download Markdown", "下载 Markdown"),
    "run": ("Run", "任务"),
    "samples": ("Sample answers during training", "训练过程中的回答"),
    "report": ("Report", "报告"),
    "log": ("Latest log lines", "最近的日志"),
    "file": ("Data file", "数据文件"),
    "draw": ("Show random records", "随机查看记录"),
    "marked": (
        "Model input; supervised and image tokens are highlighted",
        "模型的输入（监督 token 和图片 token 已高亮）",
    ),
    "check": ("Check file", "检查文件"),
    "codes": ("Findings by type; select one to see its records", "按类型汇总的问题，选择一项查看相关记录"),
    "clean": ("Create cleaned file", "生成清洗后的文件"),
    "cleaned": ("Download cleaned file", "下载清洗后的文件"),
    "quarantine": ("Download removed records", "下载剔除的记录"),
    "no_models": (
        "No trained models yet. Run `make quickstart` or `eyegraft train RECIPE`, then reload the page.",
        "还没有训练好的模型。请运行 `make quickstart` 或 `eyegraft train RECIPE`，然后刷新页面。",
    ),
}

# What gradio's frontend has in English only, for screen readers.
OF_GRADIO = {
    "Copy message": "复制消息",
    "Copied message": "已复制消息",
    "Submit": "提交",
    "Stop": "停止",
    "More tabs": "更多标签页",
    "Loading content": "正在加载",
    "Loading response": "正在生成回答",
    "Upload a file": "上传文件",
    "Remove this file": "移除此文件",
    "Multimedia input field": "问题和图片",
    "chatbot conversation": "对话记录",
    "Reset to default value": "恢复默认值",
    "File upload": "上传文件",
    "Click to upload or drop files": "点击上传，或将文件拖放到这里",
    "Uploaded files": "已上传的文件",
    "Uploading": "正在上传",
    "View full screen": "全屏查看",
    "Close": "关闭",
}

# Texts made on the server, in the language of the request.
TEXTS = {
    "opening": ("{}: loading the model...", "{}：正在加载模型……"),
    "reading": (
        "{}: waiting for the first words. Others may be answered before...",
        "{}：正在等待第一个字，可能需要排队……",
    ),
    "writing": ("{}: writing...", "{}：正在回答……"),
    "text_only": ("(text-only model: not asked about images)", "（纯文本模型，未提问图片问题）"),
    "refused": (
        "Not answered: {}\n\nThe question is not part of the conversation.",
        "未能回答：{}\n\n该问题不会计入对话。",
    ),
    "code": ("{:,} x {}: {} ({})", "{:,} 处{} · {}（{}）"),
    "loss": ("loss", "损失"),
    "lr": ("learning rate", "学习率"),
    "tokens_per_s": ("tokens per second", "每秒 token 数"),
    "memory_gib": ("memory, GiB", "内存（GiB）"),
    "training": ("training", "训练"),
    "validation": ("validation", "验证"),
    "described": ("{}: {} at step {}, {} at step {}", "{0}：第 {2} 步为 {1}，第 {4} 步为 {3}"),
    "samples_table": ("Sample answers during training", "训练过程中的回答"),
    "report_table": ("Report", "报告"),
    "hits_table": ("Hits by kind of question", "各类问题的命中数"),
    "probes_table": ("All probe questions and answers", "全部探针问题与回答"),
    "log_lines": ("Latest log lines", "最近的日志"),
    "finished": ("finished", "已完成"),
    "running": ("running", "运行中"),
    "silent": (
        "no recent output: stopped, or busy with a long operation",
        "暂无新输出：可能已停止，或正在执行耗时操作",
    ),
    "step": ("step {}", "第 {} 步"),
    "last": ("last update {} ago", "{}前更新"),
    "left": ("about {} left", "预计还需 {}"),
    "hours": ("{} h {} min", "{} 小时 {} 分"),
    "minutes": ("{} min {} s", "{} 分 {} 秒"),
    "seconds": ("{} s", "{} 秒"),
    "odd": (
        "lines of metrics.jsonl not recognized and skipped: {:,}",
        "metrics.jsonl 中有 {:,} 行无法识别，已跳过",
    ),
    "skipped": ("**Folders that cannot be read and are not listed:**", "**以下文件夹无法读取，未列出：**"),
    "record_size": (
        "{:,} tokens ({:,} supervised, {:,} image tokens)",
        "{:,} 个 token（监督 {:,} 个，图片 {:,} 个）",
    ),
    "unit": ("records", "条记录"),
    "boxes": ("Boxes of the last answer, on the last image", "最近一次回答中的方框，画在最近的图片上"),
    "box": (
        "{}: left {:,}, top {:,}, right {:,}, bottom {:,} pixels",
        "{}：左 {:,}，上 {:,}，右 {:,}，下 {:,}（像素）",
    ),
    "box_number": ("box {}", "方框 {}"),
    "only_bases": (
        "No model has been trained yet: base models answer here. Once one has been trained, the newest opens here.",
        "还没有训练好的模型，这里由基础模型作答。训练完成后，这里会打开最新的模型。",
    ),
    "no_model": ("No model here can answer yet.", "这里还没有可以作答的模型。"),
    "train_one": ("Train a model", "训练模型"),
    "train_here": (
        "No model is here yet. Run <code>make quickstart</code> or <code>eyegraft train RECIPE</code>, then reload the "
        "page.",
        "这里还没有模型。请运行 <code>make quickstart</code> 或 <code>eyegraft train RECIPE</code>，然后刷新页面。",
    ),
    "train_on": ("Train on this file", "用此文件训练"),
    "so_far": ("checking", "正在检查"),
    "record": ("1 record", "1 条记录"),
    "records": ("{:,} records", "{:,} 条记录"),
    "image": ("1 image", "1 张图片"),
    "images": ("{:,} images", "{:,} 张图片"),
    "video": ("1 video", "1 个视频"),
    "videos": ("{:,} videos", "{:,} 个视频"),
    "bad": ("**not usable for training: {:,}**", "**{:,} 条不能用于训练**"),
    "good": ("**all usable for training**", "**全部可以用于训练**"),
    "clean": ("no findings", "没有发现问题"),
    "shown": ("first {:,} of {:,}", "前 {:,} 条，共 {:,} 条"),
    "error": ("error", "错误"),
    "warning": ("warning", "警告"),
    "kept": ("`{}`: {}, unchanged", "`{}`：{}，内容未改动"),
    "removed": ("`{}`: {} not usable for training, with the findings", "`{}`：{}不能用于训练，附有具体问题"),
    "image_folder": (
        "Image files are not copied. A recipe that reads the cleaned file needs `images: {}`",
        "图片文件不会复制。用清洗后的文件训练时，需要在配方中设置 `images: {}`",
    ),
}
HEADERS: dict[str, tuple[list[str], list[str]]] = {
    "samples": (["step", "question", "answer"], ["步数", "问题", "回答"]),
    "report": (["metric", "value"], ["指标", "数值"]),
    "hits": (["kind", "image", "model A", "model B"], ["类别", "图片", "模型 A 命中", "模型 B 命中"]),
    "probes": (
        ["kind", "question", "image", "expected", "model A", "A hit", "model B", "B hit"],
        ["类别", "问题", "图片", "期望回答", "模型 A 回答", "A 命中", "模型 B 回答", "B 命中"],
    ),
}
# Widths of the tables' columns in percent.
WIDTHS = {"samples": (8, 36, 56), "report": (40, 60), "hits": (25,) * 4, "probes": (9, 19, 8, 12, 19, 7, 19, 7)}
# Values in the cells of the probe tables, by their value in the downloads.
PROBE_CELLS = {
    "identity": ("identity", "身份"),
    "leading": ("leading", "诱导"),
    "general": ("general", "常识"),
    "image": ("image", "图片"),
    "right": ("own", "原图"),
    "blank": ("blank", "空白"),
    "other": ("other", "另一张"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    NOT_JUDGED: ("not judged", "未评判"),
    NOT_ASKED: ("not asked", "未提问"),
}
ANSWER_COLUMNS = (1, 3, 4, 6)  # of the probe table: question, expectation and answers are not translated


def _own_keys(index: int) -> dict[str, str]:
    """Labels under keys of our own: gradio has labels named `file` and `chat` itself."""
    return {f"eyegraft_{key}": pair[index] for key, pair in LABELS.items()}


# gradio looks a language up by the browser's own name for it.
I18N = gr.I18n(**{"en": _own_keys(0), "zh": _own_keys(1), "zh-CN": _own_keys(1), "zh-TW": _own_keys(1)})


def label(key: str) -> Any:
    """A label for a component. `Any`: gradio accepts I18nData in more places than it annotates."""
    assert key in LABELS, key
    return I18N(f"eyegraft_{key}")


def language(request: gr.Request) -> Language:
    """`zh` for a browser whose preferred language is Chinese, else `en`."""
    return preferred_language(request.headers)


def text(key: str, lang: Language, *values: object) -> str:
    """A text of TEXTS with its values filled in."""
    return TEXTS[key][lang == "zh"].format(*values)


def missing_text(any_model: bool, in_service: bool, lang: Language) -> str:
    """What to do where no model has been trained, as HTML; empty where a base model alone is nothing to point out."""
    if in_service:
        about = text("only_bases" if any_model else "no_model", lang)
        return f'{about} <a href="/train">{text("train_one", lang)}</a>'
    return "" if any_model else text("train_here", lang)


def captions(lang: Language) -> dict[str, str]:
    """The texts of the charts."""
    return {key: TEXTS[key][lang == "zh"] for key in (*PANELS, "training", "validation", "described")}


def table(name: str, rows: Sequence[Sequence[object]], lang: Language) -> str:
    """A table of HEADERS as HTML, empty without rows."""
    return html_table(text(f"{name}_table", lang), headers(name, lang), rows, WIDTHS[name])


def headers(table: str, lang: Language) -> list[str]:
    """The column headers of a table."""
    return HEADERS[table][lang == "zh"]


def probe_cells(rows: list[list[str]], lang: Language) -> list[list[str]]:
    """The rows of a probe table with kinds, image variants and hits in the language of the page."""
    fixed = ANSWER_COLUMNS if rows and len(rows[0]) == len(HEADERS["probes"][0]) else ()
    return [[cell if at in fixed else _probe_cell(cell, lang) for at, cell in enumerate(row)] for row in rows]


def _probe_cell(cell: str, lang: Language) -> str:
    return PROBE_CELLS[cell][lang == "zh"] if cell in PROBE_CELLS else cell


def state_text(state: RunState, lang: Language, skipped_lines: int = 0) -> str:
    """One line on the progress of a run, and on how many of its metrics lines are skipped."""
    total = f" / {state.total:,}" if state.total else ""
    status = "finished" if state.finished else "silent" if state.silent else "running"
    parts = [f"**{text(status, lang)}**"]
    if state.step or state.total:
        parts.append(text("step", lang, f"{state.step:,}{total}"))
    if not state.finished:
        parts.append(text("last", lang, duration(state.silent_seconds, lang)))
        if state.left_seconds is not None and not state.silent:
            parts.append(text("left", lang, duration(state.left_seconds, lang)))
    if skipped_lines:
        parts.append(text("odd", lang, skipped_lines))
    return " · ".join(parts)


def skipped_text(skipped: Mapping[str, str], lang: Language) -> str:
    """Unreadable folders with the reasons, as Markdown; empty if there are none."""
    listed = [f"- {_code_span(name)}: {_code_span(reason)}" for name, reason in list(skipped.items())[:MAX_SKIPPED]]
    more = len(skipped) - len(listed)
    return "\n".join([text("skipped", lang), "", *listed, *([f"- + {more}"] if more else [])]) if listed else ""


def _code_span(text: str) -> str:
    """A text as a code span of Markdown, on one line: nothing in it is markup."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line[:MAX_REASON]}{'...' if len(line) > MAX_REASON else ''}`"


def record_text(record: RecordView, lang: Language) -> str:
    """A record's place and size, in one line."""
    size = text("record_size", lang, record.tokens, record.supervised, record.image_tokens)
    return f"`{record.place}` · {size}"


def duration(seconds: float, lang: Language) -> str:
    """Seconds as `2 h 5 min`, `3 min 20 s` or `7 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return text("hours", lang, f"{hours:,}", minutes)
    return text("minutes", lang, minutes, rest) if minutes else text("seconds", lang, rest)


def check_text(name: str, checked: CheckResult, lang: Language) -> str:
    """What was read from the file `name` and how much of it is usable, in one line."""
    report = checked.report
    parts = [count("record", report.rows, lang), count("image", report.images, lang)]
    parts += [count("video", report.videos, lang)] if report.videos else []
    if not checked.done:
        return " · ".join([text("so_far", lang), *parts])
    usable = text("bad", lang, report.bad_rows) if report.bad_rows else text("good", lang)
    verdict = [usable] if report.rows else []
    return " · ".join([f"`{name}`", *parts, *verdict, *([text("clean", lang)] if report.clean else [])])


def count(key: str, number: int, lang: Language) -> str:
    """`1 record`, `2 records`."""
    return text(key, lang) if number == 1 else text(f"{key}s", lang, number)


def code_choices(checked: CheckResult, lang: Language) -> list[tuple[str, str]]:
    """(count, level and title, code) of each finding code, errors first, in the order of CODES within a level."""
    counts = checked.report.counts
    order = sorted(counts, key=lambda code: CODES[code].level)
    return [
        (text("code", lang, counts[code], text(CODES[code].level, lang), code_title(code, lang), code), code)
        for code in order
    ]


def code_title(code: str, lang: Language) -> str:
    """The title of a finding code."""
    return CODES[code].title_zh if lang == "zh" else CODES[code].title


def cards_text(code: str, shown: int, total: int, lang: Language) -> str:
    """The heading above the cards of a code, with how many of how many are shown."""
    more = f" · {text('shown', lang, shown, total)}" if total > shown else ""
    return f"### {code_title(code, lang).replace('<', '&lt;')}{more}"


def cleaned_text(fixed: FixResult, images: str, lang: Language) -> str:
    """How many records went into which file. `images` is the folder of the images, empty without images."""
    lines = [text("kept", lang, fixed.out.name, count("record", fixed.kept, lang))]
    lines.append(text("removed", lang, fixed.quarantine.name, count("record", fixed.quarantined, lang)))
    return "\n\n".join([*lines, *([text("image_folder", lang, images)] if images else [])])
