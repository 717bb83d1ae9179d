"""An EHR's side of the interface, with the libraries that the manual's scripts use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet


def entry(fernet: Fernet, record: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """One patient of ``patient_data_list``; ``changes`` stand in the place of its members."""
    plaintext = json.dumps(record).encode()
    return {
        "patient_id": record.get("patient_id", record.get("id")),
        "encrypted_data": fernet.encrypt(plaintext).decode(),
        "ipfs_cid": "QmV5koooi",
        "data_hash": hashlib.sha256(plaintext).hexdigest(),
    } | changes


def body(fernet: Fernet, records: Iterable[Mapping[str, Any]], number: int = 1) -> dict[str, Any]:
    """What is posted for round ``number``."""
    return {
        "patient_data_list": [entry(fernet, record) for record in records],
        "round_number": number,
    }


def key_file(path: Path, *keys: bytes) -> Path:
    """A key file as an operator makes it."""
    path.write_bytes(b"".join(key + b"\n" for key in keys))
    path.chmod(0o600)
    return path
