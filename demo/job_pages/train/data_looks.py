"""Looks at uploaded data, one after another; what was seen of a file is remembered, files never change."""

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from demo.job_pages.train.data_look import QUESTION, LookAnswer, LookQuestion, read, write
from llm.files.atomic_files import write_atomically
from vlm.service.attempts.stop_file import die_with_parent
from vlm.service.service import Service
from vlm.service.store.rows import StoredFile

LONGEST_S = 300.0  # of a look with its archive; after that it is ended
MOST = 200  # looks that are remembered


class DataLooks:
    """Starts looks and reads what they have seen. Thread-safe."""

    def __init__(self, service: Service) -> None:
        self._service, self._folder = service, service.layout.root / "looks"
        self._asked: set[str] = set()
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Path] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def of(self, file: StoredFile, images: StoredFile | None) -> LookAnswer | None:
        """What was seen of a file with its images; the first request starts the look. None while it waits."""
        name = "-".join(one.id.removeprefix("file-") for one in (file, images) if one is not None)
        folder = self._folder / name
        answer = read(folder)
        with self._lock:
            if name not in self._asked and (answer is None or not answer.done):
                self._asked.add(name)
                self._start(folder, file, images)
                return None
        return answer

    def _start(self, folder: Path, file: StoredFile, images: StoredFile | None) -> None:
        self._forget_old()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files = self._service.files
        question = LookQuestion(str(files.path(file)), str(files.path(images)) if images else "")
        write_atomically(folder / QUESTION, json.dumps(asdict(question)))
        if self._thread is None:
            # One thread for all: a process that is to end with its parent ends with the thread that started it.
            self._thread = threading.Thread(target=self._work, name="looks", daemon=True)
            self._thread.start()
        self._queue.put(folder)

    def _work(self) -> None:
        while True:
            folder = self._queue.get()
            code = _run([sys.executable, "-P", "-m", "demo.job_pages.train.data_look", str(folder)], folder / "log.txt")
            answer = read(folder)
            if answer is None or not answer.done:
                write(folder, LookAnswer(error=f"it ended with exit code {code}", done=True))

    def _forget_old(self) -> None:
        if not self._folder.is_dir():
            return
        newest = sorted(self._folder.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for number, folder in enumerate(newest):
            gone = any(self._service.files.find(f"file-{name}") is None for name in folder.name.split("-"))
            if gone or number >= MOST:  # a look holds records of its file
                shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], log: Path) -> int:
    """The exit code of a program, which is ended after LONGEST_S seconds and when the service ends."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_parent
        )
        try:
            return process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
