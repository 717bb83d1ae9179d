"""Attack 15 on a real node and a real server: frames without end, and messages that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from secagg.wire.codec import encode
from secagg.wire.framing import frame
from secagg.wire.messages import Challenge
from tests.attacks.processes.raid import raided
from tests.attacks.processes.siege import besieged

ENDLESS = b"\xff\xff\xff\xff"
FLOOD = bytes(8 * 2**20)


def test_a_node_ends_the_connection_at_the_header_and_comes_back(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        siege.send_bytes(ENDLESS)
        assert siege.ended()
        siege.accept()
        assert "a frame has 1 to" in siege.log


def test_without_the_limit_it_takes_all_in(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=["frame-limit"]) as siege:
        before = siege.memory()
        siege.send_bytes(ENDLESS + FLOOD)
        while siege.memory() < before + len(FLOOD) // 2:
            assert siege.process is not None
            assert siege.process.poll() is None


def malformed() -> dict[str, bytes]:
    genuine = encode(Challenge(1, bytes(32), bytes(32)))
    return {
        "trailing byte": frame(genuine + b"\0"),
        "cut short": frame(genuine[:-1]),
        "nothing": b"\0\0\0\0",
        "no msgpack": frame(b"\xc1" * 40),
        "interleaved": frame(genuine)[:20] + frame(genuine),
    }


@pytest.mark.parametrize("name", malformed())
def test_what_is_no_message_ends_the_connection(tmp_path: Path, name: str) -> None:
    with besieged(tmp_path) as siege:
        siege.send_bytes(malformed()[name])
        assert siege.ended()
        siege.accept()
        assert siege.process is not None
        assert siege.process.poll() is None


def test_a_server_ends_a_strangers_connection_and_serves_the_others(tmp_path: Path) -> None:
    with raided(tmp_path) as raid:
        for data in (ENDLESS, *malformed().values()):
            line = raid.dial()
            assert isinstance(line.receive(), Challenge)
            line.stream.sendall(data)
            line.stream.settimeout(30)
            while line.receive() is not None:
                pass
            line.stream.close()
        assert isinstance(raid.dial().receive(), Challenge)
