"""Caption metrics against the packages that define them (captions.json) and against slow implementations."""

import json
from math import exp, log
from random import Random

import numpy as np
import pytest

from tests.vlm.scores.make_cases import CAPTIONS, CORPORA, FILE, SENTENCES, corpora
from vlm.scores.caption_words import caption_words
from vlm.scores.captions import bleu_of, bleu_statistics, caption_metrics, cider_scores, longest_common, rouge_l
from vlm.scores.metric import numbered

VALUES = json.loads(FILE.read_text("utf-8"))
SPLIT = [[(answer.split(), [one.split() for one in given]) for answer, given in corpus] for corpus in corpora()]


def test_there_are_a_thousand_cases() -> None:
    assert CORPORA * CAPTIONS == 1000 == sum(map(len, VALUES["cider"])) == sum(map(len, VALUES["rouge_score"]))


def test_cider_is_that_of_pycocoevalcap() -> None:
    ours = [cider_scores([answer for answer, _ in one], [given for _, given in one]) for one in SPLIT]
    assert np.abs(np.array(ours) - np.array(VALUES["cider"])).max() < 1e-6


def test_rouge_is_that_of_both_packages() -> None:
    ours = [[rouge_l(answer, given) for answer, given in one] for one in SPLIT]
    assert np.abs(np.array(ours) - np.array(VALUES["rouge"])).max() < 1e-6
    first = [[rouge_l(answer, given[:1], beta=1.0) for answer, given in one] for one in SPLIT]
    assert np.abs(np.array(first) - np.array(VALUES["rouge_score"])).max() < 1e-6


def test_bleu_is_that_of_both_packages() -> None:
    tables = [np.array([bleu_statistics(*pair) for pair in one]) for one in SPLIT]
    assert np.abs(np.array([bleu_of(table) for table in tables]) - np.array(VALUES["bleu"])).max() < 1e-6
    corpus = np.array([float(bleu_of(table.sum(0))) for table in tables])
    assert np.abs(corpus - np.array(VALUES["corpus_bleu"])[:, 0]).max() < 1e-6
    assert np.abs(corpus - np.array(VALUES["sacrebleu"][0])).max() < 1e-6
    assert min(VALUES["sacrebleu"][0]) > 0.01  # none has a zero, which sacrebleu smooths otherwise


def test_the_words_are_those_of_stanfords_tokenizer() -> None:
    assert [list(caption_words(text)) for text in SENTENCES] == [text.split() for text in VALUES["tokens"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("一只红色的狗，在草地上。", list("一只红色的狗在草地上")),
        ("两个T恤 and a dog", ["两", "个", "t", "恤", "and", "a", "dog"]),
        ("", []),
        ("?!", []),
    ],
)
def test_chinese_is_split_into_characters(text: str, words: list[str]) -> None:
    assert list(caption_words(text)) == words


def test_longest_common_is_that_of_the_table() -> None:
    random = Random(0)
    for _ in range(300):
        one, other = ([random.choice("abcd") for _ in range(random.randrange(0, 12))] for _ in range(2))
        assert longest_common(one, other) == _slow_common(one, other)


def _slow_common(one: list[str], other: list[str]) -> int:
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + _slow_common(one[1:], other[1:])
    return max(_slow_common(one[1:], other), _slow_common(one, other[1:]))


def test_small_cases_by_hand() -> None:
    # two images, so that log 2 is the weight of what one of them has; the answer is its only reference
    words = ["a", "red", "dog", "runs"]
    exact = cider_scores([words, ["cat"]], [[words], [["bus"]]])
    assert exact == pytest.approx([10.0, 0.0])
    # one of two words, with one pair of words on both sides: half of the cosine of words, nothing of pairs
    half = cider_scores([["red", "cat"], ["x"]], [[["red", "dog"]], [["y"]]])
    assert half == pytest.approx([10 / 4 * 0.5, 0.0])
    # a b c d e against a b c d: 4/5, 3/4, 2/3, 1/2, no penalty as it is longer
    longer = float(bleu_of(np.array(bleu_statistics(list("abcde"), [list("abcd")]))))
    assert longer == pytest.approx(exp((log(4 / 5) + log(3 / 4) + log(2 / 3) + log(1 / 2)) / 4))
    shorter = float(bleu_of(np.array(bleu_statistics(list("abcd"), [list("abcdef")]))))
    assert shorter == pytest.approx(exp(1 - 6 / 4))
    assert rouge_l(["a", "b"], [["a", "c", "b", "d"]]) == pytest.approx((1 + 1.44) * 1 * 0.5 / (0.5 + 1.44 * 1))


def test_the_metrics_of_captions_are_those_of_the_corpus() -> None:
    corpus = SPLIT[0]
    answers, references = [answer for answer, _ in corpus], [given for _, given in corpus]
    found = {one.name: one.value for one in caption_metrics(answers, references, numbered(range(len(corpus))))}
    assert found == pytest.approx(
        {
            "cider": np.mean(VALUES["cider"][0]),
            "bleu_4": VALUES["corpus_bleu"][0][0],
            "rouge_l": np.mean(VALUES["rouge"][0]),
        },
        abs=1e-6,
    )


def test_no_answer_at_all_scores_nothing() -> None:
    found = caption_metrics([(), ()], [[("a", "dog")], [("a", "cat")]], numbered([0, 1]))
    assert [round(one.value, 9) for one in found] == [0.0, 0.0, 0.0]
