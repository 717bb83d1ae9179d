from __future__ import annotations

import pytest

from party.preflight import network
from secagg.cli import ExitCode
from tests.party.preflight.conftest import Hospital


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def elsewhere(hospital: Hospital, host: str) -> None:
    """Let the server be on another machine."""
    hospital.change('host = "localhost"', f'host = "{host}"')


def test_who_names_the_proxy_is_said(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    assert network.proxy(hospital.site()) == "none: no proxy is named"
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@10.0.0.1:3128")
    assert network.proxy(hospital.site()) == "none: the server is on this machine"
    elsewhere(hospital, "192.0.2.7")
    assert network.proxy(hospital.site()) == "10.0.0.1:3128: HTTPS_PROXY says so"
    assert network.names(hospital.site()) == "10.0.0.1 is an address"
    monkeypatch.setenv("NO_PROXY", "192.0.2.7")
    assert network.proxy(hospital.site()) == "none: NO_PROXY names the server"
    assert network.names(hospital.site()) == "192.0.2.7 is an address"


def test_a_proxy_that_is_no_url_is_found(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(hospital, "192.0.2.7")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://10.0.0.1:1080")
    hospital.fails(network.proxy, "HTTPS_PROXY: a proxy is given as", ExitCode.USAGE)


def test_a_known_name_has_its_addresses_shown(hospital: Hospital) -> None:
    assert "127.0.0.1" in network.names(hospital.site())


def test_an_unknown_name_is_found(hospital: Hospital) -> None:
    elsewhere(hospital, "no such name")
    hospital.fails(network.names, "no such name is not known here", ExitCode.CONNECTION)


def test_a_silent_name_server_is_found(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "SECONDS", 0)
    hospital.fails(network.names, "No name server has answered", ExitCode.TOO_FEW)
