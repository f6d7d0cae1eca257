"""The page of one job: what it shows in each state, which buttons it has, and what they do."""

import json
import re
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from demo.job_pages.job_actions import OFFERED
from demo.job_pages.parts import disk_note
from demo.job_pages.parts.failure_words import REASON, WHAT_TO_DO
from demo.job_pages.parts.words import STATES, elapsed, least
from tests.demo.job_pages.stories import add_job, every_state, finished, is_unchanged, started, trained, validated
from tests.demo.payloads import XSS
from vlm.run_folders.progress import RunProgress
from vlm.service.results import results
from vlm.service.service import Service
from vlm.service.store.attempt_table import end_attempt
from vlm.service.store.event_table import add_metrics
from vlm.service.store.job_table import Note, find_job, move
from vlm.service.store.rows import JobError
from vlm.service.store.states import FINAL, NEXT, State

CHINESE = {"accept-language": "zh-CN"}


def shown_buttons(html: str) -> set[str]:
    return set(re.findall(r'id="act-(\w+)"', html))


@pytest.mark.parametrize("state", list(State))
def test_buttons_follow_the_state(visitor: TestClient, service: Service, state: State) -> None:
    """Those that are offered do what they say, and the others are conflicts, which are said in words."""
    job = add_job(service, "one")
    with service.database.transaction() as connection:
        connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, job.id))
    page = visitor.get(f"/jobs/{job.id}").text
    assert re.search(rf'href="/train\?like={job.id}"[^>]*>(Train again|New job like this)<', page)
    offered = shown_buttons(page)
    assert offered == {action for action, states in OFFERED.items() if state in states}
    assert ("remove" in offered) == (state in FINAL)
    for action in ("pause", "resume", "cancel"):
        with service.database.transaction() as connection:
            connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, job.id))
        answer = visitor.post(f"/pages/jobs/{job.id}/{action}", json={})
        found = find_job(service.database, job.id)
        assert found is not None
        if action in offered:
            assert answer.status_code == 200 and found.state in NEXT[state], (action, answer.text)
        elif answer.status_code != 200:  # cancelling again changes nothing
            assert answer.status_code == 409 and job.id in answer.json()["error"] and found.state is state


def test_a_conflict_is_said_in_the_language_of_the_page(visitor: TestClient, service: Service) -> None:
    job = add_job(service, "one")
    answer = visitor.post(f"/pages/jobs/{job.id}/resume", json={}, headers=CHINESE)
    assert answer.status_code == 409
    assert answer.json()["error"] == f"{job.id} 现为 正在检查数据，不能恢复；只有已暂停的任务可以恢复"
    assert visitor.post(f"/pages/jobs/{job.id}/delete_all", json={}).status_code == 404
    assert visitor.post("/pages/jobs/ftjob-none/pause", json={}).status_code == 404


@pytest.mark.parametrize("state", list(State))
def test_a_state_has_its_chinese_name_in_every_message(visitor: TestClient, service: Service, state: State) -> None:
    """Of buttons, and of a file that a job needs; in English it is named as the API names it."""
    file = service.files.add([b"{}\n"], "a.jsonl", "fine-tune").id
    job = add_job(service, "one", file=file)
    with service.database.transaction() as connection:
        connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, job.id))
    asked = [f"/pages/jobs/{job.id}/{action}" for action, states in OFFERED.items() if state not in states]
    asked += [] if state in FINAL else [f"/pages/files/{file}/delete"]
    said = [
        answer.json()["error"]
        for address in asked
        if (answer := visitor.post(address, json={}, headers=CHINESE)).status_code == 409
    ]
    assert said and all(f"现为 {STATES[state][1]}" in one or f"（{STATES[state][1]}）" in one for one in said), said
    english = [visitor.post(address, json={}).json().get("error", "") for address in asked]
    assert any(f"is {state}" in one for one in english)


def test_a_look_at_data_shows_the_time_that_it_takes(visitor: TestClient, service: Service) -> None:
    job = add_job(service, "one")
    with service.database.transaction() as connection:
        connection.execute("UPDATE jobs SET created_at = ? WHERE id = ?", (int(time.time()) - 72, job.id))
    assert re.search(r"waits for a slot\. 1 min 1\d s so far\.</p>", visitor.get(f"/jobs/{job.id}").text)
    assert re.search(r"进入队列。已用 1 分 1\d 秒。</p>", visitor.get(f"/jobs/{job.id}", headers=CHINESE).text)
    validated(service, job)
    assert "so far" not in visitor.get(f"/jobs/{job.id}").text
    assert (elapsed(7, "en"), elapsed(3700, "zh")) == ("7 s", "1 小时 2 分")


