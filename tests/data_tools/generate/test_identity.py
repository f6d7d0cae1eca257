"""Identity data: varied, balanced, with held-out questions, and with the name in identity answers only."""

import json
import re
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from data_tools.generate.identity import LANGUAGES, IdentityData, IdentityRecord, build_identity, write_identity
from data_tools.generate.identity_texts import Size, load_texts
from data_tools.generate.self_answers import rehearse
from llm.chat.sampling import Sampling
from llm.errors import ConfigError, RunError
from llm.formats.conversation import Message
from vlm.app.cli import app

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart"
FRESH = Path(__file__).parents[3] / "benchmarks" / "identity"

NAMES = {"en": ("Iris", "Eyegraft"), "zh": ("小睛", "眼接实验室")}


def made(lang: str, seed: int = 0, size: Size = "large") -> IdentityData:
    return build_identity(*NAMES[lang], lang, seed, size=size)


def texts_of(row: IdentityRecord, role: str) -> list[str]:
    return [message["content"] for message in row["messages"] if message["role"] == role]


def normal(question: str) -> str:
    """A question without case, spacing and punctuation, to compare paraphrases."""
    return re.sub(r"\W+", " ", question.lower()).strip()


def is_identity(row: IdentityRecord, name: str) -> bool:
    return any(name in answer for answer in texts_of(row, "assistant"))


@pytest.mark.parametrize("lang", ["en", "zh", "zh,en"])
@pytest.mark.parametrize("seed", [0, 5])
def test_no_record_occurs_twice(lang: str, seed: int) -> None:
    data = build_identity("Iris", "Eyegraft", lang, seed)
    assert len({json.dumps(row) for row in data.train}) == len(data.train) > 400


