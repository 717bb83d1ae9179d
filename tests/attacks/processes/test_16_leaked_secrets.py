"""Attack 16 on a real node: its secrets in core dumps, logs, its command line, its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secagg.checks import Check
from secagg.crypto.hashing import u64
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r5_certification import Certifying
from secagg.wire.messages import SurvivorSet
from tests.attacks.processes.siege import SEED, Siege, besieged
from tests.cohorts import reach, refused


def core_size(siege: Siege) -> list[str]:
    """Soft and hard limit of a core dump of the node's process."""
    assert siege.process is not None
    limits = Path(f"/proc/{siege.process.pid}/limits").read_text().splitlines()
    (line,) = (line for line in limits if line.startswith("Max core file size"))
    return line.split()[4:6]


def spellings(secret: bytes) -> Iterator[bytes]:
    """Raw, and as people write bytes."""
    yield secret
    yield secret.hex().encode()
    yield repr(secret)[2:-1].encode()


def test_a_node_leaves_no_core_dump(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        assert core_size(siege) == ["0", "0"]


def test_without_that_limit_its_keys_would_be_dumped(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=["no-core-dumps"]) as siege:
        assert core_size(siege) != ["0", "0"]


def test_no_long_term_key_and_no_opened_seed_is_anywhere_but_in_its_file(tmp_path: Path) -> None:
    """After a round, and after a violation with its message in the log."""
    with besieged(tmp_path) as siege:
        reach(siege.cohort, Checking)
        with refused(Check.SELF_IN_U3):
            siege.tell(SurvivorSet(siege.cohort.server.state.attempt.session, (2, 3, 4)))
        siege.open(1, 2)
        reach(siege.cohort, Certifying)
        assert siege.cohort.transcript is not None
        opened = {each.u: each.secret for each in siege.cohort.transcript.self_mask_seeds}
        source = SEED.fork(u64(siege.real))
        secrets = [source.draw(32), source.draw(32), opened[siege.real]]
        assert siege.process is not None
        process = Path(f"/proc/{siege.process.pid}")
        places = [process / "cmdline", process / "environ", tmp_path / "log"]
        places += [p for p in (tmp_path / "state").rglob("*") if p.is_file()]
        assert len(places) > 3
        found = {
            place.name: data
            for place in places
            for secret in secrets
            for data in spellings(secret)
            if data in place.read_bytes()
        }
        assert not found
        # The search would find them: in their own files.
        assert secrets[0].hex().encode() in (tmp_path / "identity.key").read_bytes()
        assert secrets[1].hex().encode() in (tmp_path / "journal.key").read_bytes()
