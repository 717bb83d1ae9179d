"""``secagg party leave`` and ``return``: of a node that runs, and of one that does not."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import httpx2
import pytest
import trio
import trustme

from party.config import load
from party.process import opened
from party.queue import State
from party.state_dir import DATABASE, held
from secagg.cli import GROUP, ExitCode, main
from server.consortium import create
from server.policy_template import find_template
from tests.party.processes import free_port, run, started

PARTY = EntryPoint("party", "party.cli:app", GROUP)


@dataclass(frozen=True)
class Site:
    """One hospital of a trial, with its own port; its server does not run."""

    home: Path

    @property
    def configuration(self) -> Path:
        return self.home / "party.toml"

    def demand_token(self) -> None:
        text = self.configuration.read_text()
        self.configuration.write_text(text.replace("# token_hash_file", "token_hash_file"))

    def encrypt(self, authority: trustme.CA, name: str = "api") -> None:
        """Serve the interface in TLS, with a certificate for no name in particular."""
        issued = authority.issue_cert("ehr-gateway.example.org")
        issued.cert_chain_pems[0].write_to_path(self.home / f"{name}.crt")
        issued.private_key_pem.write_to_path(self.home / f"{name}.key")
        (self.home / f"{name}.key").chmod(0o600)
        with self.configuration.open("a") as file:
            file.write(f'certificate = "{name}.crt"\nprivate_key = "{name}.key"\n')

    def audited(self) -> list[str]:
        """The names of the events in the audit log."""
        lines = (self.home / "state" / "audit.jsonl").read_text().splitlines()
        return [json.loads(line)["event"] for line in lines]

    def has_left(self) -> bool:
        """As a node that is opened says."""
        with opened(load(self.configuration)) as assembly:
            return assembly.node.view.left


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = create(
        tmp_path / "trial",
        ["a", "b", "c"],
        find_template("respiratory-cardiac"),
        ehr=True,
        api_port=free_port(),
    )
    return Site(made.hospitals["a"].parent)


def command(site: Site, name: str, *options: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["party", name, "--config", str(site.configuration), *map(str, options)], [PARTY])
    assert isinstance(ended.value.code, int)
    return ended.value.code


RECORD = b'{"patient_id": "CANARY-7", "symptoms": ["fever"], "diagnosis": "pneumonia"}'


def queue_a_batch(site: Site) -> str:
    """As if an EHR had posted one; returns the ciphertext that waits."""
    with opened(load(site.configuration)) as assembly:
        admission = assembly.services.admission
        assert admission is not None
        posted = admission.admit_plain(1, [RECORD])
        trio.run(assembly.node.submit, posted)
    return posted.payload.hex()


def waiting(site: Site) -> list[State]:
    """What has become of every batch."""
    with opened(load(site.configuration)) as assembly:
        queue = assembly.services.queue
        assert queue is not None
        return [submission.state for submission in queue.submissions()]


def on_disk(site: Site) -> str:
    """Every byte of the state directory."""
    return b"".join(path.read_bytes() for path in (site.home / "state").iterdir()).hex()


def test_a_node_that_does_not_run_leaves_and_returns(site: Site) -> None:
    ciphertext = queue_a_batch(site)
    assert ciphertext in on_disk(site)
    left = run("party", "leave", "--config", site.configuration)
    assert left.returncode == ExitCode.OK, left.stderr
    assert "a takes part in no more rounds. Batches that waited are erased." in left.stdout
    assert site.has_left()
    assert "opted out" in site.audited()
    assert waiting(site) == [State.WITHDRAWN]
    assert ciphertext not in on_disk(site)
    back = run("party", "return", "--config", site.configuration, "--format", "json")
    assert back.returncode == ExitCode.OK, back.stderr
    assert json.loads(back.stdout) == {"participating": True, "in_round": None}
    assert not site.has_left()
    assert "returned" in site.audited()


def test_a_running_node_is_asked(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(tmp_path / "log", "party", "start", "--config", site.configuration) as ready:
        assert command(site, "leave", "--format", "json") == ExitCode.OK
        assert json.loads(capsys.readouterr().out) == {"participating": False, "in_round": None}
        assert httpx2.get(f"{ready['url']}/participation").json()["participating"] is False
    assert site.has_left()
    with started(tmp_path / "log", "party", "start", "--config", site.configuration):
        assert command(site, "return") == ExitCode.OK
        assert capsys.readouterr().out.endswith("a takes part in rounds again.\n")
    assert not site.has_left()


def test_a_node_that_demands_a_token_is_shown_it(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.demand_token()
    with started(tmp_path / "log", "party", "start", "--config", site.configuration):
        wrong = tmp_path / "wrong"
        wrong.write_text("nonsense\n")
        wrong.chmod(0o600)
        assert command(site, "leave", "--token-file", wrong) == ExitCode.CONNECTION
        assert "refuses (401)" in capsys.readouterr().err
        wrong.chmod(0o644)
        assert command(site, "leave", "--token-file", wrong) == ExitCode.USAGE
        assert "chmod 600" in capsys.readouterr().err
        for content in ("", "two\nlines", "gr\u00fcn"):
            wrong.write_text(content)
            wrong.chmod(0o600)
            assert command(site, "leave", "--token-file", wrong) == ExitCode.USAGE
            assert "holds no token" in capsys.readouterr().err
        assert command(site, "leave") == ExitCode.OK
    assert site.has_left()


def test_over_tls_the_certificate_is_the_nodes_own(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    site.demand_token()
    site.encrypt(authority)
    with started(tmp_path / "log", "party", "start", "--config", site.configuration):
        right = site.configuration.read_text()
        for issuer in (authority, trustme.CA()):
            site.configuration.write_text(right.replace('certificate = "api.crt"\n', ""))
            site.configuration.write_text(
                site.configuration.read_text().replace('private_key = "api.key"\n', "")
            )
            site.encrypt(issuer, "other")
            assert command(site, "leave") == ExitCode.CONNECTION
            assert "certificate" in capsys.readouterr().err
            (site.home / "other.crt").unlink()
        site.configuration.write_text(right)
        assert command(site, "leave") == ExitCode.OK
    assert site.has_left()


@contextmanager
def serving(port: int, status: int, body: bytes) -> Iterator[None]:
    """Another program on the node's port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


