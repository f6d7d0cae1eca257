"""The chat on the terminal with typed lines from a list: images, RESET, and a full context."""

from collections.abc import Iterator
from typing import Any

import pytest

from llm.chat.sampling import Sampling
from llm.chat.terminal import Terminal
from llm.errors import ImageError, Place, RecordError, TemplateError
from llm.formats.conversation import ImageRef, Message, VideoRef


class Recorder:
    """Answers with a number and keeps what it was asked; five messages fit."""

    sees_images = sees_videos = True

    def __init__(self) -> None:
        self.asked: list[tuple[Message, ...]] = []

    def fit_to_context(self, messages: tuple[Message, ...], new_tokens: int) -> tuple[Message, ...]:
        assert new_tokens == 7
        if messages[-1].text == "refused":
            raise TemplateError(
                "a.json:3 (record 1): the chat template refuses the turns user, user: no. Set data.template"
            )
        return messages if len(messages) <= 5 else (*messages[:1], *messages[3:])

    def stream(self, messages: tuple[Message, ...], _: Sampling) -> Iterator[str]:
        if messages[-1].text == "bad":
            raise RecordError(Place("a.json", 3), "text", "nothing can be said to that", "Remove the record")
        self.asked.append(messages)
        yield from ("answer ", str(len(self.asked)))
        if messages[-1].text == "long":
            raise KeyboardInterrupt

    def answer(self, messages: tuple[Message, ...], sampling: Sampling) -> str:
        return "".join(self.stream(messages, sampling))


def check(image: ImageRef) -> None:
    if "broken" in image.path:
        raise ImageError("cut off", "Replace the file or drop the record", image.path, "image-broken")


def talk(monkeypatch: pytest.MonkeyPatch, typed: list[str], chat_model: Recorder, **options: Any) -> None:
    lines = iter(typed)

    def ask(_: str) -> str:
        line = next(lines, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr("builtins.input", ask)
    Terminal(chat_model, Sampling(max_new_tokens=7), check, **options).talk()


def user(text: str, *images: str) -> Message:
    return Message("user", (*(ImageRef(path) for path in images), text))


def assistant(text: str) -> Message:
    return Message("assistant", (text,))


@pytest.mark.parametrize("stream", [True, False])
def test_reset_starts_a_new_conversation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: bool
) -> None:
    chat_model = Recorder()
    typed = ["你好", "", "two", "RESET", "three", "EXIT", "never"]
    talk(monkeypatch, typed, chat_model, system="S", images=("a.png",), stream=stream)
    system = Message("system", ("S",))
    first = (system, user("你好", "a.png"))
    assert chat_model.asked == [
        first,
        (*first, assistant("answer 1"), user("two")),
        (system, user("three", "a.png")),
    ]
    printed = capsys.readouterr().out
    assert "answer 1\n" in printed and "(new conversation)" in printed and "answer 4" not in printed


def test_images_are_added_between_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_model = Recorder()
    talk(monkeypatch, ["one", "/image b.png", "/image broken.png", "/image c.png", "two", "three"], chat_model)
    assert chat_model.asked[1][-1] == user("two", "b.png", "c.png")
    assert chat_model.asked[2][-1] == user("three")
    assert "(broken.png: cut off. Open it in another program, save a new copy and send that)" in capsys.readouterr().out


def test_a_text_model_refuses_images(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    chat_model = Recorder()
    chat_model.sees_images = False
    talk(monkeypatch, ["/image b.png", "one"], chat_model)
    assert chat_model.asked == [(user("one"),)] and "accepts no images" in capsys.readouterr().out


def test_a_video_is_shown_with_the_next_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_model = Recorder()
    talk(monkeypatch, ["/video a.mp4", "/image b.png", "one", "/video broken.mp4", "two"], chat_model)
    assert chat_model.asked[0][-1] == Message("user", (VideoRef("a.mp4"), ImageRef("b.png"), "one"))
    assert chat_model.asked[1][-1] == user("two") and "(broken.mp4: cut off" in capsys.readouterr().out
    chat_model.sees_videos = False
    talk(monkeypatch, ["/video a.mp4", "three"], chat_model)
    assert chat_model.asked[2] == (user("three"),) and "this model accepts no videos" in capsys.readouterr().out


def test_oldest_turns_are_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    chat_model = Recorder()
    talk(monkeypatch, ["one", "two", "three", "four"], chat_model, system="S")
    assert [message.text for message in chat_model.asked[2]] == ["S", "two", "answer 2", "three"]
    assert [message.text for message in chat_model.asked[3]] == ["S", "three", "answer 3", "four"]
    assert capsys.readouterr().out.count("(1 of the oldest turns no longer fit") == 2


def test_a_question_that_cannot_be_answered_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_model = Recorder()
    talk(monkeypatch, ["one", "bad", "two"], chat_model)
    assert [message.text for message in chat_model.asked[1]] == ["one", "answer 1", "two"]
    assert "(nothing can be said to that. Rephrase the last question, or start a new chat)" in capsys.readouterr().out


def test_a_template_that_refuses_the_turns_does_not_end_the_chat(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_model = Recorder()
    talk(monkeypatch, ["refused", "one"], chat_model)
    assert chat_model.asked == [(user("one"),)]
    printed = capsys.readouterr().out
    reason = "this model's chat format cannot hold these turns"
    assert f"({reason}. Start with a question, or leave the system prompt out)" in printed
    assert "data.template" not in printed and "record" not in printed


def test_words_and_commands_leave_reset_and_explain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_model = Recorder()
    talk(monkeypatch, ["one", "/reset", "two", "/help", "/rest", "/exit now", "quit", "never"], chat_model)
    assert chat_model.asked == [(user("one"),), (user("two"),)]
    printed = capsys.readouterr().out
    assert "/rest: no such command; did you mean /reset?" in printed
    assert "/exit: takes nothing, found 'now'" in printed
    assert "Ctrl-C        stop an answer" in printed and "//..." in printed


def test_a_dropped_image_may_be_followed_by_its_question(monkeypatch: pytest.MonkeyPatch) -> None:
    chat_model = Recorder()
    talk(
        monkeypatch,
        ["'/data/my b.png' what is it?", "'/data/broken.png' and this?", "/data/c.png", "three"],
        chat_model,
    )
    assert chat_model.asked[0] == (user("what is it?", "/data/my b.png"),)
    assert [asked[-1] for asked in chat_model.asked[1:]] == [user("three", "/data/c.png")]


def test_ctrl_c_stops_an_answer_and_twice_in_a_row_leaves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_model = Recorder()
    talk(monkeypatch, ["long", "^C", "two", "^C", "^C", "never"], chat_model)
    assert [message.text for message in chat_model.asked[1]] == ["long", "answer 1", "two"]
    assert len(chat_model.asked) == 2
    printed = capsys.readouterr().out
    assert "answer 1\n(stopped)\n" in printed and printed.count("(Ctrl-C once more") == 2
