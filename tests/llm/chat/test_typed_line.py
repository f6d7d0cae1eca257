"""Lines typed into the terminal chat, as people, terminals and other chats write them."""

from pathlib import Path

import pytest

from llm.chat.typed_line import Typed, read_typed


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with images, which is the working directory too."""
    names = ("a.png", "my cat.png", "it's.jpg", "100%25.png", "caf\u00e9.png", "猫 图.png", "scan", "old.JPG")
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.png").write_bytes(b"x")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "images"),
    [
        ("/image a.png", ["a.png"]),
        ("/image ~/a.png", ["HOME/a.png"]),
        ("/image  my cat.png ", ["my cat.png"]),
        ("/image my\\ cat.png", ["my cat.png"]),
        ("/image 'my cat.png'", ["my cat.png"]),
        ('/image "HOME/my cat.png"', ["HOME/my cat.png"]),
        ("/image a.png my\\ cat.png", ["a.png", "my cat.png"]),
        ("/image it's.jpg", ["it's.jpg"]),
        ("/image HOME/it\\'s.jpg", ["HOME/it's.jpg"]),
        ("/image file://HOME/my%20cat.png", ["HOME/my cat.png"]),
        ("/image file://localhost/HOME/a.png", ["/HOME/a.png"]),
        ("/image 'file://HOME/my%20cat.png'", ["HOME/my cat.png"]),
        ("/image my%20cat.png", ["my cat.png"]),
        ("/image 100%25.png", ["100%25.png"]),
        ("/image sub\\b.png", ["sub/b.png"]),
        ("/image caf\u0065\u0301.png", ["caf\u00e9.png"]),
        ("/image 猫 图.png", ["猫 图.png"]),
        ("／image a.png", ["a.png"]),
        ("/IMG a.png", ["a.png"]),
        ("/image scan", ["scan"]),
        ("/image no such file.png", ["no such file.png"]),
        ("/image ~/missing.png", ["HOME/missing.png"]),
        ("/image file:///no/my%20cat.png", ["/no/my cat.png"]),
        ("/image C:\\Users\\me\\a.png", ["C:\\Users\\me\\a.png"]),
        ("/image a.png missing.png", ["a.png", "missing.png"]),
        # dropped on the window
        ("HOME/a.png", ["HOME/a.png"]),
        ("'HOME/my cat.png' ", ["HOME/my cat.png"]),
        ("HOME/my\\ cat.png ", ["HOME/my cat.png"]),
        ("HOME/my cat.png", ["HOME/my cat.png"]),
        ("file://HOME/my%20cat.png", ["HOME/my cat.png"]),
        ("HOME/a.png 'HOME/my cat.png'", ["HOME/a.png", "HOME/my cat.png"]),
        ("~/old.JPG", ["HOME/old.JPG"]),
        ("/gone/away.png", ["/gone/away.png"]),
    ],
)
def test_an_image_is_found_however_it_is_written(home: Path, line: str, images: list[str]) -> None:
    typed = read_typed(line.replace("HOME", str(home)))
    assert typed == Typed("image", "", tuple(image.replace("HOME", str(home)) for image in images))


def test_a_video_is_named_or_dropped(home: Path) -> None:
    assert read_typed("/video a clip.mp4") == Typed("video", videos=("a clip.mp4",))
    assert read_typed("/clip a.png") == Typed("video", videos=("a.png",))
    assert read_typed("/video") == Typed("refused", "/video: name a file, /video FILE")
    typed = read_typed(f"'{home}/a.png' /gone/b.MOV what differs?")
    assert typed == Typed("image", "what differs?", (f"{home}/a.png",), ("/gone/b.MOV",))


def test_a_question_may_follow_a_dropped_image(home: Path) -> None:
    typed = read_typed(f"'{home}/my cat.png' file://{home}/a.png what differs? it's odd")
    assert typed == Typed("image", "what differs? it's odd", (f"{home}/my cat.png", f"{home}/a.png"))


@pytest.mark.parametrize(
    "line",
    [
        *("What is a.png?", "/etc/hosts is what?", "~ is a tilde", "'quoted' words", "exit strategy", "help me", "1/2"),
        *("./configure fails", "reset my password", "/ 2 * 3", "C: is a drive", "file: a word", "退出码是什么"),
    ],
)
def test_a_question_is_a_question(home: Path, line: str) -> None:
    assert read_typed(line) == Typed("question", line)


def test_a_question_may_begin_with_a_slash() -> None:
    assert read_typed("//reset means what?") == Typed("question", "/reset means what?")


@pytest.mark.parametrize(
    ("action", "lines"),
    [
        ("exit", ["/exit", "/quit", "/q", "/bye", "exit", "quit", "EXIT", "Quit", "exit()", ":q", "退出", "／exit"]),
        ("reset", ["/reset", "/new", "/clear", "RESET", "reset", "clear", "重置"]),
        ("help", ["/help", "/?", "/h", "help", "?", "帮助"]),
    ],
)
def test_commands_have_the_names_that_other_chats_use(action: str, lines: list[str]) -> None:
    assert {line: read_typed(line).action for line in lines} == dict.fromkeys(lines, action)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/imgae a.png", "/imgae: no such command; did you mean /image?"),
        ("/save", "/save: no such command; /help lists them"),
        ("/image", "/image: name a file"),
        ("/reset please", "/reset: takes nothing, found 'please'"),
        ("/", "/: no such command; /help"),
    ],
)
def test_what_is_no_command_is_named(line: str, found: str) -> None:
    typed = read_typed(line)
    assert typed.action == "refused"
    assert typed.text.startswith(found)
