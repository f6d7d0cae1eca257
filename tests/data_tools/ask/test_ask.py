"""`data ask` against a server that fails, stalls and truncates on purpose, through OpenAI's own client."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from data_tools.ask.ask import AskOutcome, ask
from data_tools.ask.journal import journal_path
from data_tools.ask.options import AskOptions
from data_tools.ask.plan import AskPlan, prepare
from data_tools.ask.rate_limit import RetryPolicy
from llm.config.schema import Source
from llm.errors import ConfigError, EyegraftError, RunError
from llm.formats.readers import read
from tests.data_tools.ask.stub import Act, ReceivedRequest, Script, Stub, first, good, listening
from tests.llm.rows import bot, system, user
from vlm.app.cli_data import data_app

ROOT = Path(__file__).resolve().parents[3]
KEY = "sk-proj-Zq7Wv3Lm9Xt2Bn5Kc8"
QUICK = RetryPolicy(retries=2, first=0.01, longest=0.02)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def lines(folder: Path, *questions: str) -> Path:
    path = folder / "questions.txt"
    path.write_text("\n".join(questions) + "\n", encoding="utf-8")
    return path


def plan_of(source: Path, stub: Stub, out: str = "out.jsonl", policy: RetryPolicy = QUICK, **options: Any) -> AskPlan:
    wanted = AskOptions("small", stub.url, **options)
    return replace(prepare(source, source.parent / out, wanted), retry_policy=policy)


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers_of(path: Path) -> dict[str, str]:
    """Answers by question, from messages of one turn."""
    return {row["messages"][-2]["content"]: row["messages"][-1]["content"] for row in rows_of(path)}


def run(script: Script, folder: Path, *questions: str, **options: Any) -> tuple[AskOutcome, Stub]:
    with listening(script) as stub:
        return ask(plan_of(lines(folder, *questions), stub, **options)), stub


def test_what_is_sent_and_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    prompt = tmp_path / "system.txt"
    prompt.write_text("你是小睛。\n", encoding="utf-8")
    wanted = {"system": str(prompt), "set": ("temperature=0.5", "user=me", 'stop=["。"]'), "keep_system": True}
    outcome, stub = run(good, tmp_path, "你是谁？", "Who are you?", " 你是谁？ ", **wanted)
    assert (outcome.exit_code, outcome.sent, outcome.progress.retried, outcome.waiting) == (0, 2, 0, 0)
    assert (outcome.progress.tokens.prompt, outcome.progress.tokens.completion) == (20, 6)
    assert rows_of(tmp_path / "out.jsonl") == [
        {
            "messages": [
                {"role": "system", "content": "你是小睛。"},
                {"role": "user", "content": text},
                {"role": "assistant", "content": f"答：{text}"},
            ]
        }
        for text in ("你是谁？", "Who are you?")
    ]
    assert {one.headers["authorization"] for one in stub.asked} == {f"Bearer {KEY}"}
    assert sorted((one.body for one in stub.asked), key=lambda body: str(body["messages"][1]))[0] == {
        "model": "small",
        "messages": [{"role": "system", "content": "你是小睛。"}, {"role": "user", "content": "Who are you?"}],
        "temperature": 0.5,
        "user": "me",
        "stop": ["。"],
    }
    read_back = [one.messages for one in read(Source(path="out.jsonl"), tmp_path)]
    assert read_back[0] == (system("你是小睛。"), user("你是谁？"), bot("答：你是谁？"))


def test_without_keep_system_the_system_prompt_is_not_stored(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("Be brief.")
    outcome, stub = run(good, tmp_path, "Q", out="out.json", system=str(tmp_path / "system.txt"))
    assert stub.asked[0].body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert stub.asked[0].headers["authorization"] == "Bearer none"
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == [
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "答：Q"}]}
    ]
    assert outcome.exit_code == 0


COMPLETION = Act("x").content("small")
TEMPORARY = {
    "500": Act("down", status=500),
    "503": Act("busy", status=503, headers={"retry-after": "0.01"}),
    "408": Act("slow", status=408),
    "429": Act("later", status=429, headers={"retry-after": "0.05"}),
    "a stall": Act("late", after=60),
    "a closed connection": Act(how="close"),
    "half a body": Act("x", how="half"),
    "half a JSON": Act(body=COMPLETION[:-20]),
    "no JSON": Act(body=b"<html>", headers={"content-type": "text/html"}),
    "no choices": Act(body=b'{"choices": []}'),
    "an error called 200": Act(body=b'{"error": {"message": "upstream"}}'),
    "cut off": Act("It is", finish="length"),
    "empty": Act(""),
    "blank": Act(" \n"),
    "half a character": Act(body=COMPLETION.replace(b'"x"', b'"\\ud83d"')),
}


def patience(case: str) -> float:
    """The time limit of a request: of a stall it is waited for, of others never reached."""
    return 1.0 if case == "a stall" else 30


def is_as_often(found: int, expected: int, case: str) -> bool:
    """Whether it was asked that often. On a busy machine a good answer may take longer than a stall's limit too."""
    return found >= expected if case == "a stall" else found == expected


