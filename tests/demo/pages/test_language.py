"""The language of a visitor: the choice in ?lang=, which a cookie keeps, or the browser's."""

import asyncio

import httpx2 as httpx
import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from demo.pages.language import COOKIE, LanguageChoice

PAGE = "<!doctype html><html><head><title>x</title></head></html>"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the page at /, and elsewhere the language that it was asked in."""
    request = Request(scope)
    text = PAGE if scope["path"] == "/" else request.headers.get("accept-language", "")
    await HTMLResponse(text)(scope, receive, send)


def ask(path: str, **headers: str) -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(LanguageChoice(echo))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers={"accept-language": "fr-FR,fr;q=0.9", **headers})

    return asyncio.run(get())


@pytest.mark.parametrize(("choice", "tag"), [("en", "en-US"), ("zh", "zh-CN")])
def test_a_choice_sets_the_pages_language_and_is_kept(choice: str, tag: str) -> None:
    page = ask(f"/?lang={choice}")
    head, _, rest = page.text.partition("<title>")
    assert f'["language", "{tag}"]' in head and rest == PAGE.partition("<title>")[2]
    assert int(page.headers["content-length"]) == len(page.content)
    cookie = page.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={choice};") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    kept = {"cookie": f"other=1; {COOKIE}={choice}"}
    assert (ask("/gradio_api/queue/join", **kept)).text == tag
    assert f'"{tag}"' in (ask("/", **kept)).text


@pytest.mark.parametrize("query", ["", "?lang=", "?lang=fr", "?lang=%22%3E%3Cscript%3E", "?Lang=zh"])
@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=fr", f"{COOKIE}=<script>", "=;;=", f'{COOKIE}="'])
def test_without_a_valid_choice_the_browsers_language_counts(query: str, cookie: str) -> None:
    page = ask(f"/{query}", cookie=cookie)
    assert page.text == PAGE and "set-cookie" not in page.headers
    assert (ask("/x", cookie=cookie)).text == "fr-FR,fr;q=0.9"


def test_another_choice_replaces_the_kept_one() -> None:
    page = ask("/?lang=en", cookie=f"{COOKIE}=zh")
    assert '"en-US"' in page.text and page.headers["set-cookie"].startswith(f"{COOKIE}=en")
