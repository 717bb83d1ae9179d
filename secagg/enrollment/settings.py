"""The party.toml that a hospital begins with: one text, whoever writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, final

from secagg.enrollment.key_files import API_TOKEN_HASH, FERNET_KEY, IDENTITY_KEY, JOURNAL_KEY

POLICY: Final = "policy.json"
AUTHORITY: Final = "ca.crt"
CERTIFICATE: Final = "party.crt"
TLS_KEY: Final = "party.key"
SETTINGS: Final = "party.toml"

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@final
@dataclass(frozen=True, slots=True)
class StandingBatch:
    """Records in train.jsonl, used in each of ``rounds`` rounds; ``test``: test.jsonl beside it."""

    rounds: int
    test: bool = False


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """What differs from hospital to hospital.

    ``host``, ``port``: where it reaches the server. ``budget``: epsilon and delta over all rounds,
    decimals; None under a policy without noise. ``batch``: None if its EHR posts batches.
    ``api_port``: of its HTTP interface.
    """

    name: str
    host: str
    port: int
    budget: tuple[str, str] | None
    batch: StandingBatch | None = None
    api_port: int = 8000

    def toml(self) -> bytes:
        """The file."""
        return f"""\
name = "{self.name}"
policy = "{POLICY}"
state_dir = "state"

[server]
host = "{self.host}"
port = {self.port}

[tls]
ca = "{AUTHORITY}"
certificate = "{CERTIFICATE}"
private_key = "{TLS_KEY}"
server_name = "{self.host}"

[identity]
key_file = "{IDENTITY_KEY}"
journal_key_file = "{JOURNAL_KEY}"

{self._source()}
{self._budget()}[api]
port = {self.api_port}
# On this machine no token is asked for. To demand api.token of every caller, remove the "#":
# token_hash_file = "{API_TOKEN_HASH}"
""".encode()

    def _source(self) -> str:
        if self.batch is None:
            return f'[ehr]  # batches are posted\nfernet_key_file = "{FERNET_KEY}"\n'
        test = 'test = "test.jsonl"\n' if self.batch.test else ""
        return f'[data]\ntrain = "train.jsonl"\n{test}rounds = {self.batch.rounds}\n'

    def _budget(self) -> str:
        if self.budget is None:
            return ""
        epsilon, delta = self.budget
        return f"""\
[budget]  # what this hospital allows over all rounds: its own decision
epsilon = "{epsilon}"
delta = "{delta}"

"""


def is_host(text: str) -> bool:
    """Whether ``text`` is a host name or an IP address, and so may stand in a configuration."""
    if _HOST.fullmatch(text) is not None:
        return True
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text