@pytest.mark.parametrize("case", TEMPORARY)
def test_a_temporary_failure_is_retried(tmp_path: Path, case: str) -> None:
    outcome, stub = run(first(TEMPORARY[case]), tmp_path, "Q", timeout=patience(case))
    assert outcome.exit_code == 0 and outcome.sent == outcome.progress.retried + 1
    assert answers_of(tmp_path / "out.jsonl") == {"Q": "答：Q"}
    assert is_as_often(outcome.sent, 2, case) and is_as_often(stub.times("Q"), 2, case)


@pytest.mark.parametrize("case", TEMPORARY)
def test_a_lasting_failure_is_reported_and_retried_by_the_next_run(tmp_path: Path, case: str) -> None:
    def script(asked: ReceivedRequest) -> Act:
        return TEMPORARY[case] if asked.text == "坏" and not mended else good(asked)

    mended: list[bool] = []
    with listening(script) as stub:
        plan = plan_of(lines(tmp_path, "坏", "Q"), stub, timeout=patience(case))
        outcome = ask(plan)
        assert (outcome.exit_code, stub.times("坏")) == (3, 3) and is_as_often(stub.times("Q"), 1, case)
        ((name, reason),) = outcome.progress.failed
        assert name == '"坏"' and ("3 times" in reason)
        assert answers_of(plan.out) == {"Q": "答：Q"}
        assert [row["failed"] for row in rows_of(journal_path(plan.out)) if "failed" in row] == [reason]
        mended.append(True)
        again = ask(plan)
        assert (again.exit_code, again.before) == (0, 1) and is_as_often(again.sent, 1, case)
        assert is_as_often(stub.times("坏"), 4, case) and is_as_often(stub.times("Q"), 1, case)
        assert list(answers_of(plan.out)) == ["坏", "Q"]  # in the order of the questions


def test_retry_after_holds_for_all_workers(tmp_path: Path) -> None:
    """One request gets a Retry-After; no worker sends before it ends."""
    slow = Act("later", status=429, headers={"retry-after": "0.6"})

    def script(asked: ReceivedRequest) -> Act:
        return slow if asked.text == "Q0" and not asked.times else Act("A", after=0.05)

    outcome, stub = run(script, tmp_path, *(f"Q{n}" for n in range(12)), workers=2)
    began = next(one.at for one in stub.asked if one.text == "Q0")
    assert outcome.exit_code == 0
    later = sorted(one.at - began for one in stub.asked if one.at - began > 0.3)
    assert len(later) >= 10 and later[0] >= 0.58, later
    assert len(stub.asked) - len(later) <= 3


