"""Questions about drawings in English and Chinese. Tests ask in other words than training, so that a question has to
be understood: no model can learn its test questions by heart.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from data_tools.emoji.concepts import Language

Kind = Literal[
    "describe", "name", "category", "group", "is", "which", "letter",
    "count", "count_of", "different", "order", "left", "is_left", "there", "box", "pick", "same",
]  # fmt: skip
Part = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Phrases:
    """The wordings of one kind of question: those of training, and those of tests."""

    train: tuple[str, ...]
    test: tuple[str, ...]


PHRASES: Mapping[Language, Mapping[Kind, Phrases]] = {
    "en": {
        "describe": Phrases(
            ("Describe the image.", "What is drawn? Describe it shortly.", "Write a caption."),
            ("Describe this image in a few words.", "Give the image a caption."),
        ),
        "name": Phrases(
            ("What is this?", "Name this icon.", "What does the icon show?", "What is it called?"),
            ("What is shown here?", "Which thing is drawn here?"),
        ),
        "category": Phrases(
            ("What kind of thing is this?", "Which category is it from?", "Name its category."),
            ("To which category does it belong?", "What sort of thing is drawn?"),
        ),
        "group": Phrases(
            ("Which large group is it from?", "Name its large group."), ("To which large group does it belong?",)
        ),
        "is": Phrases(
            ("Is this {a}?", "Does the icon show this: {a}?", "Would you call it {a}?"),
            ("Is {a} what you see here?", "Is {a} drawn here?"),
        ),
        "which": Phrases(
            ("Which of these is it: {options}?", "Is it one of these: {options}? Which?"),
            ("Choose what is drawn: {options}.",),
        ),
        "letter": Phrases(
            ("Which of these is it?", "What is this?", "Which name is right?"),
            ("Which option names what is shown?", "What is shown in the image?"),
        ),
        "count": Phrases(
            ("How many icons are there?", "Count the icons.", "How many things are drawn?"),
            ("What is the number of icons in the image?", "How many icons do you see?"),
        ),
        "count_of": Phrases(("How many times is there {a}?", "Count this icon: {a}."), ("How often does {a} appear?",)),
        "different": Phrases(
            ("How many different icons are there?", "Count the kinds of icons."),
            ("How many kinds of icons do you see?",),
        ),
        "order": Phrases(
            ("Name the icons from left to right.", "What is there, from left to right?"),
            ("List what you see, beginning on the left.",),
        ),
        "left": Phrases(
            ("Which is further left, {a} or {b}?", "What is left of the other, {a} or {b}?"),
            ("Of {a} and {b}, which one is on the left?",),
        ),
        "is_left": Phrases(
            ("Is {a} to the left of {b}?", "Is {a} further left than {b}?"), ("Is {a} on the left side of {b}?",)
        ),
        "there": Phrases(
            ("Does the image show {a}?", "Can you see {a}?", "Does {a} appear in the image?"),
            ("Is there {a} in the image?",),
        ),
        "box": Phrases(
            ("Where is {a}? Answer with its box.", "Give the box of {a}."),
            ("Give the bounding box of {a} as [x1, y1, x2, y2].",),
        ),
        "pick": Phrases(
            ("Which image shows {a}?", "In which image is {a}?"), ("Which of the images is the one with {a}?",)
        ),
        "same": Phrases(
            ("Do the images show the same thing?", "Is it the same thing in both images?"),
            ("Is one and the same thing drawn in both images?",),
        ),
    },
    "zh": {
        "describe": Phrases(
            ("描述这张图。", "画的是什么？简单描述。", "写一句图片说明。"),
            ("用几个词描述这张图片。", "给图片配一句说明。"),
        ),
        "name": Phrases(
            ("这是什么？", "说出这个图标的名称。", "图标画的是什么？", "它叫什么？"), ("这里画了什么？", "图中是什么？")
        ),
        "category": Phrases(
            ("这是哪一类东西？", "它属于哪一类？", "说出它的类别。"), ("它归在哪个类别？", "画的是哪种东西？")
        ),
        "group": Phrases(("它属于哪个大类？", "说出它的大类。"), ("它归在哪个大类？",)),
        "is": Phrases(("这是{a}吗？", "图标画的是{a}吗？", "它叫{a}吗？"), ("你看到的是{a}吗？", "这里画的是{a}吗？")),
        "which": Phrases(
            ("它是哪一个：{options}？", "从中选出它是什么：{options}。"), ("选出画的是什么：{options}。",)
        ),
        "letter": Phrases(
            ("它是哪一个？", "这是什么？", "哪个名称正确？"), ("哪个选项说的是图中的东西？", "图片中是什么？")
        ),
        "count": Phrases(
            ("有几个图标？", "数一数图标。", "画了几个东西？"), ("图片中图标的数量是多少？", "你看到几个图标？")
        ),
        "count_of": Phrases(("有几个{a}？", "数一数这个图标：{a}。"), ("{a}出现了几次？",)),
        "different": Phrases(("有几种不同的图标？", "数一数图标的种类。"), ("你看到几种图标？",)),
        "order": Phrases(("从左到右说出图标。", "从左到右有什么？"), ("从左边开始列出你看到的东西。",)),
        "left": Phrases(
            ("{a}和{b}，哪个更靠左？", "哪个在另一个的左边，{a}还是{b}？"), ("{a}与{b}之中，左边的是哪一个？",)
        ),
        "is_left": Phrases(("{a}在{b}的左边吗？", "{a}比{b}更靠左吗？"), ("{a}是在{b}的左侧吗？",)),
        "there": Phrases(("图中能看到{a}吗？", "你看得到{a}吗？", "图片里出现了{a}吗？"), ("图中有{a}吗？",)),
        "box": Phrases(("{a}在哪里？用方框回答。", "给出{a}的方框。"), ("以 [x1, y1, x2, y2] 给出{a}的边界框。",)),
        "pick": Phrases(("哪张图是{a}？", "{a}在哪张图里？"), ("这些图中哪一张画着{a}？",)),
        "same": Phrases(("这些图画的是同一个东西吗？", "两张图里是同一个东西吗？"), ("两张图画着的东西相同吗？",)),
    },
}

YES_NO: Mapping[Language, tuple[str, str]] = {"en": ("yes", "no"), "zh": ("是", "否")}
ORDINALS: Mapping[Language, tuple[str, ...]] = {
    "en": ("the first", "the second", "the third"),
    "zh": ("第一张", "第二张", "第三张"),
}
BY_LETTER: Mapping[Language, str] = {
    "en": "Answer with the option's letter from the given choices directly.",
    "zh": "请直接回答选项字母。",
}
SEPARATOR: Mapping[Language, str] = {"en": ", ", "zh": "、"}
LETTERS = "ABCD"


def wording(language: Language, kind: Kind, part: Part, rng: random.Random, **names: str) -> str:
    """A question with names filled in. In English they are given an article, as POPE's objects are."""
    phrases = PHRASES[language][kind]
    chosen = rng.choice(phrases.train if part == "train" else phrases.test)
    if language == "en":
        names = {key: name if key == "options" else with_article(name) for key, name in names.items()}
    return chosen.format(**names)


