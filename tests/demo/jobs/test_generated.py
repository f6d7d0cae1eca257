"""The OpenAPI document and the service agree, whatever is sent; `make attack` sends 200 requests to each operation."""

from pathlib import Path

from tests.demo.jobs.generated import check_generated, still_service

JOBS = "/v1/fine_tuning/jobs"
SUCCEED = {"POST /v1/files", "GET /v1/files", "GET /v1/files/{name}/content", "GET /v1/webhook_endpoints",
           f"GET {JOBS}", f"POST {JOBS}", f"GET {JOBS}/{{name}}/events"}  # fmt: skip


def test_generated_requests(roomy_llm: Path, tmp_path: Path) -> None:
    """Eight requests to each operation, half of them invalid, the same ones at every run."""
    with still_service(tmp_path, roomy_llm) as app:
        seen = check_generated(app, tmp_path, 4)
    assert {operation for operation, statuses in seen.items() if 200 in statuses} >= SUCCEED, seen
    assert len(seen) >= 26 and all(400 <= max(statuses) < 500 for name, statuses in seen.items() if "{" in name), seen
