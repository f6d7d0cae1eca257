"""Models of the hub on the Train page and over the API: named, refused at the field, chosen, needed, deleted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.demo.job_pages.conftest import TOKEN
from tests.demo.job_pages.stories import add_job, still_service
from tests.fake_hub import FakeHub, fake_hub, small_model
from vlm.service.downloads.permission import HubPermission
from vlm.service.service import Service
from vlm.service.trainable_models import TrainableModels


@dataclass(frozen=True)
class Place:
    """A service that may download models of two owners, the hub, and a browser that has opened the link."""

    service: Service
    hub: FakeHub
    visitor: TestClient


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    models = TrainableModels({}, frozenset())
    allowed = HubPermission(True, frozenset({"org", "other"}))
    with fake_hub(monkeypatch) as hub, still_service(tmp_path, models, TOKEN, hub=allowed) as (app, service):
        hub.models["org/model"] = small_model()
        yield Place(service, hub, _visitor(app))


def _visitor(app: FastAPI) -> TestClient:
    client = TestClient(app, base_url="http://127.0.0.1")
    client.get("/", params={"token": TOKEN}, follow_redirects=False)
    return client


def fetched(service: Service) -> None:
    """Wait until the process that fetches has ended; the loop of the service is not there."""
    service.downloads._step()
    assert service.downloads._process is not None
    service.downloads._process[1].wait(60)
    service.downloads._step()


def test_a_model_of_the_hub_can_be_chosen_without_a_restart(place: Place) -> None:
    visitor, service = place.visitor, place.service
    page = visitor.get("/train").text
    assert 'id="field-hub"' in page and "org/model" not in page
    assert visitor.post("/pages/downloads", json={"model": " org/model "}).json() == {"model": "org/model"}
    preview = visitor.get("/pages/train").json()
    assert preview["more"] and "<progress" in preview["parts"]["train-downloads"]
    fetched(service)
    preview = visitor.get("/pages/train").json()
    found = preview["parts"]["train-downloads"]
    assert not preview["more"] and 'data-here="model"' in found and "/delete" in found and "<progress" not in found
    assert '<option value="org/model"' in visitor.get("/train").text and service.offers("org/model")
    job = add_job(service, None, model="org/model")
    name = service.downloads.all()[0].id
    refused = visitor.post(f"/pages/downloads/{name}/delete", json={})
    assert refused.status_code == 409 and job.id in refused.json()["error"]
    visitor.post(f"/v1/fine_tuning/jobs/{job.id}/cancel", headers={"authorization": f"Bearer {TOKEN}"})
    assert visitor.post(f"/pages/downloads/{name}/delete", json={}).status_code == 200
    assert "org/model" not in visitor.get("/train").text and not service.offers("org/model")


def test_what_is_refused_is_said_at_the_field_in_the_language_of_the_page(place: Place) -> None:
    visitor = place.visitor
    place.hub.models["org/gated"] = small_model()
    place.hub.models["org/gated"].gated = True
    english = {
        "nothing": (400, "is no model of the hub. Write owner/name"),
        "evil/model": (403, "only models of org, other may be downloaded"),
        "other/none": (400, "has no such model"),
        "org/gated": (400, "HF_TOKEN"),
    }
    for model, (status, words) in english.items():
        answer = visitor.post("/pages/downloads", json={"model": model})
        assert answer.status_code == status and words in answer.json()["error"], model
    chinese = {"accept-language": "zh"}
    for model, words in {"nothing": "不是 Hugging Face 上的模型", "org/gated": "接受使用条款"}.items():
        assert words in visitor.post("/pages/downloads", json={"model": model}, headers=chinese).json()["error"]
    assert place.service.downloads.all() == []


def test_the_page_has_no_field_where_downloads_are_off(still: tuple[FastAPI, Service], visitor: TestClient) -> None:
    page = visitor.get("/train").text
    assert 'id="train-downloads"' in page and "field-hub" not in page
    answer = visitor.post("/pages/downloads", json={"model": "org/model"})
    assert answer.status_code == 403 and "--hub on" in answer.json()["error"]


def test_over_the_api(place: Place) -> None:
    """Begun twice it is one; cancelled it goes on; every step is the same object."""
    service, api = place.service, TestClient(place.visitor.app, base_url="http://127.0.0.1")
    api.headers["authorization"] = f"Bearer {TOKEN}"
    new = api.post("/v1/x_downloads", json={"model": "org/model"}).json()
    assert new["status"] == "queued" and new["bytes"] == 0 < new["total_bytes"] and new["kind"] is None
    assert api.post("/v1/x_downloads", json={"model": "org/model"}).json() == new
    path = f"/v1/x_downloads/{new['id']}"
    assert api.post(f"{path}/cancel").json()["status"] == "cancelled"
    again = api.post(f"{path}/cancel")
    assert again.status_code == 409 and again.json()["error"]["code"] == "invalid_state"
    assert api.post("/v1/x_downloads", json={"model": "org/model"}).json()["status"] == "queued"
    fetched(service)
    ready = api.get(path).json()
    assert ready["status"] == "ready" and ready["bytes"] == ready["total_bytes"] and ready["kind"] == "model"
    assert api.get("/v1/x_downloads", params={"limit": 1}).json()["data"] == [ready]
    assert api.get("/v1/x_downloads", params={"after": ready["id"]}).json()["data"] == []
    assert api.get("/v1/x_downloads", params={"after": "xdl-none"}).status_code == 400
    assert api.get("/v1/x_downloads/xdl-none").status_code == 404
    off = api.post("/v1/x_downloads", json={"model": "evil/model"})
    assert off.status_code == 403 and off.json()["error"]["code"] == "downloads_off"
    assert api.delete(path).json() == {"id": ready["id"], "object": "x_download", "deleted": True}
    assert api.get(path).status_code == 404
