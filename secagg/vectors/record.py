"""What went on inside while an attempt of a vector ran: keys, seeds, masks, shares, sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from secagg import context
from secagg.crypto.hashing import Label, u64
from secagg.crypto.kdf import derive
from secagg.crypto.secret import Secret
from secagg.policy import Policy
from secagg.privacy.discrete_gaussian import sample
from secagg.rounds.machine import ClientState
from secagg.rounds.r0_advertise_keys import Advertised, channel_pair
from secagg.rounds.r1_share_keys import HeldShares, Shared, channel_key
from secagg.rounds.r2_masked_input import Masked, MaskedInput
from secagg.rounds.r3_consistency_check import Confirmed
from secagg.rounds.r4_unmasking import Answered, Unmasked
from secagg.rounds.r5_certification import Certifying, RoundCertified, SumSigned
from secagg.vector.masking import Mask, apply_masks
from secagg.vectors.cohort import Cohort
from secagg.vectors.document import Document
from secagg.wire.messages import MaskedInputSignature, OpenedShare


@final
class Record:
    """The intermediates of one attempt."""

    def __init__(self, cohort: Cohort) -> None:
        attempt = cohort.attempt
        self.context: Document = {
            "policy_digest": attempt.policy_digest.hex(),
            "base_model_hash": attempt.base_model_hash.hex(),
            "server_nonce": attempt.server_nonce.hex(),
            "session_id": attempt.session.hex(),
        }
        self.round, self.attempt = attempt.round, attempt.attempt
        self.sets: Document = {}
        self.unmasked: Document | None = None
        self.channel_seeds: dict[int, bytes] = {}
        self._clients: dict[int, Document] = {}
        self._peers: dict[int, list[int]] = {}
        self._state = ""

    def written(self) -> Document:
        """As it stands in a vector."""
        return {
            "round": self.round,
            "attempt": self.attempt,
            "context": self.context,
            "sets": self.sets,
            "clients": {str(u): self._clients[u] for u in sorted(self._clients)},
            "unmasked": self.unmasked,
            "state": self._state,
        }

    # --- the server ------------------------------------------------------------------------------

    def observe_server(self, cohort: Cohort) -> None:
        """What the server knows now and did not know before."""
        state: Any = cohort.server.state
        self._state = type(state).__name__
        for name, digest in (("u1", "roster_digest"), ("u2", "u2_hash"), ("u3", None)):
            if hasattr(state, name):
                self.sets[name] = list(getattr(state, name))
            if digest is not None and hasattr(state, digest):
                self.context[digest] = getattr(state, digest).hex()
        if hasattr(state, "u3"):
            self.context["u3_hash"] = context.u3_hash(state.u2_hash, state.u3).hex()
        if hasattr(state, "signatures") and self._state == "Unmasking":
            self.sets["u4"] = sorted(state.signatures)
        if cohort.unmasked is not None and self.unmasked is None:
            self.unmasked = self._unmasked(cohort.policy, cohort.unmasked)
        if isinstance(state, Certifying):
            self.context["sum_digest"] = state.published.sum_digest.hex()

    def _unmasked(self, policy: Policy, state: Unmasked) -> Document:
        answers = state.answered.answers
        self.sets |= {
            "u3": list(state.u3),
            "u4": sorted(state.signatures),
            "u5": sorted(answers),
        }
        self.context["u3_hash"] = context.u3_hash(state.u2_hash, state.u3).hex()
        return {
            "self_mask_seeds": _revealed(state.self_mask_seeds),
            "mask_keys": _revealed(state.mask_keys),
            "surplus_noise": state.surplus_noise().tolist(),
        }

    # --- a client --------------------------------------------------------------------------------

    def before(self, u: int, cohort: Cohort) -> None:
        """Keep what the next step of client ``u`` wipes."""
        state = cohort.sessions[u].state if u in cohort.sessions else None
        if isinstance(state, Shared):
            self._peers[u] = list(state.keys)

    def after(self, u: int, cohort: Cohort) -> None:
        """What client ``u`` holds in the state that it has just entered."""
        state = cohort.sessions[u].state if u in cohort.sessions else None
        recorded = self._clients.setdefault(u, {})
        match state:
            case Advertised():
                self.channel_seeds[u] = state.channel_seed.reveal()
                recorded["advertised"] = self._advertised(state, cohort.policy)
            case Shared():
                recorded["shared"] = _shared(state)
            case Masked():
                recorded["masked"] = self._masked(u, state, cohort.policy)
            case Confirmed():
                recorded["confirmed"] = {
                    "u3": list(state.u3),
                    "sealed_answer": state.sealed_answer.hex(),
                    "signature": _only(state).signature.hex(),
                }
            case Answered():
                answer = _only(state)
                recorded["answered"] = {
                    "self_mask_shares": [s.v for s in answer.self_mask_shares],
                    "mask_key_shares": [s.v for s in answer.mask_key_shares],
                    "surplus_seeds": [seed.hex() for seed in answer.surplus_seeds],
                    "signature": answer.signature.hex(),
                }
            case SumSigned():
                recorded["signed"] = {
                    "model_hash": state.model_hash.hex(),
                    "signature": _only(state).signature.hex(),
                }
            case RoundCertified():
                recorded["certified"] = {"model_hash": state.certificate.model_hash.hex()}
            case _:
                return
        recorded["state"] = type(state).__name__

    def _advertised(self, state: Advertised, policy: Policy) -> Document:
        pairs = {v: channel_pair(state.channel_seed, v) for v in policy.members}
        return {
            "vector": state.vector.tolist(),
            "channel_seed": state.channel_seed.reveal().hex(),
            "channel_private_keys": [pair.private.reveal().hex() for pair in pairs.values()],
            "channel_public_keys": [pair.public.hex() for pair in pairs.values()],
            "channel_root": state.advertisement.channel_root.hex(),
            "mask_private_key": state.mask.private.reveal().hex(),
            "mask_public_key": state.mask.public.hex(),
            "signature": state.advertisement.signature.hex(),
        }

    def _masked(self, u: int, state: Masked, policy: Policy) -> Document:
        outbound = state.outbound
        if not isinstance(outbound, MaskedInput):
            raise TypeError("a masked client sends its masked input")
        signed = next(m for m in outbound if isinstance(m, MaskedInputSignature))
        seed, shared = state.noise_seed.reveal(), len(state.held)
        dimension = policy.vector.dimension
        components = []
        for number, variance in enumerate(policy.mechanism.components(shared)):
            drawn = derive(Secret(seed), Label.NOISE, u64(number)).reveal()
            components.append(
                {
                    "variance": str(variance),
                    "seed": drawn.hex(),
                    "samples": sample(drawn, variance, dimension).tolist(),
                }
            )
        peers = [v for v in self._peers[u] if v in state.held and v != u]
        return {
            "held": {str(v): _held(state.held[v]) for v in sorted(state.held)},
            "noise_seed": seed.hex(),
            "noise_components": components,
            "noise": policy.mechanism.noise(seed, dimension, shared).tolist(),
            "self_mask": _mask(outbound.masks[0], policy),
            "pairwise_masks": {
                str(v): _mask(mask, policy)
                for v, mask in zip(peers, outbound.masks[1:], strict=True)
            },
            "masked_digest": signed.masked_digest.hex(),
            "signature": signed.signature.hex(),
        }


def _shared(state: Shared) -> Document:
    u, roster = state.hospital.u, state.roster_digest
    keys = {
        v: channel_key(
            channel_pair(state.channel_seed, v).private, delivered.channel_key, roster, u, v
        )
        for v, delivered in state.keys.items()
        if v != u
    }
    shares = _only(state).shares
    return {
        "self_mask_seed": state.seed.reveal().hex(),
        "own": _held(state.own),
        "dealt": {
            str(each.v): {
                "key": keys[each.v].reveal().hex(),
                "ciphertext": each.ciphertext.hex(),
                "self_mask_commitment": each.self_mask_commitment.hex(),
                "mask_key_commitment": each.mask_key_commitment.hex(),
            }
            for each in shares
        },
        "root": state.dealing.root.hex(),
        "seed_commitment": state.dealing.seed_commitment.hex(),
        "signature": state.dealing.signature.hex(),
    }


def _held(held: HeldShares) -> Document:
    return {"self_mask": _opened(held.self_mask), "mask_key": _opened(held.mask_key)}


def _opened(opened: OpenedShare) -> Document:
    return {"share": opened.share.hex(), "salt": opened.salt.hex()}


def _mask(mask: Mask, policy: Policy) -> Document:
    """The mask as it is added: its sign, and the words of PRG(seed), which is not negated."""
    words = np.zeros(policy.vector.dimension, policy.ring.dtype)
    apply_masks(words, [Mask(mask.seed, 1)], policy.ring)
    return {
        "sign": mask.sign,
        "seed": mask.seed.reveal().hex(),
        "first": int(words[0]),
        "last": int(words[-1]),
        "digest": hashlib.sha256(words.tobytes()).hexdigest(),
    }


def _revealed(secrets: Mapping[int, Secret]) -> Document:
    return {str(u): secret.reveal().hex() for u, secret in sorted(secrets.items())}


def _only(state: ClientState | SumSigned) -> Any:
    """The one message of a state that sends one."""
    (message,) = state.outbound
    return message
