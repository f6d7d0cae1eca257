"""What a paired comparison says, in one sentence."""

from llm.i18n.translate import Language
from vlm.scores.bootstrap import Comparison


def verdict(found: Comparison, first: str, second: str, lang: Language = "en") -> str:
    """Whether the second model is better than the first in a metric of which more is better, with the interval."""
    if found.interval is None:
        return _UNKNOWN[lang].format(first=first, second=second, metric=found.name, groups=found.groups)
    sign = 1 if found.difference >= 0 else -1
    better, worse = (second, first) if sign > 0 else (first, second)
    low, high = sorted((sign * found.interval.low, sign * found.interval.high))
    sentence = (_CLEAR if found.is_clear else _UNCLEAR)[lang]
    return sentence.format(
        better=better, worse=worse, first=first, second=second, metric=found.name, by=f"{abs(found.difference):.4g}",
        low=f"{low:.4g}", high=f"{high:.4g}",
    )  # fmt: skip


_CLEAR = {
    "en": "{better} is better than {worse} in {metric} by {by} (95 % interval of the difference {low} to {high})",
    "zh": "在 {metric} 上，{better} 优于 {worse}，相差 {by}（差值的 95% 置信区间为 {low} 到 {high}）",
}
_UNCLEAR = {
    "en": "No difference in {metric} between {first} and {second} can be shown: {better} is ahead by {by}, and the "
    "95 % interval of the difference, {low} to {high}, includes 0",
    "zh": "{first} 与 {second} 在 {metric} 上看不出差异：{better} 高 {by}，"
    "而差值的 95% 置信区间 {low} 到 {high} 包含 0",
}
_UNKNOWN = {
    "en": "Nothing can be said about {metric} of {first} and {second}: too few independent questions ({groups})",
    "zh": "无法比较 {first} 与 {second} 的 {metric}：相互独立的问题太少（{groups}）",
}
