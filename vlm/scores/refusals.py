"""Answers that refuse to answer, by the forms listed here."""

import re

ENGLISH = (
    r"(?:i'?m|i am) (?:sorry|afraid|unable|not able|not sure)",
    r"sorry\b",
    r"i (?:really |simply )?(?:cannot|can'?t|can not|do not|don'?t|won'?t|will not|could not|couldn'?t|am unable to) "
    r"(?:answer|see|view|determine|tell|help|assist|provide|identify|access|process|know|say|recognize|recognise)",
    r"as an ai\b",
    r"as a (?:large )?language model\b",
    r"unable to (?:answer|determine|see|view|identify|provide|process)",
    r"it is (?:not possible|impossible) to (?:answer|determine|tell|say|identify)",
    r"(?:there is )?no image (?:was |is |has been )?(?:provided|attached|given|visible|uploaded)",
)
"""Forms of an English refusal at its start, in lower case."""
CHINESE = (
    "(?:很|非常|十分)?抱歉",
    "对不起",
    "不好意思",
    "我?(?:无法|不能|没办法|没有办法)(?:回答|看到|查看|确定|判断|识别|提供|处理|帮助|协助|得知|直接)",
    "作为(?:一个|一名)?(?:人工智能|语言模型|大语言模型|大型语言模型|ai)",
    "我不(?:知道|确定|清楚)",
    "(?:您|你)?(?:没有|未)(?:提供|上传)(?:任何)?图[片像]",
)
"""Forms of a Chinese refusal at its start."""
_FORMS = re.compile(rf"\W*(?:(?:unfortunately|but|however)\W+)?(?:{'|'.join((*ENGLISH, *CHINESE))})")


def is_refusal(answer: str) -> bool:
    """Whether an answer begins as one of the forms ENGLISH or CHINESE."""
    return _FORMS.match(answer[:200].lower().replace("’", "'")) is not None
