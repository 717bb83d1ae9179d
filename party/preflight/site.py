"""What the checks look at: one hospital's configuration, and what is read from it once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from party import state_dir
from party.config import PartyConfig
from party.ledger import Cost
from party.opening import read_policy
from secagg.policy import Policy


@dataclass
class Site:
    """``config``: of the node. Nothing here writes."""

    config: PartyConfig

    @cached_property
    def now(self) -> datetime:
        """What this machine's clock says."""
        return datetime.now(UTC)

    @cached_property
    def policy(self) -> Policy:
        """The pinned policy. Raises CommandError."""
        return read_policy(self.config.policy)[0]

    @cached_property
    def cost(self) -> Cost | None:
        """Of one attempt. Raises CommandError."""
        return Cost.of(self.policy)

    @cached_property
    def is_running(self) -> bool:
        """Whether the node runs. Raises CommandError."""
        return state_dir.is_held(self.config.state_dir)
