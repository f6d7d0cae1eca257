"""The table of jobs: what a row says, that nothing in it is markup, and what is sent again."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.demo.job_pages.conftest import TOKEN
from tests.demo.job_pages.stories import add_job, every_state, is_unchanged, run_by_hand, started, trained, validated
from tests.demo.payloads import XSS
from vlm.run_folders.progress import RunProgress
from vlm.service.service import Service
from vlm.service.store.event_table import add_metrics

CHINESE = {"accept-language": "zh-CN,zh;q=0.9"}


def rows(html: str) -> list[str]:
    """The text of each row, newest first."""
    return [
        " ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r'<tr id="row-.*?</tr>', html, re.DOTALL)
    ]


def test_an_empty_service_says_what_to_do(visitor: TestClient) -> None:
    found = visitor.get("/jobs")
    assert found.status_code == 200 and "eyegraft jobs submit" in found.text and 'href="/train"' in found.text
    assert "还没有任务" in visitor.get("/jobs", headers=CHINESE).text


def test_a_row_says_what_a_job_is_and_how_it_goes(visitor: TestClient, service: Service) -> None:
    jobs = every_state(service)
    found = rows(visitor.get("/jobs").text)
    assert len(found) == len(jobs) and found[0].startswith(jobs["new"].id[6:14])
    running = next(row for row in found if row.startswith("support-v2 "))
    assert "text · LoRA · tiny running 41 / 120 0.4" in running, "79 steps of 90 s each are left"
    assert " 0.5899 5,186 tokens/s 1 h 5" in running, "the lowest validation loss, and the newest speed"
    assert re.search(r"1 h 5[89] min local · cpu just now$", running), running
    assert sum(" failed " in row for row in found) == 2
    chinese = rows(visitor.get("/jobs", headers=CHINESE).text)
    assert sum(" 失败 " in row for row in chinese) == 2 and any("训练中" in row for row in chinese)


def test_nothing_that_a_client_names_is_markup(visitor: TestClient, service: Service) -> None:
    """A suffix cannot hold such text, a database written by another program can."""
    for payload in XSS:
        job = add_job(service, payload, model=payload)
        add_metrics(service.database, job.id, [{"kind": payload, "step": 1}], RunProgress())
    page = visitor.get("/jobs").text + visitor.get("/pages/jobs").json()["parts"]["jobs"]
    assert "<script>alert" not in page and "<img" not in page
    assert len(rows(page)) == 2 * len(XSS)


def test_only_what_changed_is_sent(visitor: TestClient, service: Service) -> None:
    job = validated(service, add_job(service, "one"))
    started(service, job)
    assert is_unchanged(visitor, "/pages/jobs")
    first = visitor.get("/pages/jobs").json()
    trained(service, job, 3, 9)
    second = visitor.get("/pages/jobs", params={"stamp": first["stamp"]}).json()
    assert "3 / 9" in second["parts"]["jobs"] and second["stamp"] != first["stamp"]


def test_only_the_rows_that_are_looked_at_are_made(visitor: TestClient, service: Service) -> None:
    """The table knows all of them, and the others take one row a chunk."""
    jobs = [add_job(service, f"n{number:03}") for number in range(130)]
    first = visitor.get("/jobs").text
    assert [row.split()[0] for row in rows(first)] == [f"n{number:03}" for number in range(129, 79, -1)]
    assert first.count('class="unread"') == 4 and 'aria-rowcount="131"' in first and "--rows: 5" in first
    later = visitor.get("/pages/jobs", params={"chunk": ["3", "5"]}).json()["parts"]["jobs"]
    wanted = (*range(54, 29, -1), *range(4, -1, -1))
    assert [row.split()[0] for row in rows(later)] == [f"n{number:03}" for number in wanted]
    assert f'id="row-{jobs[4].id}" role="row" aria-rowindex="127"' in later
    assert len(rows(visitor.get("/pages/jobs", params={"chunk": "7"}).json()["parts"]["jobs"])) == 0
    assert visitor.get("/pages/jobs", params={"chunk": ["1"] * 41}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/pages/jobs", "/pages/static/page.js", "/chat", "/assets/x.js", "/config"]
)
def test_pages_want_the_token(visitor: TestClient, path: str) -> None:
    stranger = TestClient(visitor.app, base_url="http://127.0.0.1")
    assert stranger.get(path).status_code == 401
    assert stranger.get(path, headers={"cookie": "eyegraft=wrong"}).status_code == 401
    assert visitor.get(path, headers={"host": "evil.example"}).status_code == 403
    assert TOKEN not in visitor.get("/jobs").text


def test_static_files_are_known_ones(visitor: TestClient) -> None:
    page = visitor.get("/jobs").text
    for address in re.findall(r'(?:href|src)="(/pages/static/[^"]+)"', page):
        assert visitor.get(address.replace("&amp;", "&").replace("&#x27;", "'")).status_code == 200
    assert visitor.get("/pages/static/..%2Fwords.py").status_code == 404
    assert visitor.get("/pages/static/words.py").status_code == 404


def test_runs_that_were_started_by_hand_are_in_the_table_and_open(visitor: TestClient, tmp_path: Path) -> None:
    """Without buttons: the service watches them."""
    run_by_hand(tmp_path / "runs" / "mine", 12, 40)
    run_by_hand(tmp_path / "runs" / XSS[0].replace("/", "_"), 40, 40, done=True)
    page = visitor.get("/jobs").text
    found = rows(page)
    assert XSS[0][:8] not in page and len(found) == 2
    assert any(row.startswith("runs/mine started by hand stopped 12 / 40 0.1667") for row in found), found
    assert any(" done 40 / 40 0.05" in row for row in found)
    for address in re.findall(r'href="(/runs/xrun-[0-9a-f]{24})"', page):
        opened = visitor.get(address, headers=CHINESE).text
        assert opened.count("<figure>") == 4 and "data-act" not in opened and "本服务只查看" in opened
        assert is_unchanged(visitor, f"/pages{address}")
    assert visitor.get("/runs/xrun-" + "0" * 24).status_code == 404


def test_the_table_is_filtered_by_state_and_words(visitor: TestClient, service: Service, tmp_path: Path) -> None:
    jobs = every_state(service)
    run_by_hand(tmp_path / "runs" / "Support-by-hand", 3, 3, done=True)

    def names(**query: str) -> list[str]:
        return [row.split()[0] for row in rows(visitor.get("/jobs", params=query).text)]

    assert names(show="open") == [jobs["new"].id[6:14], "support-v2-full", "support-v2", "receipts"]
    assert set(names(show="done")) == {"support-v1", "runs/Support-by-hand"}
    assert names(show="ended") == ["wrong-file", "big-one", "shapes"]
    assert set(names(words="SUPPORT", show="open")) == {"support-v2", "support-v2-full"}
    assert names(words=jobs["failed"].id[-8:]) == ["shapes"]
    assert len(names(words="tiny")) == len(jobs), "by model"
    for none in ("%", "_", "' OR 1=1 --", XSS[0]):
        page = visitor.get("/jobs", params={"words": none}).text
        assert rows(page) == [] and "No job matches" in page and XSS[0] not in page
    assert visitor.get("/jobs", params={"show": "x"}).status_code == 400
    page = visitor.get("/jobs", params={"show": "done", "words": "support"}).text
    assert "/jobs?show=done&amp;words=support&amp;sort=name" in page, "a sorted table is filtered as before"


def test_heads_sort_and_say_so(visitor: TestClient, service: Service, tmp_path: Path) -> None:
    every_state(service)
    run_by_hand(tmp_path / "runs" / "by-hand", 12, 40)

    def table(sort: str) -> tuple[list[str], str]:
        page = visitor.get("/jobs", params={"sort": sort}).text
        return [row.split()[0] for row in rows(page)], page

    by_step, page = table("-progress")
    assert by_step[:3] == ["support-v1", "support-v2", "receipts"]
    assert set(by_step[3:5]) == {"runs/by-hand", "shapes"}, "twelve steps each"
    assert re.search(r'aria-sort="descending"><a href="/jobs\?sort=progress"', page) and page.count("aria-sort=") == 1
    by_step, page = table("progress")
    assert by_step[3:5] == ["support-v2", "support-v1"], "those without a step are last in both directions"
    assert re.search(r'aria-sort="ascending"><a href="/jobs\?sort=-progress"', page)
    by_name, _ = table("name")
    assert by_name == sorted(by_name, key=str.lower)
    assert table("submitted")[0] == table("-submitted")[0][::-1]
    for sort in ("loss", "best", "speed", "slot", "state", "left"):
        assert sorted(table(sort)[0]) == sorted(table(f"-{sort}")[0]) == sorted(by_name)
    assert table("left")[0][0] == "support-v2" and table("-left")[0][0] == "support-v2"
    assert table("best")[0][0] == "support-v1" and table("loss")[0][0] == "runs/by-hand"
    assert visitor.get("/jobs", params={"sort": "created_at; DROP"}).status_code == 400


def test_a_full_disk_is_said_above_the_table(
    visitor: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'id="jobs-disk"></div>' in visitor.get("/jobs").text
    monkeypatch.setattr("demo.job_pages.parts.disk_note.is_nearly_full", lambda folder: folder == service.layout.root)
    assert "nearly full" in visitor.get("/jobs").text
    assert "磁盘快满了" in visitor.get("/pages/jobs", headers=CHINESE).json()["parts"]["jobs-disk"]