FATAL: dict[str, tuple[Act, type[EyegraftError], str]] = {
    "400": (Act("no such field", status=400), ConfigError, 'refused "Q": 400: no such field.*--set'),
    "401": (Act("who?", status=401), ConfigError, "401: who.*OPENAI_API_KEY"),
    "403": (Act("not you", status=403), ConfigError, "403: not you.*may not use"),
    "404": (Act("no model", status=404), ConfigError, "404: no model.*--model.*--base-url"),
    "405": (Act("no", status=405), ConfigError, "405: no.*ends in /v1"),
    "quota": (
        Act(status=429, body=b'{"error": {"message": "pay", "code": "insufficient_quota"}}'),
        RunError,
        "no quota left.*pay",
    ),
    "a long wait": (Act("x", status=429, headers={"retry-after": "7200"}), RunError, "to wait 7,200 s"),
}


@pytest.mark.parametrize("case", FATAL)
def test_an_error_that_no_retry_mends_stops_the_run(tmp_path: Path, case: str) -> None:
    act, kind, found = FATAL[case]
    with listening(lambda asked: act) as stub:
        with pytest.raises(kind, match=found):
            ask(plan_of(lines(tmp_path, "Q", "R", "S"), stub, workers=1))
        assert [one.text for one in stub.asked] == ["Q"]
    assert not (tmp_path / "out.jsonl").exists()


def test_after_an_answer_a_refusal_fails_only_its_question(tmp_path: Path) -> None:
    acts = {
        "long": Act("too long", status=400),
        "filtered": Act("Well", finish="content_filter"),
        "refused": Act("", refusal="I will not"),
    }
    outcome, stub = run(lambda asked: acts.get(asked.text) or good(asked), tmp_path, "Q", *acts, "R", workers=1)
    assert outcome.progress.failed == [
        ('"long"', "400: too long"),
        ('"filtered"', "the server's content filter cut the answer"),
        ('"refused"', "the model refused: I will not"),
    ]
    assert len(stub.asked) == 5 and list(answers_of(tmp_path / "out.jsonl")) == ["Q", "R"]
    with listening(lambda asked: acts["long"]) as again:  # the journal's answers count too
        assert ask(plan_of(tmp_path / "questions.txt", again)).exit_code == 3


def test_a_server_that_is_down_ends_the_run(tmp_path: Path) -> None:
    questions = lines(tmp_path, *(f"Q{n}" for n in range(40)))
    with listening(lambda asked: good(asked) if asked.text == "Q0" else Act(how="close")) as stub:
        plan = plan_of(questions, stub, workers=1)
        with pytest.raises(RunError, match="10 consecutive questions.*run the same command"):
            ask(plan)
    assert len(stub.asked) == 1 + 10 * 3
    assert list(answers_of(tmp_path / "out.jsonl")) == ["Q0"]


def test_the_limit_counts_requests(tmp_path: Path) -> None:
    questions = [f"Q{n}" for n in range(6)]
    outcome, stub = run(first(Act("x", status=500)), tmp_path, *questions, limit=5, workers=2)
    assert len(stub.asked) == outcome.sent == 5
    assert (outcome.exit_code, outcome.progress.failed) == (0, [])
    assert len(answers_of(tmp_path / "out.jsonl")) == 6 - outcome.waiting == 2


def test_requests_per_minute(tmp_path: Path) -> None:
    """Ten a second. A busy machine may delay requests, so each is measured from the start."""
    began = time.monotonic()
    outcome, stub = run(first(Act("x", status=500)), tmp_path, "A", "B", "C", per_minute=600, workers=3)
    assert outcome.exit_code == 0
    after = [asked.at - began for asked in stub.asked]
    assert len(after) == 6 and all(seconds > 0.1 * number for number, seconds in enumerate(after)), after


