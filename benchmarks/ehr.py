"""A hospital's EHR, as far as its node sees it: records are encrypted, and posted as one batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from secagg.cli import CommandError, ExitCode


def request_body(records: Iterable[Mapping[str, Any]], key_file: Path, number: int) -> bytes:
    """The body of ``POST /submit-federated-update`` that puts ``records`` into round ``number``.

    ``key_file``: the hospital's Fernet keys, of which the first one encrypts.
    """
    fernet = Fernet(key_file.read_text(encoding="ascii").split()[0])
    plaintexts = [(record["patient_id"], json.dumps(record).encode()) for record in records]
    document = {
        "patient_data_list": [
            {
                "patient_id": patient_id,
                "encrypted_data": fernet.encrypt(plaintext).decode(),
                "data_hash": hashlib.sha256(plaintext).hexdigest(),
            }
            for patient_id, plaintext in plaintexts
        ],
        "round_number": number,
    }
    return json.dumps(document).encode()


def post(url: str, body: bytes, timeout: float = 150) -> dict[str, Any]:
    """Post a batch to the node at ``url``; returns its answer, which may hold a ``warning``.

    Raises CommandError if it cannot be reached, or refuses.
    """
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=timeout)
    try:
        connection.request(
            "POST", "/submit-federated-update", body, {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        status, document = response.status, json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        raise CommandError(
            f"The node at {url} gave no answer: {error}.",
            "Look at its log, and whether it still runs.",
            ExitCode.CONNECTION,
        ) from None
    finally:
        connection.close()
    if status != 200:
        raise CommandError(
            f"The node at {url} answered {status}: {document.get('detail')}",
            "Do as it says, then post again.",
            ExitCode.FAILED_ROUND,
        )
    answer: dict[str, Any] = document
    return answer
