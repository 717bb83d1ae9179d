"""Time from posting a batch to the certified result: four nodes and a server, real processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
import trio

from benchmarks.ehr import post, request_body
from benchmarks.live import Live, live
from benchmarks.respiratory_cardiac.generator import HOSPITALS, patients, template
from party.submission.admission import Admission
from party.submission.keyring import Keyring
from party.submission.posted import digest_key
from party.submission.trainer import Trainer
from secagg.cli import CommandError, ExitCode
from secagg.crypto.secret import Secret
from secagg.enrollment.key_files import FERNET_KEY
from secagg.model import initial
from server.consortium import Created, create

_BUDGET = "1000"
"""Epsilon of each hospital here: synthetic patients need no protection, and rounds are many."""


class Time(msgspec.Struct, frozen=True, kw_only=True):
    """Of batches of ``patients`` per hospital; medians over the repetitions, in seconds.

    body: bytes of one hospital's request. answer: from the moment at which all hospitals post to
    the last one's answer. judging: decrypting and checking one request, alone. training: decrypting
    again and taking the gradient, alone.
    """

    patients: int
    body: int
    answer: float
    judging: float
    training: float


async def times(
    sizes: Sequence[int], repetitions: int, seed: int, tell: Callable[[Time], None]
) -> list[Time]:
    """Measure each size in ``repetitions`` rounds of one consortium, and ``tell`` of it at once.

    Raises CommandError.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="secagg-batch-size-") as folder:
        directory = Path(folder)
        consortium = create(
            directory, HOSPITALS, template(), consortium="synthetic", epsilon=_BUDGET, ehr=True
        )
        keys = {name: path.with_name(FERNET_KEY) for name, path in consortium.hospitals.items()}
        number = 0
        async with live(consortium, directory / "logs", {}) as running:
            for size in sizes:
                answers, judging, training, body = [], [], [], 0
                for _ in range(repetitions):
                    number += 1
                    bodies: dict[str, bytes] = {
                        name: request_body(patients(name, size, seed + number), keys[name], number)
                        for name in HOSPITALS
                    }
                    answers.append(await _round(running, bodies))
                    body, key_file = len(bodies[HOSPITALS[0]]), keys[HOSPITALS[0]]
                    judged, trained = _alone(consortium, key_file, bodies[HOSPITALS[0]])
                    judging.append(judged)
                    training.append(trained)
                found.append(
                    Time(
                        patients=size,
                        body=body,
                        answer=median(answers),
                        judging=median(judging),
                        training=median(training),
                    )
                )
                tell(found[-1])
    return found


async def _round(running: Live, bodies: Mapping[str, bytes]) -> float:
    """Everybody posts at once; seconds until the last answer, which must be the common model."""
    hashes: set[object] = set()

    async def submit(name: str) -> None:
        answer = await trio.to_thread.run_sync(partial(post, running.url(name), bodies[name]))
        hashes.add(answer.get("model_hash"))

    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for name in bodies:
            nursery.start_soon(submit, name)
    seconds = time.perf_counter() - begun
    if len(hashes) != 1 or None in hashes:
        raise CommandError(
            "The hospitals were not given one common model.",
            "Nothing else should run on this machine while times are measured.",
            ExitCode.FAILED_ROUND,
        )
    return seconds


def _alone(consortium: Created, key_file: Path, body: bytes) -> tuple[float, float]:
    """Seconds of what a node does with a request before the protocol: judging, and training."""
    policy = consortium.policy
    if policy.model is None or policy.features is None:
        raise ValueError("the template pins a model and features")
    keyring = Keyring.load(key_file)
    bound = policy.model.contribution.max_patients
    admission = Admission(keyring, policy.features, bound, digest_key(Secret(bytes(32))))
    trainer = Trainer(keyring, policy.features, policy.model)
    begun = time.perf_counter()
    posted = admission.admit(body)
    judged = time.perf_counter()
    trainer.contribution(posted.kind, posted.payload, initial(policy.model))
    return judged - begun, time.perf_counter() - judged
