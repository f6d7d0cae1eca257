"""The data files of the service, as the Data page and the examples of the chat have them."""

from starlette.testclient import TestClient

from demo.job_pages.stored_data import StoredSources
from vlm.service.service import Service


def test_a_listed_file_leads_to_train_and_train_back_to_its_records(service: Service, visitor: TestClient) -> None:
    file = service.files.add([b"{}\n"], "mine & yours.jsonl", "fine-tune")
    sources = StoredSources(service)
    address = sources.train_address(next(iter(sources)))
    assert address == f"/train?file={file.id}" and sources.train_address("gone (file-1)") == ""
    page = visitor.get(address).text
    assert f'<input type="hidden" name="file" value="{file.id}">' in page
    assert f'<a href="/data?file={file.id}"' in page and "Records of mine &amp; yours.jsonl" in page
