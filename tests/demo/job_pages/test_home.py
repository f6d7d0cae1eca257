"""The first page, the help, the header with the machine, and the theme."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from demo.job_pages.parts.context import memory_in_use
from tests.demo.job_pages.stories import add_job, every_state, is_unchanged, started, trained, validated
from vlm.service.service import Service

RECORD = b'{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}\n'
CHINESE = {"accept-language": "zh-CN"}


def road(page: str) -> list[tuple[str, str]]:
    """Mark and link of each step."""
    return re.findall(r'<li class="card ([a-z]*)">.*?href="([^"]+)"', page)


def test_the_road_says_what_is_done_and_what_is_next(visitor: TestClient, service: Service) -> None:
    empty = visitor.get("/").text
    assert road(empty) == [("next", "/train"), ("", "/train"), ("", "/jobs"), ("", "/chat")]
    assert "<table" not in empty and "<figure" not in empty and "Chat with a base model" in empty
    assert "1. 准备数据" in visitor.get("/", headers=CHINESE).text
    service.files.add([b"{}\n"], "refused.jsonl", "fine-tune")
    assert road(visitor.get("/").text)[0] == ("next", "/train"), "jobs refuse that file"
    service.files.add([RECORD], "mine.jsonl", "fine-tune")
    assert road(visitor.get("/").text)[:2] == [("done", "/data"), ("next", "/train")]
    assert is_unchanged(visitor, "/pages/home")
    add_job(service, "first")
    page = visitor.get("/").text
    assert road(page)[1:3] == [("running", "/train"), ("next", "/jobs")] and "under way" in page
    every_state(service)
    page = visitor.get("/").text
    assert road(page) == [("done", "/data"), ("done", "/train"), ("done", "/jobs"), ("next", "/chat")]
    assert page.count("<tr") == 6 and "Chat with your model" in page, "a head and the five newest"


def test_the_header_links_to_what_runs_now(visitor: TestClient, service: Service) -> None:
    job = validated(service, add_job(service, "now"))
    assert f"/jobs/{job.id}" not in visitor.get("/help").text
    started(service, job)
    trained(service, job, 3, 9)
    machine = visitor.get("/help").text.split('id="machine"')[1].split("</div>")[0]
    assert f'href="/jobs/{job.id}"' in machine and "CPU, 16 GiB" in machine and "1 of 1 in use" in machine


def test_memory_in_use(tmp_path: Path) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n")
    assert memory_in_use("en", table) == "12 of 16 GiB in use"
    assert memory_in_use("zh", table) == "已用 12 / 16 GiB"
    assert memory_in_use("en", tmp_path / "none") == ""


def test_the_help_explains_every_page_in_both_languages(visitor: TestClient) -> None:
    english, chinese = (visitor.get("/help", headers=headers).text for headers in ({}, CHINESE))
    for address in ("/", "/jobs", "/train", "/chat", "/compare", "/data"):
        for page in (english, chinese):
            assert re.search(rf'<dt><a href="{address}">[^<]+</a></dt><dd>[^<]+', page), address
    assert "Keyboard" in english and "键盘" in chinese and "<kbd>Tab</kbd>" in chinese


@pytest.mark.parametrize("path", ["/", "/jobs", "/train", "/help"])
def test_a_theme_is_in_the_page_as_it_arrives_and_is_stored(visitor: TestClient, path: str) -> None:
    assert "data-theme" not in visitor.get(path).text
    for theme in ("dark", "light", "system"):
        page = visitor.get(path, params={"theme": theme})
        assert page.headers["set-cookie"].startswith(f"eyegraft_theme={theme};")
        again = visitor.get(path)
        assert f'<html data-theme="{theme}"' in again.text and "set-cookie" not in again.headers
        assert ("window.matchMedia" in again.text) == (theme != "system")
        assert int(again.headers["content-length"]) == len(again.content)
    for wrong in ('"><script>', "blue", ""):
        page = visitor.get(path, params={"theme": wrong})
        assert '<html data-theme="system"' in page.text and "set-cookie" not in page.headers
    visitor.cookies.set("eyegraft_theme", 'x"><script>', domain="127.0.0.1.local")
    both = visitor.get(path, params={"theme": "dark", "lang": "zh"})
    assert 'data-theme="dark" lang="zh-CN"' in both.text and len(both.headers.get_list("set-cookie")) == 2
