"""SIGKILL at every stage of rounds over TLS, to hospitals and to the server."""

from __future__ import annotations

from pathlib import Path

from benchmarks.heart_disease.dataset import HOSPITALS
from party.rehearsal import LossPoint
from tests.integration.network import network

VICTIM = "switzerland"
OTHERS = ("cleveland", "hungary", "va-long-beach")
IN_THE_SUM = (
    LossPoint.MASKED_INPUT,
    LossPoint.CONSISTENCY_CHECK,
    LossPoint.UNMASKING,
    LossPoint.CERTIFICATION,
)


async def test_a_hospital_killed_at_each_stage_rejoins_the_next_round(tmp_path: Path) -> None:
    last = len(LossPoint) + 1
    async with network(tmp_path, stage_deadline=2, gathering_window=20) as made:
        await made.join(*OTHERS, rounds=last)
        for number, point in enumerate(LossPoint, start=1):
            # A window of 20 s and no such pause below: it is the same round that it rejoins.
            await made.join(VICTIM, rounds=last, lost=(point, number))
            await made.lost(VICTIM)
            found = await made.certified(number, OTHERS)
            included = VICTIM in found.participants
            assert included == (point in IN_THE_SUM), (point, found.participants)
            assert set(OTHERS) <= set(found.participants)
            assert found.attempt == 1
        await made.join(VICTIM, rounds=last)
        found = await made.certified(last, HOSPITALS)
        assert found.participants == list(HOSPITALS)
        # It has every certificate although it saw no round to its end, but for the last one.
        chains = [
            [(entry.round, entry.model_hash) for entry in (await made.status(name)).rounds]
            for name in HOSPITALS
        ]
        assert [number for number, _ in chains[0]] == list(range(1, last + 1))
        assert all(chain == chains[0] for chain in chains)


async def test_two_hospitals_killed_in_one_round_abort_the_attempt_and_join_the_next(
    tmp_path: Path,
) -> None:
    lost, staying = HOSPITALS[:2], HOSPITALS[2:]
    async with network(tmp_path, stage_deadline=2, gathering_window=20) as made:
        await made.join(*staying, rounds=1)
        await made.join(*lost, rounds=1, lost=(LossPoint.SHARE_KEYS, 1))
        for name in lost:
            await made.lost(name)
        for name in staying:
            await made.reaches(name, "ready")
            assert "2 of at least 3 hospitals sent masked inputs" in made.log(name)
        await made.join(*lost, rounds=1)
        found = await made.certified(1, HOSPITALS)
        # The next attempt does not wait for the slower one of the two.
        assert found.attempt == 2
        assert set(staying) < set(found.participants)


async def test_a_server_killed_between_rounds_goes_on_from_the_certificates(
    tmp_path: Path,
) -> None:
    pausing, *others = OTHERS
    async with network(tmp_path, stage_deadline=5, gathering_window=1) as made:
        await made.join(*others, rounds=3)
        await made.join(pausing, rounds=1)
        hashes = [(await made.certified(1, OTHERS)).model_hash]

        await made.kill_server()
        await made.serve()
        await made.leave(pausing)
        await made.join(pausing, rounds=2)
        hashes.append((await made.certified(2, OTHERS)).model_hash)
        assert "certificate adopted" not in made.log("server")

        await made.kill_server()
        made.lose_state("server")
        await made.serve()
        await made.leave(pausing)
        await made.join(pausing, rounds=3)
        hashes.append((await made.certified(3, OTHERS)).model_hash)
        assert "certificate adopted" in made.log("server")
        for name in OTHERS:
            assert [entry.model_hash for entry in (await made.status(name)).rounds] == hashes


async def test_killed_after_its_survivor_signature_it_finishes_the_same_attempt(
    tmp_path: Path,
) -> None:
    killed, *others = OTHERS
    async with network(tmp_path, stage_deadline=1, gathering_window=1) as made:
        await made.join(*others, rounds=1)
        await made.join(killed, rounds=1, lost=(LossPoint.CONSISTENCY_CHECK, 1))
        await made.lost(killed)
        for name in others:
            await made.reaches(name, "answered")
        assert "sum published" not in made.log("server")
        await made.join(killed, rounds=1)
        found = await made.certified(1, OTHERS)
        assert found.attempt == 1
        assert found.participants == list(OTHERS)


async def test_killed_there_and_robbed_of_its_journal_the_round_is_abandoned(
    tmp_path: Path,
) -> None:
    killed, *others = OTHERS
    timing = {"stage_deadline": 1, "gathering_window": 1, "unmasking_patience": 2}
    async with network(tmp_path, **timing) as made:
        await made.join(*others, rounds=1)
        await made.join(killed, rounds=1, lost=(LossPoint.CONSISTENCY_CHECK, 1))
        await made.lost(killed)
        made.lose_state(killed)
        for name in others:
            await made.reaches(name, "answered")
        await made.join(killed, rounds=1)
        found = await made.certified(2, OTHERS)
        assert found.participants == list(OTHERS)
        for name in OTHERS:
            status = await made.status(name)
            assert [entry.round for entry in status.rounds] == [2]
            assert '"event": "abandoned"' in made.log(name)
        assert "abandonment asked for" in made.log("server")
