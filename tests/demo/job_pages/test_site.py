"""The pages as a part of the service: who may use them, what they need, and the models that the chat lists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from demo.jobs.service_library import OfferedModels, ServiceLibrary, is_tower
from demo.open_models import OpenModels
from tests.demo.job_pages.conftest import TOKEN
from tests.demo.job_pages.stories import add_job, finished, started, validated
from vlm.service.service import Service
from vlm.service.store.states import State
from vlm.service.trainable_models import TrainableModels

ROOT = Path(__file__).parents[3]
RECIPE = """\
name: made
stage: sft
out: {out}
model: {{llm: {llm}}}
data: {{sources: [{{path: {out}/data.jsonl}}]}}
tune: {{kind: lora}}
train: {{epochs: 1, batch: 1}}
optim: {{lr: 0.1}}
"""


def page_routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route that is no part of the API."""
    routes = [(str(one.path), one.methods or {"GET"}) for one in iter_route_contexts(app.routes)]
    found = [(method, path) for path, methods in routes for method in sorted(methods)]
    return [(method, path) for method, path in found if not path.startswith(("/v1", "/healthz", "/openapi"))]


def test_every_page_wants_token_host_and_origin(still: tuple[FastAPI, Service], visitor: TestClient) -> None:
    routes = page_routes(still[0])
    assert {("GET", "/jobs"), ("POST", "/pages/train"), ("POST", "/pages/files")} <= set(routes) and len(routes) >= 14
    for method, path in routes:
        stranger = TestClient(still[0], base_url="http://127.0.0.1")
        assert stranger.request(method, path).status_code == 401, path
        assert stranger.request(method, path, headers={"authorization": "Bearer wrong"}).status_code == 401, path
        for foreign in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
            assert visitor.request(method, path, headers=foreign).status_code == 403, (path, foreign)
        assert visitor.request(method, path).status_code not in (401, 403, 405, 500), path


def test_a_browser_whose_session_has_ended_is_shown_how_to_sign_in(still: tuple[FastAPI, Service]) -> None:
    browser = TestClient(still[0], base_url="http://127.0.0.1", headers={"accept": "text/html,*/*;q=0.8"})
    for path in ("/", "/jobs", "/chat", "/v1/models"):
        answer = browser.get(path)
        assert answer.status_code == 401 and answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "/?token=TOKEN" in answer.text and "This browser is not signed in" in answer.text
        assert "此浏览器尚未登录" in answer.text and "default-src" in answer.headers["content-security-policy"]
        assert browser.head(path).content == b""
    assert browser.post("/pages/train").json()["error"]["type"] == "authentication_error"
    assert browser.get("/jobs", headers={"accept": "*/*"}).json()["error"]["type"] == "authentication_error"


