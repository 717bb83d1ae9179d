"""Where the audit log ends: the signed head, to be kept on another machine."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from party.api.services import Services


class AuditHead(BaseModel):
    """The newest line's number, hash and signature. ``secagg audit verify --head`` takes it."""

    seq: int
    hash: str
    identity_key: str
    signature: str


def router(services: Services) -> APIRouter:
    """``/audit/head``."""
    routes = APIRouter(tags=["audit"])

    @routes.get("/audit/head")
    async def audit_head() -> AuditHead:
        """The signed head of the audit log. It tells nothing about what the log's lines say."""
        head = await services.in_thread(services.audit.head)
        return AuditHead(
            seq=head.seq,
            hash=head.hash,
            identity_key=head.identity_key,
            signature=head.signature,
        )

    return routes
