"""Hospitals that run by themselves: real nodes, a folder here and a FHIR bundle there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import trio

from party.database import open_database
from party.schedule.diary import Diary
from tests.integration.posting import HOSPITALS, Posting, patient, posting
from tests.party.schedule import fhir

ANNA, BERTA, CLARA = HOSPITALS
CANARY = "CANARY-"

# Once a year: what is made up for here is not due again while this runs.
CRON = "0 2 1 1 *"


def miss_a_run(made: Posting, name: str) -> None:
    """Let more than a year have passed since the node last ran."""
    engine = open_database(made.home(name) / "state" / "party.sqlite3")
    Diary(engine, CRON).finish(datetime.now(UTC) - timedelta(days=400))
    engine.dispose()


def leave_batch(made: Posting, folder: Path, name: str, number: int) -> None:
    body = made.body(name, 99, [patient(number, patient_id=f"{CANARY}{number}")])
    (folder / f"{number}.json").write_text(json.dumps(body))


async def test_a_round_of_hospitals_that_nobody_attends(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in (ANNA, CLARA)}
    bundle = fhir.bundle(
        tmp_path / "bundle.json",
        fhir.patient(f"{CANARY}7"),
        fhir.condition(f"{CANARY}7", "Pneumonia (disorder)"),
        fhir.condition(f"{CANARY}7", "Cough (finding)"),
        fhir.blood_pressure(f"{CANARY}7", 121, 79),
        fhir.observation(f"{CANARY}7", "6690-2", 12, "10*3/uL"),
    )
    async with posting(tmp_path, schedule__cron=CRON) as made:

        async def join() -> None:
            async with trio.open_nursery() as nursery:
                for name, folder in folders.items():
                    nursery.start_soon(partial(made.join, name, schedule__folder=str(folder)))
                nursery.start_soon(partial(made.join, BERTA, schedule__fhir_bundle=str(bundle)))

        for name, folder in folders.items():
            folder.mkdir()
            leave_batch(made, folder, name, 1)
        (folders[ANNA] / "2.json").write_text('{"patient_data_list": "CANARY-2"}')
        await made.serve(gathering_window=60)
        await join()
        for name in HOSPITALS:
            await made.leave(name)
            miss_a_run(made, name)
        await join()
        certified = []
        for name in HOSPITALS:
            while not (rounds := (await made.get(name, "/status"))["rounds"]):
                await trio.sleep(0.1)
            certified.append((rounds[0]["round"], rounds[0]["model_hash"]))
        assert certified[0][0] == 1
        assert len(set(certified)) == 1
        for name in HOSPITALS:
            await made.leave(name)
        purposes = {
            name: [
                line["fields"]["purpose"]
                for line in made.audited(name)
                if line["event"] == "key used"
            ]
            for name in HOSPITALS
        }
        assert purposes[BERTA][0] == "encrypt a scheduled batch"
        assert purposes[ANNA][0] == "validate a submission"
    assert {each.name for each in folders[ANNA].rglob("*") if each.is_file()} == {
        "000000001-1.json",
        "000000002-2.json",
        "000000002-2.json.reason.txt",
    }
    assert (folders[CLARA] / "done" / "000000001-1.json").exists()
    kept = [*(tmp_path / "consortium").rglob("*"), *(tmp_path / "logs").rglob("*")]
    kept += (folders[ANNA] / "refused").glob("*.txt")
    for path in kept:
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