def test_removing_is_asked_once_and_ends_at_the_table(visitor: TestClient, service: Service) -> None:
    job = add_job(service, "one")
    move(service.database, job.id, {State.VALIDATING}, State.CANCELLED, Note())
    folder = service.layout.job(job.id)
    folder.mkdir(parents=True)
    page = visitor.get(f"/jobs/{job.id}").text
    assert re.search(r'id="act-remove"[^>]*data-ask="Remove this job', page) and '<dialog id="ask"' in page
    assert visitor.post(f"/pages/jobs/{job.id}/remove", json={}).json() == {"go": "/jobs"}
    assert find_job(service.database, job.id) is None and not folder.exists()
    gone = visitor.get(f"/jobs/{job.id}")
    assert gone.status_code == 404 and "no such job" in gone.text


def test_cancelling_is_asked(visitor: TestClient, service: Service) -> None:
    page = visitor.get(f"/jobs/{add_job(service, 'one').id}").text
    assert re.search(r'id="act-cancel"[^>]*data-ask="Cancel this job for good', page)
    assert not re.search(r'id="act-pause"[^>]*data-ask', page), "it can be resumed"


def test_a_job_without_a_step_prepares_and_promises_no_time(visitor: TestClient, service: Service) -> None:
    job = validated(service, add_job(service, "one"))
    attempt = started(service, job)
    add_metrics(service.database, job.id, [], RunProgress(steps=30))
    log = service.layout.attempt(attempt) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("loading the <model>\n")
    for headers, state, left in (({}, "preparing", "known after the first"), (CHINESE, "准备训练", "完成前几步后可知")):
        for address in ("/jobs", f"/jobs/{job.id}"):
            page = visitor.get(address, headers=headers).text
            assert f">{state}</span>" in page and left in page, address
            assert address != "/jobs" or not re.search("under a minute|不到一分钟", page)
    page = visitor.get(f"/jobs/{job.id}").text
    assert "tries the largest pack" in page and "loading the &lt;model&gt;" in page.split('id="job-log"')[1]
    trained(service, job, 2, 30)
    page = visitor.get(f"/jobs/{job.id}").text
    assert ">running</span>" in page and "known after" not in page


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "known after the first steps"), (29, "known after the first steps"), (600, "at least 10 min")],
)
def test_a_planned_time_is_a_lower_bound(seconds: float | None, shown: str) -> None:
    assert least(seconds, "en") == shown


def test_what_a_removed_job_has_written_is_gone_with_it(visitor: TestClient, service: Service) -> None:
    job = validated(service, add_job(service, "a"))
    attempt = started(service, job)
    trained(service, job, 3, 3)
    run = service.layout.run(job.id)
    run.mkdir(parents=True)
    (run / "report.json").write_text('{"tokens_seen": 7}')
    end = results(service.database, service.layout, job)
    assert end_attempt(service.database, attempt, State.SUCCEEDED, Note("done"), end)
    (file,) = end["result_files"]
    found = service.files.entry(file)
    assert found is not None and service.files.path(found).is_file()
    assert visitor.delete(f"/v1/fine_tuning/jobs/{job.id}").json()["deleted"]
    assert visitor.get(f"/v1/files/{file}").status_code == 404
    assert not service.files.path(found).exists() and not run.exists()


def test_a_running_job_shows_curves_checkpoints_and_events(visitor: TestClient, service: Service) -> None:
    jobs = every_state(service)
    running = jobs["running"]
    page = visitor.get(f"/jobs/{running.id}").text
    assert "Drawing" in page and "41 / 120" in page and "Checkpoint created at step 40" in page
    assert "kind: lora" in page and "local · cpu" in page
    chinese = visitor.get(f"/jobs/{running.id}", headers=CHINESE).text
    assert "已在第 40 步保存检查点" in chinese and "模型正在训练。" in chinese
    first = visitor.get(f"/pages/jobs/{running.id}").json()
    assert first["parts"]["job-curves"].count("<figure>") == 4
    assert visitor.get(f"/jobs/{running.id}").text.count("<figure>") == 4, "drawn once"
    assert set(first["parts"]) == set(re.findall(r'id="((?:job-|machine)[\w-]*)"', page))
    assert is_unchanged(visitor, f"/pages/jobs/{jobs['paused'].id}"), "its time left does not change"


def test_a_finished_job_links_to_its_chat_and_files(visitor: TestClient, service: Service) -> None:
    jobs = every_state(service)
    job = jobs["done"]
    folder = service.layout.run(job.id) / "checkpoints"
    for step in (20, 60):
        (folder / f"step-{step:06d}").mkdir(parents=True)
    (folder / "best").write_text("step-000020\n")
    page = visitor.get(f"/jobs/{job.id}").text
    name = f"ft%3Atiny%3Asupport-v1%3A{job.id[6:]}"
    assert f'href="/chat?model={name}"' in page and f'href="/chat?model={name}%3Ackpt-step-20"' in page
    against = [f'href="/compare?model={one}&amp;against=base"' for one in (name, f"{name}%3Ackpt-step-20")]
    assert all(link in page for link in against) and against[0] in visitor.get("/jobs").text
    rows = re.findall(r'<tr id="step-(\d+)">(.*?)</tr>', page)
    assert [step for step, row in rows if "best" in row] == ["20"]
    assert [step for step, row in rows if "deleted since" in row] == ["40"]
    table = visitor.get(f"/pages/jobs/{job.id}/metrics.csv").text.splitlines()
    assert table[0].startswith("step,train_loss") and len(table) == 61
    assert "kind: lora" in visitor.get(f"/pages/jobs/{job.id}/recipe.yaml").text