ANSWERS = (
    (404, b"not here", "does not answer as a node does (status 404): no detail"),
    (500, b'{"detail": "broken"}', "(status 500): broken"),
    (200, b"[]", "does not answer as a node does"),
    (403, b'{"detail": "a page"}', "refuses (403): a page"),
)


def test_whoever_else_answers_is_not_taken_for_the_node(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    text, own = site.configuration.read_text(), load(site.configuration)
    with held(own.state_dir):
        for status, body, words in ANSWERS:
            with serving(own.api.port, status, body):
                assert command(site, "leave") == ExitCode.CONNECTION
            assert words in capsys.readouterr().err
        assert command(site, "leave") == ExitCode.CONNECTION
        assert "runs, and does not answer at" in capsys.readouterr().err
        site.configuration.write_text(text.replace(f"port = {own.api.port}", "port = 0"))
        assert command(site, "leave") == ExitCode.CONNECTION
        assert "Set a port in [api]" in capsys.readouterr().err


def test_a_round_that_is_gone_through_to_its_end_is_named(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    own = load(site.configuration)
    body = b'{"participating": false, "in_round": 7}'
    with held(own.state_dir), serving(own.api.port, 200, body):
        assert command(site, "leave") == ExitCode.OK
    assert "It goes through round 7 to its end first." in capsys.readouterr().out


def test_a_database_that_cannot_be_opened_is_no_bug(site: Site) -> None:
    (site.home / "state" / DATABASE).mkdir(parents=True)
    left = run("party", "leave", "--config", site.configuration)
    assert left.returncode == ExitCode.USAGE
    assert "database cannot be used: unable to open" in left.stderr
