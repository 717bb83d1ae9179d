from __future__ import annotations

import socket

import trustme

from party.preflight import interface
from party.state_dir import held
from secagg.cli import ExitCode
from tests.party.preflight.conftest import Hospital


def test_a_free_port_is_free(hospital: Hospital) -> None:
    port = hospital.site().config.api.port
    assert interface.free(hospital.site()) == f"127.0.0.1:{port} is free"
    assert interface.free(hospital.site()) == f"127.0.0.1:{port} is free"
    hospital.change(f"[api]\nport = {port}", "[api]\nport = 0")
    assert interface.free(hospital.site()) == "127.0.0.1, any free port"


def test_a_taken_port_is_found(hospital: Hospital) -> None:
    port = hospital.site().config.api.port
    with socket.create_server(("127.0.0.1", port)):
        words = f"127.0.0.1:{port} cannot be listened on"
        hospital.fails(interface.free, words, ExitCode.CONNECTION)


def test_an_address_of_another_machine_is_found(hospital: Hospital) -> None:
    authority = trustme.CA()
    serve_in_tls(hospital, authority)
    hospital.add('host = "192.0.2.1"\n')
    hospital.change("# token_hash_file", "token_hash_file")
    hospital.fails(interface.free, r"192\.0\.2\.1.*cannot be listened on", ExitCode.CONNECTION)


def test_the_running_nodes_own_port_is_no_mistake(hospital: Hospital) -> None:
    port = hospital.site().config.api.port
    with held(hospital.home / "state"):
        hospital.fails(interface.free, "nobody answers at", ExitCode.CONNECTION)
        with socket.create_server(("127.0.0.1", port)):
            assert interface.free(hospital.site()) == f"127.0.0.1:{port}, the node answers"


def serve_in_tls(hospital: Hospital, authority: trustme.CA) -> None:
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(hospital.home / "api.crt")
    issued.private_key_pem.write_to_path(hospital.home / "api.key")
    (hospital.home / "api.key").chmod(0o600)
    hospital.add('certificate = "api.crt"\nprivate_key = "api.key"\n')


def test_its_certificate_is_looked_at(hospital: Hospital) -> None:
    authority = trustme.CA()
    serve_in_tls(hospital, authority)
    assert "is free" in interface.free(hospital.site())
    authority.issue_cert("localhost").private_key_pem.write_to_path(hospital.home / "api.key")
    hospital.fails(interface.free, "is for another private key", ExitCode.USAGE)
    (hospital.home / "api.crt").write_text("nonsense")
    hospital.fails(interface.free, "no certificate in PEM", ExitCode.USAGE)
    (hospital.home / "api.crt").unlink()
    hospital.fails(interface.free, "No such file", ExitCode.USAGE)
