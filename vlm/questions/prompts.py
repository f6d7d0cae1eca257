"""How questions are asked, in English and Chinese: the messages that a model or an endpoint gets."""

import re

from llm.formats.conversation import Message
from llm.i18n.translate import Language
from vlm.questions.question import Question
from vlm.scores.boxes import UNIT, BoxConvention

_HAN = re.compile("[\u4e00-\u9fff]")

INSTRUCTIONS: dict[str, dict[Language, str]] = {
    "letters": {
        "en": "Answer with the option's letter from the given choices directly.",
        "zh": "请直接回答选项字母。",
    },
    "yes_no": {"en": "Answer the question using a single word or phrase.", "zh": "请用一个词或短语回答问题。"},
    "short": {"en": "Answer the question using a single word or phrase.", "zh": "请用一个词或短语回答问题。"},
    "unanswerable": {
        "en": "When the provided information is insufficient, respond with 'Unanswerable'.\n"
        "Answer the question using a single word or phrase.",
        "zh": "如果图片信息不足，请回答“Unanswerable”。\n请用一个词或短语回答问题。",
    },
    "caption": {"en": "Provide a one-sentence caption for the provided image.", "zh": "请用一句话描述这张图片。"},
    "own": {"en": "", "zh": ""},
}
"""What follows the question, by the kind of instruction; those of LLaVA 1.5's evaluation in English."""

KINDS = {
    "letters": "letters", "mmlu": "letters", "pope": "yes_no", "mme": "own", "vqa": "short", "textvqa": "short",
    "vizwiz": "unanswerable", "gqa": "short", "chartqa": "short", "docvqa": "short", "captions": "caption",
    "refcoco": "own", "exact": "own",
}  # fmt: skip
"""Form -> kind of instruction. MME's questions have their own instruction in the text."""

REGION: dict[Language, str] = {
    "en": "Please provide the bounding box coordinate of the region this sentence describes: {}",
    "zh": "请给出这句话所描述区域的边界框坐标：{}",
}
_SCALES: dict[str, dict[Language, str]] = {
    "unit": {"en": "", "zh": ""},
    "thousand": {"en": " (from 0 to 1000)", "zh": "（取值为 0 到 1000）"},
    "pixels": {"en": " (in pixels)", "zh": "（以像素为单位）"},
}
_SIZES: dict[Language, str] = {"en": " as x, y, width, height", "zh": "，依次为 x、y、宽、高"}
SUBJECT: dict[Language, str] = {
    "en": "The following are multiple choice questions (with answers) about {}.",
    "zh": "以下是关于{}的单项选择题及其答案。",
}
ANSWER: dict[Language, str] = {"en": "Answer:", "zh": "答案："}


def language_of(question: Question) -> Language:
    """Chinese for a question with Chinese characters in its text or options, else English."""
    return "zh" if _HAN.search(question.text + "".join(question.options.values())) else "en"


def prompt(question: Question, lang: Language | None = None, boxes: BoxConvention = UNIT) -> str:
    """The text of one question; `lang` of the instruction is the question's own by default.

    `boxes` is how the model writes boxes: other conventions than LLaVA's, shares of the sides, are asked for in words.
    """
    lang = lang or language_of(question)
    if question.asked:
        return question.text
    if question.form == "mmlu":
        return _examination(question, lang)
    if question.form == "refcoco":
        wanted = _SCALES[boxes.scale][lang] + (_SIZES[lang] if boxes.layout == "size" else "")
        return REGION[lang].format(question.text) + wanted
    instruction = INSTRUCTIONS[KINDS[question.form]][lang]
    parts = [question.hint, question.text, *_options(question), instruction]
    return "\n".join(part for part in parts if part)


def _options(question: Question) -> list[str]:
    return [f"{letter}. {text}" for letter, text in question.options.items()]


def _examination(question: Question, lang: Language) -> str:
    """MMLU's own prompt: the subject, five answered questions, and the question, each ending in `Answer:`."""
    asked = [_with_answer(one, lang, one.answers[0]) for one in question.shots if one.answers]
    subject = question.category.replace("_", " ")
    head = [SUBJECT[lang].format(f" {subject} " if lang == "zh" and subject.isascii() else subject)] if subject else []
    return "\n\n".join([*head, *asked, _with_answer(question, lang)])


def _with_answer(question: Question, lang: Language, answer: str = "") -> str:
    gap = " " if answer and lang == "en" else ""
    return "\n".join([question.text, *_options(question), f"{ANSWER[lang]}{gap}{answer}"])


def messages(
    question: Question, lang: Language | None = None, boxes: BoxConvention = UNIT, blind: bool = False
) -> tuple[Message, ...]:
    """The messages of one question: its images before the prompt, or where the user's own record has them.

    `blind`: without the images, for the score that a model reaches by the text alone.
    """
    if question.asked:
        return tuple(_without_images(one) for one in question.asked) if blind else question.asked
    images = () if blind else question.images
    return (Message("user", (*images, prompt(question, lang, boxes))),)


def _without_images(message: Message) -> Message:
    kept = tuple(part for part in message.parts if isinstance(part, str))
    return Message(message.role, kept or ("",), message.loss)
