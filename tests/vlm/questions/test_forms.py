"""Answers to the questions of each form: right ones, refusals, what cannot be read, and chance."""

from pathlib import Path

import pytest

from llm.formats.conversation import Message
from tests.vlm.questions import benchmark_files as files
from tests.vlm.questions.benchmark_files import WRITERS
from vlm.questions.forms import FORMS, choices, judge
from vlm.questions.prompts import KINDS, language_of, messages, prompt
from vlm.questions.question import Question
from vlm.questions.question_files import read_questions
from vlm.scores.bootstrap import interval
from vlm.scores.boxes import BoxConvention


def right_answer(question: Question, boxes: BoxConvention) -> str:
    """An answer that is right, with words around it where the form allows."""
    kind = FORMS[question.form].answered_by
    if kind == "letter":
        return f"The answer is {question.answers[0]}."
    if kind == "yes_no":
        return f"{question.answers[0].capitalize()}."
    if question.box is not None:
        return f"[{', '.join(map(str, boxes.numbers(question.box, question.size)))}]"
    return question.answers[0]


@pytest.mark.parametrize("name", WRITERS)
def test_right_answers_score_everything_and_refusals_nothing(name: str, tmp_path: Path) -> None:
    [found] = read_questions([WRITERS[name][0](tmp_path)])
    boxes = BoxConvention("thousand", "size")
    right = judge(found.questions, [right_answer(one, boxes) for one in found.questions], boxes)
    assert right.unparsed == 0 and not any(right.refusals) and right.main is not None
    if found.form == "captions":
        assert {one.name: one.value for one in right.metrics}["rouge_l"] == pytest.approx(1.0)
    else:
        assert right.main.value == pytest.approx(1.0) and right.scores == pytest.approx((1.0,) * len(found.questions))
    most = 0.1 if found.form == "captions" else 1e-6  # "the image" has words of "the dog"
    refused = judge(found.questions, ["I'm sorry, I cannot see the image."] * len(found.questions), boxes)
    assert refused.main is not None and refused.main.value <= most and all(refused.refusals)
    empty = judge(found.questions, [""] * len(found.questions), boxes)
    assert (
        empty.unparsed == len(found.questions)
        and empty.main is not None
        and empty.main.value == pytest.approx(0, abs=1e-6)
    )
    for metric in (*right.metrics, *refused.metrics, *empty.metrics):
        interval(metric, 50)


def test_circular_and_vanilla_by_category_with_chance(tmp_path: Path) -> None:
    [found] = read_questions([files.mmbench(tmp_path)])
    judged = judge(found.questions, ["A", "C", "A", "A"])  # the second of the last question is wrong
    values = {one.name: one.value for one in judged.metrics}
    assert values == {
        "circular_accuracy": 0.5, "accuracy": 0.75, "accuracy/l1": 1.0, "accuracy/l2": 0.5,
        "circular_accuracy/l1": 1.0, "circular_accuracy/l2": 0.0,
    }  # fmt: skip
    assert judged.main is not None and judged.main.name == "circular_accuracy"
    assert judged.chance == pytest.approx({"accuracy": (2 / 3 + 2 / 2) / 4, "circular_accuracy": (1 / 9 + 1 / 4) / 2})
    assert choices(found.questions[0]) == ("A", "B", "C")


def test_hidden_answers_are_read_and_not_scored(tmp_path: Path) -> None:
    rows = [{name: cell for name, cell in row.items() if name != "answer"} for row in files.mmbench_rows()]
    [found] = read_questions([files.save_table(tmp_path / "test.tsv", rows)])
    judged = judge(found.questions, ["A", "blue", "?", "B"])
    assert judged.parsed == ("A", "A", None, "B") and not judged.metrics and not judged.scores


def test_pope_by_kind_and_an_unreadable_answer(tmp_path: Path) -> None:
    [found] = read_questions([files.pope(tmp_path)])
    judged = judge(found.questions, ["There is a dog.", "I cannot answer that."])
    assert judged.parsed == ("yes", None) and judged.refusals == (False, True)
    values = {one.name: one.value for one in judged.metrics}
    assert values == {"accuracy": 0.5, "f1": 1.0, "precision": 1.0, "recall": 1.0, "yes_share": 0.5}


def test_an_apology_with_an_answer_is_no_refusal(tmp_path: Path) -> None:
    [found] = read_questions([files.mmbench(tmp_path)])
    judged = judge(found.questions, ["I'm sorry, but the answer is A.", "I'm sorry.", "A", "B"])
    assert judged.refusals == (False, True, False, False) and judged.unparsed == 1


