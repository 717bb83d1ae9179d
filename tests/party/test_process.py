"""A node as a process: what it needs before it starts, and the process itself."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec
import pytest
import trio
from cryptography.fernet import Fernet

from party.config import load
from party.database import open_database
from party.process import assemble
from secagg import context
from secagg.cli import CommandError, ExitCode
from secagg.crypto.signatures import verify
from secagg.model import initial, model_hash
from secagg.policy import NoiseSpec
from secagg.wire.messages import PROTOCOL, Challenge, Hello, Ready
from tests.party.coordinator import Peer
from tests.party.ehr import key_file
from tests.party.files import NAME, Installation, install


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return install(tmp_path, port=1)


def assembled(installation: Installation) -> None:
    config = load(installation.configuration)
    engine = open_database(installation.directory / "party.sqlite3")
    try:
        assemble(config, engine)
    finally:
        engine.dispose()


def break_policy(installation: Installation) -> None:
    (installation.directory / "policy.json").write_text("{}")


def remove_policy(installation: Installation) -> None:
    (installation.directory / "policy.json").unlink()


def policy_with(**changes: object) -> Callable[[Installation], None]:
    def put(installation: Installation) -> None:
        changed = msgspec.structs.replace(installation.policy, **changes)
        (installation.directory / "policy.json").write_bytes(changed.canonical())

    return put


def rename(installation: Installation) -> None:
    installation.change(f'name = "{NAME}"', 'name = "elsewhere"')


def take_anothers_name(installation: Installation) -> None:
    installation.change(f'name = "{NAME}"', 'name = "hungary"')


def remove_budget(installation: Installation) -> None:
    installation.change('[budget]\nepsilon = "1.0"\ndelta = "0.001"\n', "")


def spoil_a_record(installation: Installation) -> None:
    with (installation.directory / "train.jsonl").open("a") as records:
        records.write('{"patient_id": "CANARY", "diagnosis": "x", "age": 4711}\n')


def remove_test_records(installation: Installation) -> None:
    (installation.directory / "test.jsonl").unlink()


def empty_the_records(installation: Installation) -> None:
    (installation.directory / "train.jsonl").write_text("")


def make_the_hospital_the_unit(installation: Installation) -> None:
    policy = installation.policy
    assert policy.model is not None
    rule = msgspec.structs.replace(policy.model.contribution, max_patients=1)
    model = msgspec.structs.replace(policy.model, contribution=rule)
    noise = msgspec.structs.replace(policy.noise, unit="hospital")
    policy_with(model=model, noise=noise, features=None)(installation)


def post_batches(installation: Installation) -> None:
    """No records of its own any more, but what an EHR posts."""
    records = 'train = "train.jsonl"\ntest = "test.jsonl"\nrounds = 3\n'
    installation.change(f"[data]\n{records}", '[ehr]\nfernet_key_file = "fernet.key"\n')
    key_file(installation.directory / "fernet.key", Fernet.generate_key())


def open_the_ehrs_key(installation: Installation) -> None:
    post_batches(installation)
    (installation.directory / "fernet.key").chmod(0o644)


def limit(line: str) -> Callable[[Installation], None]:
    def put(installation: Installation) -> None:
        installation.change("[reconnect]\n", f"[limits]\n{line}\n[reconnect]\n")

    return put


def schedule_nothing(installation: Installation) -> None:
    post_batches(installation)
    schedule = '[schedule]\ncron = "0 2 * * 0"\nfolder = "outbox"\n'
    installation.change("[ehr]\n", f"{schedule}[ehr]\n")


def schedule_records_of_hospitals(installation: Installation) -> None:
    schedule_nothing(installation)
    make_the_hospital_the_unit(installation)


@pytest.mark.parametrize(
    ("spoil", "explanation"),
    [
        (make_the_hospital_the_unit, "so this node takes no records"),
        (schedule_records_of_hospitals, "so this node takes no records"),
        (schedule_nothing, r"The folder .*outbox of \[schedule\] is not there"),
        (open_the_ehrs_key, "fernet.key is open to other users"),
        (spoil_a_record, "record 199, age"),
        (remove_test_records, "test.jsonl cannot be read"),
        (empty_the_records, "has 0 patients"),
        (break_policy, "policy.json cannot be used"),
        (remove_policy, "policy.json cannot be used"),
        (policy_with(features=None), "no model or no features"),
        (policy_with(noise=NoiseSpec()), "adds no noise"),
        (rename, "not on the roster"),
        (take_anothers_name, "enroll the key"),
        (remove_budget, "sets no privacy budget"),
    ],
)
def test_what_does_not_fit_together_is_explained(
    installation: Installation, spoil: Callable[[Installation], None], explanation: str
) -> None:
    spoil(installation)
    with pytest.raises(CommandError, match=explanation) as refused:
        assembled(installation)
    assert refused.value.exit_code is ExitCode.USAGE
    assert "CANARY" not in str(refused.value)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize(
    "line",
    ["min_participants = 4", 'noise = ["local"]', 'max_epsilon_per_round = "0.0001"'],
)
def test_a_policy_below_the_sites_own_floor_is_not_run_on(
    installation: Installation, line: str
) -> None:
    limit(line)(installation)
    with pytest.raises(CommandError, match="this hospital's own floor") as refused:
        assembled(installation)
    assert refused.value.exit_code is ExitCode.BUDGET_REFUSED


def test_a_policy_without_noise_runs_without_a_budget(installation: Installation) -> None:
    policy_with(noise=NoiseSpec())(installation)
    remove_budget(installation)
    assembled(installation)


def test_under_a_policy_of_hospitals_a_node_opens_without_features(
    installation: Installation,
) -> None:
    post_batches(installation)
    make_the_hospital_the_unit(installation)
    assembled(installation)


# --- the process ----------------------------------------------------------------------------------


@contextmanager
def started(installation: Installation) -> Iterator[subprocess.Popen[str]]:
    """``secagg party start``, killed at the end if it still runs."""
    command = [sys.executable, "-c", "from secagg.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "party", "start", "--config", str(installation.configuration)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def serving_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    assert line["event"] == "serving"
    return str(line["url"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_stops_cleanly(installation: Installation, number: signal.Signals) -> None:
    with started(installation) as process:
        url = serving_url(process)
        assert httpx2.get(f"{url}/healthz").json() == {"status": "ok"}
        status = httpx2.get(f"{url}/status").json()
        assert status["connected"] is False
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == ExitCode.OK
    events = [json.loads(line)["event"] for line in errors.splitlines()]
    assert events[0] == "privacy budget"
    assert events[-2:] == ["stopping", "audit head"]
    assert "connection lost" in events


def test_a_second_process_on_the_same_state_is_refused(installation: Installation) -> None:
    with started(installation) as first:
        serving_url(first)
        with started(installation) as second:
            _, errors = second.communicate(timeout=20)
            assert second.returncode == ExitCode.USAGE
        assert "Another node is running" in errors


def test_a_port_that_is_taken_is_said(installation: Installation, tmp_path: Path) -> None:
    with started(installation) as first:
        port = serving_url(first).rsplit(":", 1)[1]
        installation.change("port = 0", f"port = {port}")
        installation.change('state_dir = "state"', 'state_dir = "other"')
        with started(installation) as second:
            _, errors = second.communicate(timeout=20)
            assert second.returncode == ExitCode.CONNECTION
        assert "cannot be listened on" in errors


async def test_it_introduces_itself_over_mutual_tls(tmp_path: Path) -> None:
    hellos: list[Hello] = []
    offers: list[Ready] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port: int = listener.socket.getsockname()[1]
            installation = install(tmp_path, port)
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            installation.authority.issue_cert("localhost").configure_cert(tls)
            installation.authority.configure_trust(tls)
            tls.verify_mode = ssl.CERT_REQUIRED
            nonce = bytes(range(32))

            async def greet(plain: trio.SocketStream) -> None:
                peer = Peer(trio.SSLStream(plain, tls, server_side=True))
                await peer.send(Challenge(PROTOCOL, installation.policy.digest(), nonce))
                hello, ready = await peer.receive(), await peer.receive()
                assert isinstance(hello, Hello)
                assert isinstance(ready, Ready)
                hellos.append(hello)
                offers.append(ready)
                nursery.cancel_scope.cancel()

            nursery.start_soon(trio.serve_listeners, greet, [listener])
            with started(installation) as process:
                await trio.to_thread.run_sync(serving_url, process)
                await trio.sleep_forever()
    (hello,) = hellos
    spec = installation.policy.model
    assert spec is not None
    assert hello.u == installation.policy.client(NAME)
    assert hello.model_hash == model_hash(initial(spec))
    key = installation.policy.identity_key(hello.u)
    assert verify(key, hello.signature, *context.hello(nonce, hello))
    assert offers == [Ready(1)]