def test_a_key_typed_on_the_page_signs_in(still: tuple[FastAPI, Service]) -> None:
    browser = TestClient(still[0], base_url="http://127.0.0.1", headers={"accept": "text/html"})
    page = browser.get("/jobs", headers={"accept-language": "zh-CN"}).text
    assert '<html lang="zh-CN">' in page and page.index("尚未登录") < page.index("not signed in")
    assert page.count('name="key"') == 2 and 'fetch("/sign-in"' in page
    key = {"authorization": f"Bearer {TOKEN}"}
    assert browser.post("/sign-in", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert browser.post("/sign-in", headers=key | {"origin": "https://evil.example"}).status_code == 403
    assert not browser.cookies and browser.get("/jobs").status_code == 401
    answer = browser.post("/sign-in", headers=key)
    assert answer.status_code == 204 and "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert TOKEN not in answer.headers["set-cookie"] and browser.get("/jobs").status_code == 200


def test_a_page_may_load_nothing_from_elsewhere(visitor: TestClient) -> None:
    answer = visitor.get("/jobs")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert re.findall(r'(?:href|src)="(?![/?#]|data:)[^"]*', answer.text) == []


def test_a_page_is_small(visitor: TestClient) -> None:
    """Style sheets, script and page: a phone on a slow line."""
    parts = ("/jobs", "/train", "/pages/static/header.css", "/pages/static/page.css", "/pages/static/page.js")
    assert sum(len(visitor.get(part).content) for part in parts) < 100_000


WITHOUT = """
import sys, tempfile, time
from pathlib import Path
sys.modules["gradio"] = None
from starlette.testclient import TestClient
from tests.demo.job_pages.stories import still_service
from vlm.service.trainable_models import TrainableModels
with still_service(Path(tempfile.mkdtemp()), TrainableModels({}, frozenset())) as (app, _):
    with TestClient(app, base_url="http://127.0.0.1") as visitor:
        assert visitor.get("/jobs").status_code == visitor.get("/train").status_code == 200
        until = time.monotonic() + 120
        while "need gradio" not in (text := visitor.get("/chat").text):
            assert time.monotonic() < until, text
        heavy = {"torch", "transformers", "matplotlib", "pandas"} & set(sys.modules)
        assert "pip install" in text and not heavy, heavy
"""


def test_without_gradio_jobs_and_train_work_and_the_chat_says_what_is_missing() -> None:
    """And neither torch nor matplotlib is imported for them."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    folder = tmp_path / "llm"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    return folder


def test_a_finished_jobs_model_is_listed_at_the_next_refresh(service: Service, llm: Path, tmp_path: Path) -> None:
    """With its checkpoints by the names of the API, its adapters off, and the base that it is compared with."""
    tower = tmp_path / "tower"
    tower.mkdir()
    (tower / "config.json").write_text('{"architectures": ["CLIPModel"]}')
    models = TrainableModels({"tiny": llm, "clip": tower}, frozenset())
    library = ServiceLibrary(service, models, OpenModels())
    assert list(library) == ["tiny"], "a tower answers nothing"
    job = validated(service, add_job(service, "fox"))
    attempt = started(service, job)
    run = service.layout.run(job.id)
    for step in (3, 6):
        (run / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    (run / "config.yaml").write_text(RECIPE.format(out=run, llm=llm))
    assert library.refresh() == ["tiny"], "it runs"
    finished(service, attempt, State.SUCCEEDED)
    name = str(job.fine_tuned_model)
    steps = [f"{name}:ckpt-step-6", f"{name}:ckpt-step-3"]
    assert library.refresh() == [name, f"{name}, adapters off", *steps, "tiny"]
    assert library.comparison() == (f"{name}, adapters off", name)
    bases = {one: library.base_of(one) for one in (name, f"{name}, adapters off", *steps, "tiny")}
    assert bases == {
        **dict.fromkeys((name, *steps), f"{name}, adapters off"),
        f"{name}, adapters off": "tiny",
        "tiny": None,
    }
    assert library.weights[steps[1]].checkpoint == "step-000003" and library.skipped == {}


def test_a_model_that_is_gone_is_skipped_with_the_reason(service: Service, llm: Path) -> None:
    job = validated(service, add_job(service, "fox"))
    finished(service, started(service, job), State.SUCCEEDED)
    library = ServiceLibrary(service, TrainableModels({"tiny": llm}, frozenset()), OpenModels())
    assert list(library) == ["tiny"] and "not a run folder" in library.skipped[str(job.fine_tuned_model)]
    offered = OfferedModels(service.layout.root, TrainableModels({"gone": llm / "x"}, frozenset()), OpenModels())
    assert list(offered) == [] and "gone" in offered.skipped


@pytest.mark.parametrize(
    ("config", "tower"),
    [
        ('{"architectures": ["LlamaForCausalLM"]}', False),
        ('{"architectures": ["LlavaForConditionalGeneration"]}', False),
        ('{"architectures": ["GPT2LMHeadModel"]}', False),
        ('{"architectures": ["SiglipModel"]}', True),
        ('{"architectures": ["ViTForImageClassification"]}', True),
        ('{"architecture": "tf_efficientnet_lite0"}', True),  # timm's
        ('{"architectures": null}', False),
        ("[]", False),
        ("no json", False),
    ],
)
def test_towers_are_known_by_their_architecture(tmp_path: Path, config: str, tower: bool) -> None:
    (tmp_path / "config.json").write_text(config)
    assert is_tower(tmp_path) == tower
