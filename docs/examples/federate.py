"""A hospital's side of ``POST /submit-update``, for parameters as numpy arrays by name.

Needs requests and safetensors. Nothing in it knows which framework trains.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray
from safetensors.numpy import load, save

Parameters = dict[str, NDArray[Any]]

ANSWER_SECONDS = 600
"""Longer than answer_deadline of the node: it answers first."""

AGAIN_SECONDS = 1


@dataclass(frozen=True)
class Base:
    """A model to train from: its hash, the round that made it (0: none), its parameters."""

    model_hash: str
    round: int
    parameters: Parameters


class Node:
    """This hospital's node, at ``url``; ``token`` if it asks for one."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._http = requests.Session()
        if token is not None:
            self._http.headers["Authorization"] = f"Bearer {token}"

    def newest(self) -> Base:
        """The newest certified model; before the first round, the one that the policy pins."""
        answer = self._http.get(f"{self._url}/models/latest", timeout=60)
        if answer.status_code == 404:
            answer = self._http.get(f"{self._url}/models/initial", timeout=60)
        answer.raise_for_status()
        metadata = _metadata(answer.content)
        arrays = load(answer.content)
        parameters = {k: v for k, v in arrays.items() if not k.startswith("average/")}
        return Base(metadata["model_hash"], int(metadata["round"]), parameters)

    def submit(self, base: Base, delta: Mapping[str, NDArray[Any]]) -> requests.Response:
        """Post new parameters minus old ones for the round after ``base``; waits for the round."""
        return self._http.post(
            f"{self._url}/submit-update",
            params={
                "round_number": base.round + 1,
                "base_model_hash": base.model_hash,
                "kind": "delta",
            },
            data=save({name: np.asarray(values) for name, values in delta.items()}),
            headers={"Content-Type": "application/octet-stream"},
            timeout=ANSWER_SECONDS,
        )

    def take_part(self, train: Callable[[Parameters], Parameters]) -> dict[str, Any]:
        """One round: train from the newest model, submit what changed, until there is a result."""
        base = self.newest()
        delta = _difference(train(base.parameters), base.parameters)
        while True:
            answer = self.submit(base, delta)
            if answer.status_code == 409:
                # Others finished a round meanwhile: what was trained belongs to an old model.
                newest = self.newest()
                if newest.model_hash != base.model_hash:
                    base = newest
                    delta = _difference(train(base.parameters), base.parameters)
                    continue
            if answer.status_code not in (200, 503):
                raise RuntimeError(f"{answer.status_code}: {answer.json()['detail']}")
            if "model_hash" in answer.json() and "warning" not in answer.json():
                return dict(answer.json())
            # The update is kept, and the same again asks for its result.
            time.sleep(AGAIN_SECONDS)


def _difference(new: Parameters, old: Parameters) -> Parameters:
    return {name: new[name] - old[name] for name in old}


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    return dict(header["__metadata__"])
