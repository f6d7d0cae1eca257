"""The HTTP protocol and the server without sockets: timeouts, connections per visitor, signals."""

import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from demo.server import sockets
from demo.server.limits import DEFAULT, Limits
from demo.server.sockets import LimitedProtocol, SignalServer, app_config, ended_by_signal

LIMITS = Limits(send_seconds=10.0, share_connections=2)


class Loop:
    """A fake event loop that records scheduled calls."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append((seconds, call))


class Transport:
    """A fake transport whose write buffer holds `size` bytes."""

    def __init__(self) -> None:
        self.size, self.closing, self.aborted = 0, False, False

    def get_write_buffer_size(self) -> int:
        return self.size

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True


def patient(client: tuple[str, int] | None = ("10.0.0.7", 1), connections: Any = (), limits: Limits = LIMITS) -> Any:
    """A protocol instance without a server."""
    made: Any = LimitedProtocol.__new__(type("Bound", (LimitedProtocol,), {"limits": limits}))
    made.loop, made.transport, made.client, made.connections = Loop(), Transport(), client, connections
    return made


# Time limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "aborted"),
    [
        ([0, 0, 0], False),
        ([10], False),
        ([10, 10], True),
        ([10, 11], True),
        ([10, 9], False),
        ([10, 9, 9], True),
        ([10, 0, 10], False),
        ([0, 10, 5, 4, 3], False),
    ],
)
@pytest.mark.parametrize("why", ["paused", "closing"])
def test_a_full_write_buffer_must_shrink_between_checks(sizes: list[int], aborted: bool, why: str) -> None:
    made = patient()
    made._paused, made.transport.closing = why == "paused", why == "closing"
    for size in sizes:
        assert not made.transport.aborted
        made.transport.size = size
        made._check_buffer()
    assert made.transport.aborted is aborted
    assert made.loop.later == [(5.0, made._check_buffer)] * (len(sizes) - aborted), "two checks within the limit"


def test_a_write_buffer_that_is_not_full_may_stay_unchanged() -> None:
    made = patient()
    made.transport.size = 10
    for _ in range(3):
        made._check_buffer()
    assert not made.transport.aborted and made._unsent == 0


def test_a_connection_without_a_request_is_aborted() -> None:
    made = patient(limits=Limits(head_seconds=3.5))
    made._start_head_timer()
    ((seconds, end),) = made.loop.later
    end()
    assert seconds == 3.5 and made.transport.aborted


def test_timers_are_cancelled_with_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[object] = []
    monkeypatch.setattr(sockets.H11Protocol, "connection_lost", lambda self, error: lost.append(error))
    made, ended = patient(), list[str]()
    made.connection_lost(None)  # before either timer has started
    made._head_timer = SimpleNamespace(cancel=lambda: ended.append("request"))
    made._send_timer = SimpleNamespace(cancel=lambda: ended.append("look"))
    made.connection_lost(OSError("gone"))
    assert ended == ["request", "look"] and [type(error) for error in lost] == [type(None), OSError]


# Shares ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "too_many"),
    [
        ([], False),
        (["10.0.0.7"], False),
        (["10.0.0.7"] * 2, True),
        (["::ffff:10.0.0.7", "10.0.0.7"], True),
        (["10.0.0.7", "10.0.0.8", "10.0.0.9"], False),
        (["10.0.0.7", None, None], False),
    ],
)
def test_a_visitors_share_of_the_connections(others: list[str | None], too_many: bool) -> None:
    held = [patient((host, 1) if host else None) for host in others]
    own = patient()
    own.connections = [*held, own, SimpleNamespace(client=("10.0.0.7", 1))]
    assert own._too_many() is too_many
    assert not patient(None, own.connections)._too_many()
    assert not patient(("10.0.0.7", 1), own.connections, DEFAULT)._too_many(), "a share of 0 is no bound"


def test_an_ipv6_network_is_one_visitor() -> None:
    hosts = ["2001:db8:0:2::1", "2001:db8:0:2:ffff::", "2001:db8:0:3::1"]
    own = patient(("2001:db8:0:2::9", 1))
    own.connections = [*(patient((host, 1)) for host in hosts), own]
    assert own._too_many()
    own.connections = own.connections[1:]
    assert not own._too_many()


# Settings and signals -------------------------------------------------------------------------------------------------


def test_uvicorns_configuration() -> None:
    config = app_config(FastAPI(), "::1", 7860, LIMITS)
    assert (config.host, config.port, config.ws, config.log_level) == ("::1", 7860, "none", "warning")
    assert (config.limit_concurrency, config.timeout_graceful_shutdown) == (256, 1)
    assert (config.server_header, config.proxy_headers, config.use_colors) == (False, False, False)
    assert config.loop == "asyncio", "uvloop, which other packages bring, has transports of another type"
    protocol: Any = config.http
    assert issubclass(protocol, LimitedProtocol) and protocol.limits == LIMITS and LimitedProtocol.limits == DEFAULT


def test_a_signal_stops_answers_and_starts_the_exit_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, call: object, given: list[int]) -> None:
            done.append((seconds, call, given))

        def start(self) -> None:
            done.append(f"started, daemon {self.daemon}")

    monkeypatch.setattr("demo.server.sockets.threading.Timer", Timer)
    server = SignalServer(app_config(FastAPI(), "::1", 0, LIMITS), lambda: done.append("closed"))
    server.handle_exit(signal.SIGTERM, None)
    assert done == [(4.0, sockets._end_now, [143]), "started, daemon True", "closed"]
    assert server.should_exit


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The exit codes that the process would have ended with. SIGTERM's handler is restored."""
    codes: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("demo.server.sockets._end_now", codes.append)
    yield codes
    signal.signal(signal.SIGTERM, before)


def test_sigterm_unwinds_the_stack_and_then_exits_at_once(ends: list[int]) -> None:
    unwound = []
    with pytest.raises(SystemExit) as caught, ended_by_signal():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            unwound.append(list(ends))
    assert (unwound, ends, caught.value.code) == ([[]], [143], 143)


@pytest.mark.parametrize("code", [0, 2, 142, None, "143"])
def test_other_exits_are_left_to_python(ends: list[int], code: Any) -> None:
    with pytest.raises(SystemExit), ended_by_signal():
        raise SystemExit(code)
    with pytest.raises(KeyboardInterrupt), ended_by_signal():
        raise KeyboardInterrupt
    with ended_by_signal():
        pass
    assert ends == []
