"""The page of the webhooks: what it shows of each endpoint, and its two buttons."""

import re
import time

from starlette.testclient import TestClient

from tests.demo.job_pages.stories import add_job
from tests.demo.payloads import XSS
from vlm.service.requests import cancel
from vlm.service.service import Service
from vlm.service.store.delivery_table import count_deliveries, next_delivery, switch_off
from vlm.service.store.webhook_table import add_endpoint, find_endpoint

CANCELLED = "fine_tuning.job.cancelled"


def acts(html: str) -> list[str]:
    return re.findall(r'data-act="([^"]+)"', html)


def test_an_endpoint_that_is_off_is_switched_on_and_what_was_given_up_sent_again(
    visitor: TestClient, service: Service
) -> None:
    assert "No webhooks" in visitor.get("/webhooks").text
    assert 'href="/webhooks"' in visitor.get("/jobs").text
    database = service.database
    hook = add_endpoint(database, "ci", "http://a.example/in?key=abc", [CANCELLED], "whsec_AAAA").id
    assert acts(visitor.get("/webhooks").text) == []
    job = add_job(service, "a").id
    cancel(database, job)
    delivery = next_delivery(database, hook, time.time() + 1)
    assert delivery is not None
    switch_off(database, delivery, "the endpoint answered 410", time.time())
    html = visitor.get("/webhooks").text
    assert "switched off" in html and f"job {job}: cancelled, given up" in html and "the endpoint answered 410" in html
    assert "http://a.example/in" in html and "abc" not in html and "whsec" not in html
    chinese = visitor.get("/webhooks", headers={"accept-language": "zh-CN"}).text
    assert (
        "已停用" in chinese
        and f"任务 {job}：已取消，已放弃" in chinese
        and "410" in chinese
        and "the endpoint answered" not in chinese
    )
    resend, switch_on = acts(html)
    assert visitor.post(switch_on, json={}).status_code == 200
    assert find_endpoint(database, hook).gone_at is None
    assert acts(visitor.get("/pages/webhooks").json()["parts"]["webhooks"]) == [resend]
    assert visitor.post(resend, json={}).status_code == 200
    assert count_deliveries(database, hook) == {"waiting": 1, "delivered": 0, "given_up": 0}


def test_what_cannot_be_done_is_said_and_no_name_is_markup(visitor: TestClient, service: Service) -> None:
    unknown = visitor.post(f"/pages/webhooks/we_{'0' * 24}/resend", json={})
    assert unknown.status_code == 404 and "we_0" in unknown.json()["error"]
    hook = add_endpoint(service.database, XSS[0], "http://a.example/", [CANCELLED], "whsec_AAAA").id
    assert visitor.post(f"/pages/webhooks/{hook}/other", json={}).status_code == 404
    assert XSS[0] not in visitor.get("/webhooks").text and hook in visitor.get("/webhooks").text