def test_mme_points_and_pairs(tmp_path: Path) -> None:
    [found] = read_questions([files.mme_folder(tmp_path)])
    values = {one.name: one.value for one in judge(found.questions, ["Yes", "No", "Yes", "Yes"]).metrics}
    assert (values["acc"], values["acc_plus"], values["perception"]) == (0.75, 0.5, 50 + 200)
    assert choices(found.questions[0]) == ("Yes", "No")


def test_chartqa_reads_a_number_in_a_sentence_apart(tmp_path: Path) -> None:
    [found] = read_questions([files.chartqa(tmp_path)])
    values = {one.name: one.value for one in judge(found.questions, ["There are 14.", "14.5"]).metrics}
    assert values == {"relaxed_accuracy": 0.5, "relaxed_accuracy_of_sentences": 1.0}


def test_regions_by_overlap(tmp_path: Path) -> None:
    [found] = read_questions([files.refcoco(tmp_path)])
    # half of the first box: 0.5 is enough; the second is missed
    judged = judge(found.questions, ["[0.5, 0.33333333, 0.75, 1.0]", "[0.9, 0.9, 1.0, 1.0]"])
    values = {one.name: one.value for one in judged.metrics}
    assert values == pytest.approx({"acc_at_0.5": 0.5, "mean_iou": 0.25}, abs=1e-4)


def test_mmlu_by_subject(tmp_path: Path) -> None:
    [found] = read_questions([files.mmlu(tmp_path)])
    values = {one.name: one.value for one in judge(found.questions, ["A", "B", "C", "D", "D", "D"]).metrics}
    assert values == {
        "accuracy": 0.5, "accuracy_by_category": 0.5, "accuracy/anatomy": 1.0, "accuracy/law": 0.0,
    }  # fmt: skip


def test_prompts_are_those_of_evaluation(tmp_path: Path) -> None:
    [found] = read_questions([files.mmbench(tmp_path)])
    assert prompt(found.questions[0]) == (
        "Look.\nWhat colour?\nA. red\nB. blue\nC. green\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert prompt(found.questions[2]) == "图中有几只猫？\nA. 一只\nB. 两只\n请直接回答选项字母。"
    assert language_of(found.questions[2]) == "zh" and prompt(found.questions[2], "en").endswith("directly.")
    [message] = messages(found.questions[0])
    assert message == Message("user", (found.questions[0].images[0], prompt(found.questions[0])))
    assert messages(found.questions[0], blind=True) == (Message("user", (prompt(found.questions[0]),)),)


def test_the_prompt_of_mmlu_shows_five_answers(tmp_path: Path) -> None:
    [found] = read_questions([files.mmlu(tmp_path)])
    text = prompt(found.questions[3])
    assert text.startswith(
        "The following are multiple choice questions (with answers) about law.\n\n"
        "dev law 0, what?\nA. one\nB. two\nC. three\nD. four\nAnswer: A\n\n"
    )
    assert text.count("Answer: ") == 5 and text.endswith(
        "test law 0, what?\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    )
    [chinese] = read_questions([files.cmmlu(tmp_path)])
    assert prompt(chinese.questions[0]).startswith("以下是关于 anatomy 的单项选择题及其答案。\n\n下列哪一项？")


def test_prompts_of_boxes_name_their_convention(tmp_path: Path) -> None:
    [found] = read_questions([files.refcoco(tmp_path)])
    plain = "Please provide the bounding box coordinate of the region this sentence describes: left man"
    assert prompt(found.questions[0]) == plain
    assert prompt(found.questions[0], boxes=BoxConvention("thousand", "size")) == (
        f"{plain} (from 0 to 1000) as x, y, width, height"
    )


def test_own_turns_are_asked_as_they_are_and_blind_without_images(tmp_path: Path) -> None:
    [found] = read_questions([files.own_conversations(tmp_path)])
    asked = messages(found.questions[1])
    assert [one.role for one in asked] == ["user", "assistant", "user"] and asked[0].parts[0] == found.questions[
        1
    ].images[0]
    assert all(isinstance(part, str) for one in messages(found.questions[1], blind=True) for part in one.parts)


def test_every_form_has_a_prompt_and_a_title() -> None:
    assert set(KINDS) == set(FORMS) and all(one.title and one.tokens for one in FORMS.values())