def test_other_settings_need_other_answers(tmp_path: Path) -> None:
    with listening(lambda asked: Act(f"{asked.body.get('temperature')}")) as stub:
        path = lines(tmp_path, "Q")
        ask(plan_of(path, stub))
        warm = ask(plan_of(path, stub, set=("temperature=1",)))
        assert (warm.before, warm.sent, warm.others) == (0, 1, 1)
        assert answers_of(tmp_path / "out.jsonl") == {"Q": "1"}
        cold = ask(plan_of(path, stub))
        assert (cold.before, cold.sent) == (1, 0)
        assert answers_of(tmp_path / "out.jsonl") == {"Q": "None"}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(data_app, ["ask", *map(str, arguments)])


def test_the_command_reports(tmp_path: Path) -> None:
    with listening(lambda asked: Act("no", status=500) if asked.text == "坏" else good(asked)) as stub:
        path, out = lines(tmp_path, "Q", "坏", "Q", "R"), tmp_path / "a" / "out.json"
        output = call(path, out, "--model", "m", "--base-url", stub.url, "--retries", 0, "--workers", 1)
        assert output.exit_code == 3, output.output
        assert output.output.splitlines() == [
            f"{out}: 2 of 3 answered",
            "3 requests, 0 of them retries; 20 tokens read, 6 written",
            "Repeated questions left out: 1",
            "1 failed; the same command retries them:",
            '  "坏": 500: no',
        ]
        output = call(path, out, "--model", "m", "--base-url", stub.url, "--limit", 1, "--retries", 1)
        assert (output.exit_code, output.stderr) == (0, "")  # no progress bar without a terminal
        assert output.output.splitlines()[0] == f"{out}: 2 of 3 answered, 2 of them by earlier runs"
        assert output.output.splitlines()[-2:] == [
            "Stopped by --limit 1, 1 questions left. Run the same command to continue",
            f"next: eyegraft data check {out}",
        ]


def test_a_bar_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    run(first(Act("", finish="stop")), tmp_path, "Q", "R")
    assert "2/2" in (output := capsys.readouterr().err)
    assert "0 failed  2 retried  52 tokens" in output


def echo(status: int) -> Script:
    return lambda asked: Act(f"your header was {asked.headers['authorization']}", status=status)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_the_key_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    """The server repeats the key in every response."""
    monkeypatch.setenv("MY_KEY", KEY)
    with listening(echo(status)) as stub:
        asked = plan_of(lines(tmp_path, "Q"), stub, key_env="MY_KEY", workers=1)
        shown = repr(asked)
        try:
            shown += repr(ask(asked))
        except EyegraftError as error:
            shown += str(error)
        assert stub.asked[0].headers["authorization"] == f"Bearer {KEY}"
    shown += journal_path(asked.out).read_text() + "".join(capsys.readouterr())
    shown += asked.out.read_text() if asked.out.exists() else ""
    assert status == 200 or "your header was Bearer ***" in shown
    assert KEY not in shown and not any(KEY[n : n + 8] in shown for n in range(len(KEY) - 7))


def test_an_unencrypted_key_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("data_tools.ask.ask.is_unencrypted", lambda url: True)
    run(good, tmp_path, "Q")
    assert capsys.readouterr().err == ""  # there is no key
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _, stub = run(good, tmp_path, "Q")
    assert capsys.readouterr().err == f"{stub.url}: the key is sent unencrypted. Use https\n"


def test_the_key_is_redacted_from_the_clients_own_exceptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    import openai
    from openai.resources.chat.completions import AsyncCompletions

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    output = f"Illegal header value b'Bearer {KEY}'"

    async def connection(*_: object, **__: object) -> None:
        request = httpx2.Request("POST", "http://127.0.0.1")
        raise openai.APIConnectionError(request=request) from httpx2.LocalProtocolError(output)

    async def other(*_: object, **__: object) -> None:
        raise openai.OpenAIError(output)

    with listening(good) as stub:
        plan = plan_of(lines(tmp_path, "Q"), stub)
        monkeypatch.setattr(AsyncCompletions, "create", connection)
        outcome = ask(plan)
        monkeypatch.setattr(AsyncCompletions, "create", other)
        with pytest.raises(RunError) as caught:
            ask(plan)
    assert outcome.progress.failed == [('"Q"', "connection failed: Illegal header value b'Bearer ***', 3 times")]
    assert "Bearer ***" in str(caught.value) and KEY not in str(caught.value)
    assert KEY not in journal_path(plan.out).read_text()


