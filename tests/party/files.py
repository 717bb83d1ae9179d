"""The files of one hospital of the heart-disease consortium, as an operator would find them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from benchmarks.heart_disease import dataset
from benchmarks.heart_disease.policy import Target, policy
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.policy import Policy

NAME = "cleveland"


@dataclass(frozen=True, slots=True)
class Installation:
    """A directory with party.toml and everything it names; the server's certificate authority."""

    directory: Path
    authority: trustme.CA
    policy: Policy

    @property
    def configuration(self) -> Path:
        return self.directory / "party.toml"

    def change(self, find: str, put: str) -> None:
        """Edit party.toml."""
        text = self.configuration.read_text()
        assert find in text
        self.configuration.write_text(text.replace(find, put))


def install(directory: Path, port: int, *, rounds: int = 3, epsilon: str = "1.0") -> Installation:
    """Write the files of ``NAME``, whose server listens on ``port`` of loopback."""
    randomness = SeededRandomness(b"files")
    seeds = {name: randomness.draw(32) for name in ("server", *dataset.HOSPITALS)}
    public = {name: IdentityKey(Secret(seed)).public.hex() for name, seed in seeds.items()}
    identity_keys = {name: public[name] for name in dataset.HOSPITALS}
    pinned = policy(Target("exact", "1"), public["server"], identity_keys)
    (directory / "policy.json").write_bytes(pinned.canonical())
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.crt")
    certificate = authority.issue_cert(NAME)
    certificate.cert_chain_pems[0].write_to_path(directory / "party.crt")
    for name, content in (
        ("party.key", certificate.private_key_pem.bytes()),
        ("identity.key", seeds[NAME].hex().encode()),
        ("journal.key", randomness.draw(32).hex().encode()),
    ):
        (directory / name).write_bytes(content)
        (directory / name).chmod(0o600)
    split = dataset.load()[NAME]
    write_records(directory / "train.jsonl", (row.record for row in split.train))
    write_records(directory / "test.jsonl", (row.record for row in split.test))
    (directory / "party.toml").write_text(
        f"""
name = "{NAME}"
policy = "policy.json"
state_dir = "state"
[server]
host = "127.0.0.1"
port = {port}
[tls]
ca = "ca.crt"
certificate = "party.crt"
private_key = "party.key"
server_name = "localhost"
[identity]
key_file = "identity.key"
journal_key_file = "journal.key"
[data]
train = "train.jsonl"
test = "test.jsonl"
rounds = {rounds}
[budget]
epsilon = "{epsilon}"
delta = "0.001"
[api]
host = "127.0.0.1"
port = 0
[reconnect]
initial = 0.05
maximum = 0.2
"""
    )
    return Installation(directory, authority, pinned)


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