def with_article(name: str) -> str:
    """An English name with `a` or `an`, as POPE's objects have it; none before plurals, activities and proper names."""
    words = name.split()
    head = re.split(r" (?:with|of|on|in|from|and|showing) ", name)[0].split()[-1]
    proper = all(word[0].isupper() for word in words) and not name.isupper()
    counted = words[0] in _PERSONS or not (_PLURAL.fullmatch(head) or words[0] in _PEOPLE)
    if proper or not counted:
        return name
    return ("an " if name[0].lower() in "aeiou" else "a ") + name


_PERSONS = frozenset({"person", "man", "woman", "child", "boy", "girl"})
_PEOPLE = frozenset({"men", "women", "people", "mx", "Mx", "Mrs."})
_PLURAL = re.compile(
    r".*[^suo]s|.{3,}ing(?<!building)(?<!edling)(?<!mpling)(?<!wedding)|hair|rice|money|sand"
)  # hands, grapes, horse racing


def lettered(question: str, options: tuple[str, ...], language: Language) -> str:
    """A question with lettered options, in the form that MMBench's files are asked in."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join((question, *lines, BY_LETTER[language]))


def yes_no(language: Language, answer: bool) -> str:
    """The answer in one word."""
    return YES_NO[language][0 if answer else 1]