def start(source: Path, out: Path, stub: Stub, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from vlm.app.cli import main; main()", "data", "ask", str(source), str(out)]
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    return subprocess.Popen(
        [*command, "--model", "m", "--base-url", stub.url, *more],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answered_at_least(stub: Stub, count: int) -> bool:
    return sum(stub.answered.values()) >= count


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_run_killed_twice_sends_no_answered_question_again(tmp_path: Path) -> None:
    """kill -9 during a run: answers survive; at most the requests in flight are sent again."""
    workers, questions = 3, [f"问题{n}" for n in range(60)]

    def script(asked: ReceivedRequest) -> Act:
        broken = asked.times == 0 and asked.text.endswith("7")
        return Act("x", status=500) if broken else Act(f"答{asked.text}", after=0.02)

    with listening(script) as stub:
        source, out = lines(tmp_path, *questions), tmp_path / "out.jsonl"
        for kill_at in (15, 35):
            child = start(source, out, stub, "--workers", str(workers))
            wait_until(partial(answered_at_least, stub, kill_at))
            child.kill()
            assert child.wait() == -signal.SIGKILL
            child.communicate()
            assert not out.exists() and sum(stub.answered.values()) < 55
            time.sleep(0.1)  # what was under way arrives at the stub
        before = len(rows_of(journal_path(out)))
        assert before >= 35 - 2 * workers
        with journal_path(out).open("a", encoding="utf-8") as file:
            file.write('{"key": "torn')  # a death inside the write itself, which no kill can be timed to hit
        child = start(source, out, stub, "--workers", str(workers))
        output, wrong = child.communicate(timeout=60)
        assert (child.returncode, wrong) == (0, "")
        assert f"60 of 60 answered, {before} of them by earlier runs" in output
    assert answers_of(out) == {text: f"答{text}" for text in questions}
    assert set(stub.answered) == set(questions)
    assert sum(stub.answered.values()) - len(questions) <= 2 * workers
    assert max(stub.answered.values()) <= 3
    assert len(rows_of(journal_path(out))) == 60
    assert KEY not in journal_path(out).read_text(encoding="utf-8") + output + wrong


def test_an_interrupt_waits_for_requests_in_flight(tmp_path: Path) -> None:
    """The first signal waits for the requests in flight, here two of half a second."""
    with listening(lambda asked: Act("A", after=0.5)) as stub:
        source, out = lines(tmp_path, *(f"Q{n}" for n in range(30))), tmp_path / "out.jsonl"
        child = start(source, out, stub, "--workers", "2")
        wait_until(lambda: len(stub.asked) >= 4)
        child.send_signal(signal.SIGINT)
        output, wrong = child.communicate(timeout=30)
        assert child.returncode == 130
        assert wrong == "stopping after the requests in flight; interrupt again to drop them\n"
        kept = len(answers_of(out))
        assert kept == len(stub.asked) == sum(stub.answered.values())
        assert (
            output.splitlines()[-1]
            == f"Stopped by SIGINT, {30 - kept} questions left. Run the same command to continue"
        )


def test_a_second_signal_drops_requests_in_flight(tmp_path: Path) -> None:
    with listening(lambda asked: Act("A", after=30 if asked.text != "Q0" else 0)) as stub:
        source, out = lines(tmp_path, "Q0", "Q1", "Q2"), tmp_path / "out.jsonl"
        child = start(source, out, stub, "--workers", "2")
        wait_until(lambda: len(stub.asked) >= 3)
        child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        output, _ = child.communicate(timeout=20)
        assert (child.returncode, list(answers_of(out))) == (143, ["Q0"])
        assert output.splitlines()[-1].startswith("Stopped by SIGTERM, 2 questions left")