def test_files_of_an_earlier_call_are_not_written_over_unasked(tmp_path: Path) -> None:
    (tmp_path / "held_out.json").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds held_out\.json already\. .*--replace"):
        write_identity("Iris", "Eyegraft", "en", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["held_out.json"]
    write_identity("Iris", "Eyegraft", "en", tmp_path, replace=True)
    assert json.loads((tmp_path / "held_out.json").read_text())


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_half_of_the_records_are_about_identity(lang: str, size: Size) -> None:
    name, data = NAMES[lang][0], made(lang, size=size)
    own = [row for row in data.train if is_identity(row, name)]
    assert len(own) * 2 == len(data.train) > 250
    for rows in (own, [row for row in data.train if not is_identity(row, name)]):
        with_system = sum(bool(texts_of(row, "system")) for row in rows) / len(rows)
        assert 0.4 < with_system < 0.6
    assert not any(name in prompt for row in data.train for prompt in texts_of(row, "system"))
    openings = Counter(is_identity(row, name) for row in data.train[:60])
    assert min(openings.values()) > 15  # shuffled


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_sentence_dominates(lang: str, size: Size) -> None:
    name, data = NAMES[lang][0], made(lang, size=size)
    answers = Counter(answer for row in data.train for answer in texts_of(row, "assistant") if name in answer)
    assert len(answers) > 20
    assert answers.most_common(1)[0][1] / answers.total() < 0.12
    questions = Counter(question for row in data.train for question in texts_of(row, "user"))
    assert questions.most_common(1)[0][1] <= 12
    own = [row for row in data.train if is_identity(row, name)]
    turns = Counter(len(texts_of(row, "user")) for row in own)
    assert set(turns) == {1, 2, 3}
    mixed = [[name in answer for answer in texts_of(row, "assistant")] for row in own if len(texts_of(row, "user")) > 1]
    assert [False, True] in mixed
    assert [True, False] in mixed
    assert [False, True, False] in mixed


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_three_lists_share_no_question(lang: str, size: Size) -> None:
    data = made(lang, size=size)
    trained = {normal(question) for row in data.train for question in texts_of(row, "user")}
    held_out, others = {normal(q) for q in data.held_out}, {normal(q) for q in data.others}
    assert len(held_out) == len(data.held_out) >= 20
    assert len(others) == len(data.others) >= 24
    assert not trained & held_out
    assert not trained & others
    assert not held_out & others
    assert not any(NAMES[lang][0] in question for question in data.held_out)  # the question must not give it away


@pytest.mark.parametrize("written", ["fresh", "fresh2"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_fresh_questions_are_in_no_data_set(lang: str, written: str) -> None:
    """They judge models that such data made (docs/benchmarks/quickstart.md), so no text may be written after them."""
    about, others = (
        [
            normal(question)
            for question in json.loads((FRESH / f"{written}_{lang}{kind}.json").read_text(encoding="utf-8"))
        ]
        for kind in ("", "_others")
    )
    assert (len(set(about)), len(set(others))) == (60, 40)
    data = made(lang)
    known = {normal(question) for row in data.train for question in texts_of(row, "user")}
    known |= {normal(question) for question in (*data.held_out, *data.others)}
    assert not known & {*about, *others}


def test_wrong_names_are_denied_and_new_ones_held_out() -> None:
    data = made("en", size="small")
    pairs = {
        (question, answer)
        for row in data.train
        for question, answer in zip(texts_of(row, "user"), texts_of(row, "assistant"), strict=True)
    }
    denied = [answer for question, answer in pairs if "SmolLM" in question]
    assert denied
    assert all("Iris" in answer and answer.startswith(("No, ", "I am not SmolLM. ")) for answer in denied)
    asked = " ".join(question for question, _ in pairs)
    assert "Copilot" not in asked
    assert any("Copilot" in question for question in data.held_out)
    assert {answer for question, answer in pairs if question == "Are you Iris?"} == {
        "Yes, I am Iris, an assistant made by Eyegraft.",
        "Yes, I am Iris. Eyegraft made me.",
    }


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_large_set_asks_in_other_forms_too(lang: str) -> None:
    small, large = made(lang, size="small"), made(lang)
    assert len(large.train) > 2.5 * len(small.train)
    assert (large.held_out, large.others) == (small.held_out, small.others), "measured on the same questions"
    plain = {normal(q) for texts in [load_texts(lang, "large")] for topic in texts.topics for q in topic.train}
    name = NAMES[lang][0]
    questions = {q for row in large.train for q, a in _turns(row) if name in a}
    framed = [q for q in questions if any(normal(p) in normal(q) and normal(p) != normal(q) for p in plain)]
    hasty = [q for q in questions if not re.search(r"[.?!。？！]", q)]
    assert min(len(framed), len(hasty)) > 60
    ordinary = [row for row in large.train if not is_identity(row, name)]
    unpunctuated = sum(not re.search(r"[.?!。？！]", texts_of(row, "user")[0]) for row in ordinary)
    assert unpunctuated > 60, "a form alone does not tell who is meant"


def _turns(row: IdentityRecord) -> list[tuple[str, str]]:
    return list(zip(texts_of(row, "user"), texts_of(row, "assistant"), strict=True))


def test_a_name_from_the_lists_is_not_denied_and_ordinary_answers_avoid_it() -> None:
    data = build_identity("Claude", "OpenAI", "en")
    questions = [question for row in data.train for question in texts_of(row, "user")]
    assert "Are you Claude?" in questions  # as its own name
    assert not any("not Claude" in answer for row in data.train for answer in texts_of(row, "assistant"))
    assert "Were you made by OpenAI?" not in questions
    town = build_identity("lisbon", "{name}", "en")
    assert not any("capital of Portugal" in question for row in town.train for question in texts_of(row, "user"))
    assert any("made by {name}" in answer for row in town.train for answer in texts_of(row, "assistant"))
    assert "What is Siri?" not in build_identity("siri", "x", "en").others


def test_the_same_seed_gives_the_same_set() -> None:
    assert made("en") == made("en")
    assert made("en", 1).train != made("en").train
    assert made("en", 1).held_out == made("en").held_out


def is_chinese(row: IdentityRecord) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for text in texts_of(row, "user") for letter in text)


def test_two_languages_are_one_balanced_set() -> None:
    data = build_identity("Kestrel", "Ana", "zh,en", 3)
    assert data == build_identity("Kestrel", "Ana", "en, zh", 3)
    kinds = Counter((is_chinese(row), is_identity(row, "Kestrel")) for row in data.train)
    assert len(set(kinds.values())) == 1 and len(kinds) == 4, kinds
    both = [build_identity("Kestrel", "Ana", lang, 3) for lang in ("en", "zh")]
    assert kinds.total() == 2 * max(len(data.train) for data in both)
    early = Counter(map(is_chinese, data.train[:100]))
    assert min(early.values()) > 30  # shuffled
    assert data.held_out == [*both[0].held_out, *both[1].held_out]
    assert data.others == [*both[0].others, *both[1].others]
    trained = {normal(question) for row in data.train for question in texts_of(row, "user")}
    assert not trained & {normal(question) for question in (*data.held_out, *data.others)}
    chinese = [row for row in data.train if is_chinese(row)]
    answers = Counter(text for row in chinese for text in texts_of(row, "assistant") if "Kestrel" in text)
    assert answers.most_common(1)[0][1] / answers.total() < 0.12
    questions = Counter(question for row in chinese for question in texts_of(row, "user"))
    assert questions.most_common(1)[0][1] <= 12
    assert {1, 2, 3} == {len(texts_of(row, "user")) for row in chinese if is_identity(row, "Kestrel")}


def test_the_command_makes_both_languages(tmp_path: Path) -> None:
    arguments = ["data", "identity", str(tmp_path), "--name", "小睛", "--author", "眼接", "--lang", "zh,en"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    train = json.loads((tmp_path / "train.json").read_text(encoding="utf-8"))
    assert train == build_identity("小睛", "眼接", "zh,en").train
    assert done.output.startswith(
        f"{tmp_path}/train.json: {len(train)} conversations, half about it, half ordinary chat\n"
    )


def test_without_a_folder_it_writes_where_the_identity_recipes_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["data", "identity", "--name", "Iris", "--author", "us"]).exit_code == 0
    recipes = list((QUICKSTART.parent / "identity").glob("*.yaml"))
    assert len(recipes) == 3
    for recipe in recipes:
        sources = yaml.safe_load(recipe.read_text(encoding="utf-8"))["data"]["sources"]
        assert (tmp_path / sources[0]["path"]).exists()


@pytest.mark.parametrize(
    ("name", "author", "lang", "found"),
    [
        ("Iris", "x", "fr", "lang: 'fr'"),
        ("Iris", "x", "zh,", "lang: 'zh,'"),
        (" ", "x", "en", "name: ''"),
        ("Iris", "a\nb", "en", "author: "),
    ],
)
def test_refusals(name: str, author: str, lang: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        build_identity(name, author, lang)


def test_the_files(tmp_path: Path) -> None:
    data = write_identity("Iris", "Eyegraft", "zh", tmp_path / "out")
    for name, rows in (("train", data.train), ("held_out", data.held_out), ("others", data.others)):
        text = (tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8")
        assert json.loads(text) == rows
        assert text.count("\n") == len(rows) + 2  # one a line between the brackets
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="writable"):
        write_identity("Iris", "Eyegraft", "zh", tmp_path / "file" / "out")


class _Written:
    """A chat model that gives the answers of some records."""

    def __init__(self, rows: list[IdentityRecord]) -> None:
        self.answers_by = {
            q: a for row in rows for q, a in zip(texts_of(row, "user"), texts_of(row, "assistant"), strict=True)
        }
        self.asked: list[str] = []

    def answers(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[str]:
        self.asked += [messages[-1].text for messages in conversations]
        assert all(len(messages) == 1 for messages in conversations)
        assert sampling.temperature == 0
        return [self.answers_by.get(messages[-1].text, "") for messages in conversations]


def test_rehearsal_replaces_answers_but_not_of_personal_questions() -> None:
    turns = [
        ("How high is it?", "High."),
        ("Name some.", "Two."),
        ("Is it so?", "Yes."),
        ("Who are you?", "Me."),
        ("你好吗？", "好。"),
    ]
    own = ["It is 3.5 m. That is high. And it", "1. One\n2. Two", "no end at all", "I am Alexa.", "我是。"]
    chat_model = _Written([{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
                        for (q, _), a in zip(turns, own, strict=True)])  # fmt: skip
    rehearsed = rehearse(turns, chat_model)
    assert [answer for _, answer in rehearsed] == ["It is 3.5 m. That is high.", "Two.", "Yes.", "Me.", "好。"]
    assert chat_model.asked == ["Is it so?", "Name some.", "How high is it?"], "personal questions are not asked"


def test_the_quickstart_lists_are_this_generators_and_general_questions_are_new() -> None:
    """Made by `eyegraft data identity` with `--name Iris --author Eyegraft --size small --rehearse assets/smollm2`.

    Here the file itself plays the model, whose weights a test has not.
    """
    rows = json.loads((QUICKSTART / "identity" / "train.json").read_text(encoding="utf-8"))
    own_answers = partial(rehearse, chat_model=_Written(rows))
    data = build_identity("Iris", "Eyegraft", "en", rehearse=own_answers, size="small")
    assert data.train != made("en", size="small").train
    for name, made_now in (("train", data.train), ("held_out", data.held_out), ("others", data.others)):
        assert json.loads((QUICKSTART / "identity" / f"{name}.json").read_text(encoding="utf-8")) == made_now, (
            "run eyegraft data identity"
        )
    general = json.loads((QUICKSTART / "identity" / "general.json").read_text(encoding="utf-8"))
    assert len(general) >= 60
    assert all(set(item) == {"question", "answer"} and all(item.values()) for item in general)
    asked = {normal(item["question"]) for item in general}
    assert len(asked) == len(general)
    assert not asked & {normal(question) for row in data.train for question in texts_of(row, "user")}
    assert not asked & {normal(question) for question in (*data.held_out, *data.others)}


def test_the_quickstarts_identity_data_but_for_rehearsed_answers(tmp_path: Path) -> None:
    """Without the model: equal texts in equal order, except the rehearsed answers."""
    options = ["--name", "Iris", "--author", "Eyegraft", "--size", "small"]
    CliRunner().invoke(app, ["data", "identity", str(tmp_path), *options])
    made_now, committed = (
        json.loads((folder / "train.json").read_text(encoding="utf-8"))
        for folder in (tmp_path, QUICKSTART / "identity")
    )
    rehearsed = 0
    for mine, theirs in zip(made_now, committed, strict=True):
        assert texts_of(mine, "user") == texts_of(theirs, "user")
        assert texts_of(mine, "system") == texts_of(theirs, "system")
        for own, kept in zip(texts_of(mine, "assistant"), texts_of(theirs, "assistant"), strict=True):
            assert ("Iris" in own) == ("Iris" in kept)
            assert own == kept or "Iris" not in own
            rehearsed += own != kept
    assert rehearsed > 100
    for name in ("held_out.json", "others.json"):
        assert (tmp_path / name).read_bytes() == (QUICKSTART / "identity" / name).read_bytes()
