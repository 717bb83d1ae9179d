"""A hospital's EHR, as far as its node sees it: records are encrypted, and posted as one batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet


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
