"""What processes beside the first print."""

import pytest

from vlm.app.launch import worker_output


def test_only_the_first_process_prints_and_all_do_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that trains by `vlm.api` under torchrun has its own output again when training is over."""
    for rank in range(2):
        with worker_output(rank):
            print(f"inside {rank}")
        print(f"after {rank}")
    with pytest.raises(ValueError), worker_output(1):
        raise ValueError
    print("after an error")
    assert capsys.readouterr().out.split("\n") == ["inside 0", "after 0", "after 1", "after an error", ""]
