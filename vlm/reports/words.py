"""Texts of reports in English and Chinese, and how values are written."""

from llm.i18n.translate import Language
from vlm.reports.summary import MetricLine

WORDS: dict[str, dict[Language, str]] = {
    "title": {"en": "Evaluation of {}", "zh": "{} 的评测"},
    "benchmark": {"en": "benchmark", "zh": "评测集"},
    "metric": {"en": "metric", "zh": "指标"},
    "score": {"en": "score", "zh": "得分"},
    "interval": {"en": "95 % interval", "zh": "95% 置信区间"},
    "chance": {"en": "chance", "zh": "随机"},
    "blind": {"en": "without images", "zh": "不看图片"},
    "questions": {"en": "questions", "zh": "问题数"},
    "refusals": {"en": "refusals", "zh": "拒答"},
    "unparsed": {"en": "unparsed", "zh": "无法解析"},
    "lost": {"en": "lost rows", "zh": "丢失的行"},
    "hidden": {"en": "answers are hidden: not scored", "zh": "答案未公开，不计分"},
    "notes": {"en": "Notes", "zh": "说明"},
    "compared": {"en": "Compared", "zh": "比较"},
    "worst": {"en": "Worst answers", "zh": "最差的回答"},
    "answer": {"en": "answer", "zh": "回答"},
    "read": {"en": "read as", "zh": "解析为"},
    "nothing": {"en": "nothing", "zh": "无"},
    "wanted": {"en": "right", "zh": "正确"},
    "refused": {"en": "refused", "zh": "拒答"},
    "image_missing": {"en": "image not shown: {}", "zh": "图片无法显示：{}"},
    "about": {
        "en": "Intervals are 95 % bootstrap intervals; questions about one image, and circular passes of one question, "
        "are resampled together. Chance: answers drawn with equal probability. Without images: the same questions with "
        "the images removed.",
        "zh": "区间为 95% 自助法置信区间；同一图片的问题、同一问题的循环排列会一起重采样。"
        "随机：等概率猜测的期望得分。不看图片：去掉图片后提问同样的问题。",
    },
}
LANGUAGES: tuple[tuple[Language, str], ...] = (("en", "English"), ("zh", "中文"))
_POINTS = ("cider", "perception", "cognition")  # metrics that are no shares


def said(key: str, lang: Language, *values: object) -> str:
    """A text of WORDS."""
    return WORDS[key][lang].format(*values)


def number(name: str, value: float | None) -> str:
    """A value of the metric `name`: shares in percent, CIDEr and MME's points as they are; a dash for none."""
    if value is None:
        return "–"
    base = name.partition("/")[0]
    if base in _POINTS:
        return f"{value:.3f}" if base == "cider" else f"{value:.1f}"
    return f"{100 * value:.1f}"


def bounds(line: MetricLine) -> str:
    """The interval of a metric; a dash for none."""
    if line.low is None or line.high is None:
        return "–"
    return f"{number(line.name, line.low)} – {number(line.name, line.high)}"
