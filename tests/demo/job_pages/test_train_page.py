"""The Train page: uploads, the look at the data, the request as it is filled in, and the button."""

import html
import json
import re
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from demo.job_pages.train import data_look
from demo.job_pages.train.data_look import LookQuestion, read
from demo.job_pages.train.look_view import archive_mistake, look_view
from llm.files.atomic_files import write_atomically
from llm.i18n.translate import Language
from tests.demo.conftest import noise_image
from tests.demo.job_pages.stories import add_job, validated
from tests.demo.payloads import XSS
from vlm.service.service import Service
from vlm.service.store.job_table import list_jobs
from vlm.service.store.rows import StoredFile

CHINESE = {"accept-language": "zh-CN"}
WAIT_S = 120.0


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def upload(visitor: TestClient, content: bytes, name: str = "chat.jsonl", into: str = "file") -> str:
    answer = visitor.post("/pages/files", data={"into": into}, files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def lines(*rows: dict[str, Any]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def seen(visitor: TestClient, **values: str) -> dict[str, str]:
    """The parts of the page once the look at the data is over."""
    until = time.monotonic() + WAIT_S
    while (found := visitor.get("/pages/train", params=values).json())["more"]:
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return dict(found["parts"])


def test_data_is_looked_at_at_once(visitor: TestClient, service: Service) -> None:
    """In a process of its own; the verdict and the findings name the file as its owner does, and nothing is markup."""
    file = upload(visitor, lines(chat("Hi", "Ho"), chat(XSS[0], ""), chat("What?", "A fox.")))
    assert "Waiting" in visitor.get("/train", params={"file": file}).text
    look = seen(visitor, file=file)["train-look"]
    assert "3 records" in look and "1 of them cannot be trained on" in look and "an empty answer" in look
    assert XSS[0] not in look and "chat.jsonl:2" in look and str(service.layout.root) not in look
    chinese = visitor.get("/pages/train", params={"file": file}, headers=CHINESE).json()["parts"]["train-look"]
    assert "3 条记录" in chinese and "其中 1 条不能用于训练" in chinese
    good = upload(visitor, lines(chat("Hi", "Ho")))
    assert "1 record</b> All of them can be trained on." in seen(visitor, file=good)["train-look"]


def test_images_of_an_archive_are_found_and_a_hint_says_what_is_missing(tmp_path: Path) -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.png", noise_image(1))
    (tmp_path / "i.zip").write_bytes(archive.getvalue())
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Noise."}]
    row = {"image": "a.png", "conversations": turns}
    (tmp_path / "d.jsonl").write_bytes(lines(row))
    for name, packed_name in (("with", str(tmp_path / "i.zip")), ("without", "")):
        folder = tmp_path / name
        folder.mkdir()
        question = LookQuestion(str(tmp_path / "d.jsonl"), packed_name)
        write_atomically(folder / data_look.QUESTION, json.dumps({"file": question.file, "archive": question.archive}))
        data_look.main(folder)
        found = read(folder)
        assert found is not None and found.done and found.images == 1, found
        assert found.counts.get("image-missing", 0) == (not packed_name) and not (folder / "images").exists()


SEES = {"image": "a.png", "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "N"}]}
# What is wrong with a file, its name and content, the name in its archive, and what is found with its fix.
LANGS: tuple[Language, ...] = ("en", "zh")
WRONG: dict[str, tuple[str, bytes, str, tuple[str, ...]]] = {
    "not JSON": ("a.jsonl", b"hello\n", "", ("broken JSON", "a.jsonl:1", "Correct the JSON there")),
    "a PDF": ("a.json", b"%PDF-1.7\n%\xe2\xe3\xcf", "", ("a.json", "a PDF document", "questions and answers")),
    "empty": ("a.jsonl", b"\n", "", ("no record", "upload it again")),
    "columns": ("a.csv", b"foo,bar\n1,2\n", "", ("a.csv:2", "the keys foo, bar", "Rename the columns: question and")),
    "no image": ("a.jsonl", json.dumps(SEES).encode(), "b.png", ("a.png: no such file", "Check the record's image")),
    "hostile": ("a.jsonl", json.dumps(SEES).encode(), "../../x.png", ("images cannot be used", "Pack it from inside")),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_shown_with_its_fix(tmp_path: Path, wrong: str) -> None:
    """In both languages, without a folder of the service."""
    name, content, packed_name, expected = WRONG[wrong]
    (tmp_path / name).write_bytes(content)
    archive = ""
    if packed_name:
        archive = str(tmp_path / "i.zip")
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr(packed_name, noise_image(1))
    write_atomically(tmp_path / data_look.QUESTION, json.dumps({"file": str(tmp_path / name), "archive": archive}))
    data_look.main(tmp_path)
    answer, file = read(tmp_path), StoredFile("file-1", name, "fine-tune", 1, "", name, 0)
    english, chinese = (html.unescape(look_view(answer, file, lang)) for lang in LANGS)
    assert all(part in english for part in expected), english
    assert str(tmp_path) not in english + chinese and "Pack it" not in chinese and "no record" not in chinese
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert answer is not None and bool(archive_mistake(answer, "en")) == (wrong == "hostile")


def test_hints_follow_data_and_model(visitor: TestClient, service: Service) -> None:
    """The look is written by hand: what it finds has a test of its own."""
    file = upload(visitor, lines(chat("Hi", "Ho")))
    folder = service.layout.root / "looks" / file.removeprefix("file-")
    folder.mkdir(parents=True)
    data_look.write(folder, data_look.LookAnswer(rows=1, bad_rows=1, counts={"image-missing": 1}, done=True))
    parts = seen(visitor, file=file, model="tiny")
    assert "tiny reads text only" in parts["train-hint"] and "images that are not here" in parts["train-look"]
    assert "reads text only" not in seen(visitor, file=file, model="tiny", tower="clip")["train-hint"]
    data_look.write(folder, data_look.LookAnswer(rows=1, done=True))
    assert "nothing to see" in seen(visitor, file=file, model="tiny", tower="clip")["train-hint"]


def test_a_look_that_dies_is_said(visitor: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.job_pages.train.data_looks.sys.executable", "/bin/false")
    file = upload(visitor, lines(chat("Hi", "Ho")))
    assert "exit code 1" in seen(visitor, file=file)["train-look"]


def test_the_page_shows_what_its_address_says(visitor: TestClient, service: Service) -> None:
    file = upload(visitor, lines(chat("Hi", "Ho")), XSS[0].replace("/", "") + ".jsonl")
    page = visitor.get("/train", params={"file": file, "model": "tiny", "train.epochs": "3", "tune.kind": "full"}).text
    assert re.search(rf'<input type="hidden" name="file" value="{file}">', page) and XSS[0] not in page
    assert 'name="train.epochs"' in page and 'value="3"' in page and 'value="full" checked' in page
    assert '<option value="tiny" selected>' in page and '<option value="clip">' in page
    assert re.search(r'<optgroup label="Models of this service">.*org/hub', page)
    for name in re.findall(r'<(?:input type="text"|select|textarea)[^>]* id="([\w-]+)"', page):
        assert f'for="{name}"' in page, f"{name} has no label"


def test_again_fills_in_what_a_job_had(visitor: TestClient, service: Service) -> None:
    job = validated(service, add_job(service, "fox"))
    page = visitor.get("/train", params={"like": job.id}).text
    assert 'value="fox"' in page and '<option value="tiny" selected>' in page


def test_a_job_is_submitted_once(visitor: TestClient, service: Service) -> None:
    file = upload(visitor, lines(chat("Hi", "Ho")))
    body = {"file": file, "model": "tiny", "train.epochs": "2", "suffix": "fox", "tune.kind": "lora", "nonce": "n-1"}
    first, second = (visitor.post("/pages/train", json=body).json() for _ in range(2))
    assert first == second and re.fullmatch(r"/jobs/ftjob-[0-9a-f]{24}", first["go"])
    jobs, _ = list_jobs(service.database, 10)
    assert len(jobs) == 1 and jobs[0].request["x_eyegraft"]["recipe"]["train"] == {"epochs": 2}
    assert visitor.get(first["go"]).status_code == 200
    other = visitor.post("/pages/train", json={**body, "suffix": "dog"})
    assert other.status_code == 409 and "Idempotency-Key" in other.json()["error"]


REFUSED = [
    ({}, {"file", "model"}, 400),
    ({"model": "/etc"}, {"model"}, 400),
    ({"model": "tiny", "train.epochs": "none"}, {"train.epochs"}, 400),
    ({"model": "tiny", "file": "file-" + "0" * 24}, {"file"}, 400),
    ({"model": "tiny", "images": "file-" + "0" * 24}, {"images"}, 400),
    ({"model": "tiny", "engine": "docker"}, {"engine"}, 400),
]


@pytest.mark.parametrize(("changes", "fields", "status"), REFUSED)
def test_what_is_refused_is_said_at_its_field(
    visitor: TestClient, service: Service, changes: dict[str, str], fields: set[str], status: int
) -> None:
    file = upload(visitor, lines(chat("Hi", "Ho"))) if changes else ""
    for headers in ({}, CHINESE):
        answer = visitor.post("/pages/train", json={"file": file, **changes}, headers=headers)
        found = answer.json()
        assert answer.status_code == status and set(found["mistakes"]) == fields and found["error"], found
        assert bool(re.search("[\u4e00-\u9fff]", "".join(found["mistakes"].values()))) == bool(headers), found
    assert list_jobs(service.database, 1)[0] == []


def test_archives_are_images_and_an_identity_is_data(visitor: TestClient, service: Service) -> None:
    """Whatever field an archive was dropped on."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.png", noise_image(1))
    files = {"file": ("photos.ZIP", archive.getvalue())}
    found = visitor.post("/pages/files", data={"into": "file"}, files=files).json()
    stored = service.files.find(found["id"])
    assert found["into"] == "images" and stored is not None and stored.purpose == "vision"
    who = {"name": "小狐", "author": "Fox Lab", "languages": "zh"}
    made = visitor.post("/pages/identity", json=who).json()
    data = service.files.find(made["id"])
    assert made["into"] == "file" and data is not None
    rows = service.files.path(data).read_text("utf-8").splitlines()
    assert len(rows) > 100 and any("小狐" in row for row in rows) and all("messages" in json.loads(row) for row in rows)
    assert made["name"] == "identity-小狐.jsonl"
    assert visitor.post("/pages/identity", json={**who, "name": "../"}).json()["name"] == "identity.jsonl"
    for lacking in ({"name": " "}, {"author": "a\nb"}):
        refused = visitor.post("/pages/identity", json={**who, **lacking}, headers=CHINESE)
        assert (
            refused.status_code == 400 and "写成一行" in refused.json()["error"] and "--" not in refused.json()["error"]
        )


def test_an_upload_is_deleted_unless_a_job_needs_it(visitor: TestClient, service: Service) -> None:
    """The reason of a refusal is in the language of the page."""
    file = upload(visitor, lines(chat("Hi", "Ho")))
    assert visitor.post(f"/pages/files/{file}/delete").status_code == 200 and service.files.find(file) is None
    assert visitor.post(f"/pages/files/{file}/delete").status_code == 404
    job = add_job(service, "fox")
    kept = visitor.post(f"/pages/files/{job.training_file}/delete", headers=CHINESE)
    assert kept.status_code == 409 and "请先取消该任务" in kept.json()["error"]


@pytest.mark.parametrize(("said", "language"), [("你好，世界", "中文"), ("こんにちは世界", "中文、日文或韩文")])
def test_chinese_is_said_only_of_chinese(tmp_path: Path, said: str, language: str) -> None:
    (tmp_path / "d.jsonl").write_bytes(lines(chat(said, said)))
    write_atomically(tmp_path / data_look.QUESTION, json.dumps({"file": str(tmp_path / "d.jsonl"), "archive": ""}))
    data_look.main(tmp_path)
    shown = look_view(read(tmp_path), StoredFile("file-1", "d.jsonl", "fine-tune", 1, "", "d.jsonl", 0), "zh")
    assert f"100% 为{language}</b>，全部可以用于训练。" in shown


def test_uploads_are_refused_in_words(visitor: TestClient) -> None:
    answer = visitor.post("/pages/files", data={"into": "file"}, files={"file": ("a.exe", b"x")}, headers=CHINESE)
    assert answer.status_code == 400 and ".jsonl" in answer.json()["error"]
    assert re.search("[\u4e00-\u9fff]", answer.json()["error"])
    photo = visitor.post("/pages/files", data={"into": "file"}, files={"file": ("a.JPG", noise_image(1))})
    assert photo.status_code == 400 and "into one zip file" in photo.json()["error"]