def test_a_failed_job_says_why(visitor: TestClient, service: Service) -> None:
    job = validated(service, add_job(service, "one"))
    attempt = started(service, job)
    finished(service, attempt, State.FAILED, JobError("training_failed", "the attempt ended with exit code 3"))
    folder = service.layout.attempt(attempt)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("early\n" * 2000 + f"{XSS[0]}\n/home/me/x.py failed\n")
    page = visitor.get(f"/jobs/{job.id}").text
    assert "the attempt ended with exit code 3" in page and "x.py failed" in page and "/home/me" not in page
    assert XSS[0] not in page and page.count("early") < 1500
    assert "training_failed</code>" in page and "What to do" in page and f'href="/train?like={job.id}"' in page
    shown = page.partition('class="log"')[2].partition("</pre>")[0]
    assert shown.count("early") == 10 and "x.py failed" in shown, "the last lines are visible without a click"
    table = visitor.get("/pages/jobs").json()["parts"]["jobs"]
    assert re.search(r'class="reason" title="the attempt ended with exit code 3">training ended with an error<', table)
    assert "退出码 3" in visitor.get(f"/jobs/{job.id}", headers=CHINESE).text


def test_what_a_job_that_has_ended_never_had_is_not_promised(visitor: TestClient, service: Service) -> None:
    job = add_job(service, "one")
    promised = ("begin with the first step", "None is saved yet", "is made when the data is checked")
    page = visitor.get(f"/jobs/{job.id}").text
    assert all(words in page for words in promised)
    move(service.database, job.id, {State.VALIDATING}, State.CANCELLED, Note())
    page = visitor.get(f"/jobs/{job.id}").text
    assert not any(words in page for words in promised)
    assert "no step was done" in page and "None was saved." in page and "before its data was checked" in page


def test_every_code_of_an_error_has_its_reason_and_its_advice() -> None:
    """The codes that the service's own modules write; another one is answered in general."""
    written = re.compile(r'(?:JobError|GateError)\(\s*"(\w+)"|return "(\w+)" if param .* else "(\w+)"')
    found = {
        code
        for folder in ("vlm/service", "demo/jobs/gate", "demo/job_plan")
        for file in Path(folder).rglob("*.py")
        for codes in written.findall(file.read_text())
        for code in codes
        if code
    }
    assert len(found) >= 10 and found <= REASON.keys() and REASON.keys() == WHAT_TO_DO.keys()


def test_a_full_disk_is_shown_where_it_happens(
    visitor: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the first page, before a job is submitted, on a job that runs, and at the job that it has paused."""
    job, ended = validated(service, add_job(service, "one")), add_job(service, "two")
    move(service.database, ended.id, {State.VALIDATING}, State.CANCELLED, Note())
    shown = ("/", "/train", "/jobs", f"/jobs/{job.id}")
    assert not any("nearly full" in visitor.get(path).text for path in shown)
    monkeypatch.setattr(disk_note, "is_nearly_full", lambda folder: True)
    for path in shown:
        page = visitor.get(path).text
        assert "nearly full" in page and "Remove jobs" in page and 'href="/jobs?show=done"' in page, path
        assert "磁盘快满了" in visitor.get(path, headers=CHINESE).text
    assert "nearly full" not in visitor.get(f"/jobs/{ended.id}").text, "it needs no more of the disk"
    attempt = started(service, job)
    message = "the disk is full. The job is paused after step 20: free space, then resume it"
    end_attempt(service.database, attempt, State.INTERRUPTED, Note(message, "error"), then=State.PAUSED)
    page = visitor.get(f"/jobs/{job.id}").text
    assert "Why it is paused" in page and f"<p>{message}</p>" in page


def test_the_planners_advice_is_shown(visitor: TestClient, service: Service) -> None:
    page = visitor.get(f"/jobs/{every_state(service)['refused'].id}", headers=CHINESE).text
    assert "任务需要 96.0 GiB，而最大的槽位只有 16.0 GiB" in page and "14.20 GiB，放得下：tune.kind=qlora" in page


def test_nothing_that_a_client_names_is_markup(visitor: TestClient, service: Service) -> None:
    for payload in XSS:
        job = validated(service, add_job(service, payload, model=payload))
        with service.database.transaction() as connection:
            recipe = f"stage: sft\nname: {json.dumps(payload)}\n"
            connection.execute("UPDATE jobs SET recipe = ?, training_file = ? WHERE id = ?", (recipe, payload, job.id))
        attempt = started(service, job)
        trained(service, job, 2, 4)
        finished(service, attempt, State.FAILED, JobError("x", payload))
        page = visitor.get(f"/jobs/{job.id}").text
        assert "<" not in payload or payload not in page
        assert "<script>" not in page and "<img" not in page
