"""Everything the page says, in English and Chinese. The browser's language chooses."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from demo.pages.parts.records import RecordView
from demo.pages.parts.run_status import RunState

ENGLISH = {
    "title": "Eyegraft",
    "chat": "Chat",
    "compare": "Compare",
    "runs": "Runs",
    "data": "Data",
    "weights": "Model",
    "settings": "Settings",
    "system": "System prompt",
    "temperature": "Temperature (0: always the likeliest word)",
    "top_p": "Top p",
    "top_k": "Top k (0: all)",
    "penalty": "Repetition penalty",
    "new_tokens": "Longest answer, in tokens",
    "seed": "Seed",
    "stop": "Stop words, separated by commas",
    "ask": "Ask something, or add a picture",
    "ask_both": "Ask both",
    "run_probes": "Run the probes",
    "left": "Left",
    "right": "Right",
    "answer": "Answer",
    "name": "Name the assistant should say",
    "probes": "Probes",
    "probes_about": "A list of questions for both: who they are, leading questions, general knowledge, and pictures of "
    "the chosen data, each also with a blank and with another picture. A model that looks gets the last two wrong.",
    "csv": "As CSV",
    "markdown": "As Markdown",
    "run": "Run",
    "samples": "Probe answers over the steps",
    "report": "Report",
    "log": "The log's last lines",
    "file": "Data file",
    "draw": "Draw other records",
    "record": "Record",
    "pictures": "Pictures",
    "marked": "What the model reads; marked: what it learns to write",
    "check": "Check the file",
    "codes": "What was found, by kind: choose one to see its records",
    "clean": "Write the cleaned file",
    "cleaned": "Download the cleaned file",
    "quarantine": "Download the rows left out",
    "no_weights": "Nothing has been trained here yet: `make quickstart`, or `eyegraft train RECIPE`, then reload.",
}

CHINESE = {
    "title": "Eyegraft",
    "chat": "对话",
    "compare": "对比",
    "runs": "训练",
    "data": "数据",
    "weights": "模型",
    "settings": "设置",
    "system": "系统提示词",
    "temperature": "温度 (0: 总取最可能的词)",
    "top_p": "Top p",
    "top_k": "Top k (0: 全部)",
    "penalty": "重复惩罚",
    "new_tokens": "回答最多的 token 数",
    "seed": "随机种子",
    "stop": "停止词, 用逗号分隔",
    "ask": "输入问题, 或添加图片",
    "ask_both": "同时提问",
    "run_probes": "运行探针问题",
    "left": "左",
    "right": "右",
    "answer": "回答",
    "name": "助手应该说出的名字",
    "probes": "探针问题",
    "probes_about": "向两个模型提同一组问题: 你是谁、诱导性问题、常识, 以及所选数据中的图片问题 "
    "(每题再用空白图和另一张图各问一次; 真正看图的模型, 后两种应答错)。",
    "csv": "下载 CSV",
    "markdown": "下载 Markdown",
    "run": "训练任务",
    "samples": "训练过程中的探针回答",
    "report": "报告",
    "log": "日志末尾",
    "file": "数据文件",
    "draw": "换一批样本",
    "record": "样本",
    "pictures": "图片",
    "marked": "模型读到的内容; 标出的部分是它要学会写的",
    "check": "检查文件",
    "codes": "发现的问题, 按种类: 点一行看对应的记录",
    "clean": "写出清洗后的文件",
    "cleaned": "下载清洗后的文件",
    "quarantine": "下载被剔除的记录",
    "no_weights": "这里还没有训练好的模型: 先运行 `make quickstart` 或 `eyegraft train RECIPE`, 然后刷新。",
}

assert ENGLISH.keys() == CHINESE.keys()


def own(words: dict[str, str]) -> dict[str, str]:
    """Under names of our own: gradio has words called `file` or `chat` itself."""
    return {f"eyegraft_{key}": text for key, text in words.items()}


# Gradio looks a language up by the browser's own name for it.
I18N = gr.I18n(**{"en": own(ENGLISH), "zh": own(CHINESE), "zh-CN": own(CHINESE), "zh-TW": own(CHINESE)})


def say(key: str) -> Any:
    """A text that the browser shows in its language."""
    assert key in ENGLISH, key
    return I18N(f"eyegraft_{key}")


def language(request: gr.Request) -> str:
    """`zh` for a browser that asks for Chinese first, else `en`: for texts that are made while it looks."""
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def state_text(state: RunState, lang: str, odd_rows: int = 0) -> str:
    """How far a run is, in a line; and how many of its lines are left out."""
    words = STATE[lang]
    total = f" / {state.total:,}" if state.total else ""
    parts = [f"**{words['finished' if state.finished else 'silent' if state.silent else 'running']}**"]
    if state.step or state.total:
        parts.append(words["step"].format(f"{state.step:,}{total}"))
    if not state.finished:
        parts.append(words["last"].format(duration(state.silent_seconds)))
        if state.left_seconds is not None and not state.silent:
            parts.append(words["left"].format(duration(state.left_seconds)))
    if odd_rows:
        parts.append(words["odd"].format(odd_rows))
    return " · ".join(parts)


def skipped_text(skipped: Mapping[str, str], lang: str) -> str:
    """Folders that cannot be read, with the reasons; nothing where there are none."""
    shown = [f"- {_inert(name)}: {_inert(reason)}" for name, reason in list(skipped.items())[:SKIPPED_SHOWN]]
    more = len(skipped) - len(shown)
    return "\n".join([SKIPPED[lang], "", *shown, *([f"- + {more}"] if more else [])]) if shown else ""


def _inert(text: str) -> str:
    """A text in a line of Markdown that is nothing but text."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line[:SKIPPED_LETTERS]}{'...' if len(line) > SKIPPED_LETTERS else ''}`"


def record_text(record: RecordView, lang: str) -> str:
    """A record's place and size, in a line."""
    counts = RECORD[lang].format(record.tokens, record.supervised, record.image_rows)
    return f"`{record.place}` · {counts}"


def duration(seconds: float) -> str:
    """`2:05:07` or `3:20`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


STATE = {
    "en": {
        "finished": "finished",
        "running": "running",
        "silent": "silent: stopped, or busy with something long",
        "step": "step {}",
        "last": "last line {} ago",
        "left": "about {} left",
        "odd": "{:,} lines of metrics.jsonl are none of ours and left out",
    },
    "zh": {
        "finished": "已完成",
        "running": "运行中",
        "silent": "没有动静: 已停止, 或正忙于较长的工作",
        "step": "第 {} 步",
        "last": "最近一行在 {} 前",
        "left": "大约还需 {}",
        "odd": "metrics.jsonl 中有 {:,} 行不是训练写下的, 已略去",
    },
}
SKIPPED = {
    "en": "**These folders are left out, because they cannot be read:**",
    "zh": "**以下文件夹无法读取, 已略去:**",
}
SKIPPED_SHOWN, SKIPPED_LETTERS = 10, 300
RECORD = {
    "en": "{:,} tokens, {:,} supervised, {:,} image rows",
    "zh": "{:,} 个 token, 其中监督 {:,} 个, 图像行 {:,} 个",
}
