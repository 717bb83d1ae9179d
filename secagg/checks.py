"""Every check that a client or the server makes, with the id by which tests and docs name it.

``CHK-rnn``: r is the round (0 AdvertiseKeys .. 4 Unmasking, 5 Certification, 6 any state);
numbers from 50 on are checks that the server makes, below 50 those of a client.
"""

from __future__ import annotations

from enum import Enum, unique


@unique
class Check(Enum):
    """One row per check: ``id`` and the statement that must hold."""

    id: str
    statement: str

    def __new__(cls, check_id: str, statement: str) -> Check:
        member = object.__new__(cls)
        member._value_ = check_id
        member.id = check_id
        member.statement = statement
        return member

    ANNOUNCEMENT_SIGNED = "CHK-001", "the announcement carries the pinned server key's signature"
    POLICY_PINNED = "CHK-002", "the announced policy is the one this hospital has pinned"
    BASE_MODEL_HELD = "CHK-003", "the announced base model is the one this hospital holds"
    ATTEMPT_INCREASES = "CHK-004", "round and attempt strictly increase in the durable journal"
    ROUND_OPEN = "CHK-005", "the round is open, and none that was answered or signed here is"
    ATTEMPT_BOUNDED = "CHK-006", "the attempt is between 1 and 1000"
    ROUND_WANTED = "CHK-007", "a batch of this hospital counts for the announced round"
    CHARGES_LEFT = "CHK-008", "fewer than max_charged_attempts are charged since a certificate"

    ADVERTISEMENT_CURRENT = "CHK-050", "an advertisement is made for the attempt that is open"
    ADVERTISEMENT_VALID = "CHK-051", "an advertisement is signed by the hospital that sent it"

    U1_WELL_FORMED = "CHK-101", "U1 lists roster members, ascending, each once"
    U1_LARGE_ENOUGH = "CHK-102", "U1 has at least min_survivors members"
    ADVERTISEMENTS_SIGNED = "CHK-103", "every advertisement in U1 is signed under the pinned key"
    SELF_IN_U1 = "CHK-104", "the client's own advertisement is in U1, unaltered"
    KEYS_DISTINCT = "CHK-105", "no two public keys in U1 are equal"
    KEYS_CANONICAL = "CHK-107", "every public key in U1 is canonically encoded"
    KEYS_NOT_LOW_ORDER = "CHK-106", "no public key in U1 is of low order"
    CHANNEL_KEYS_COMMITTED = "CHK-108", "each channel key is the one advertised for this client"

    SHARES_FOR_NEIGHBOURS = "CHK-150", "encrypted shares go to each neighbour, once, ascending"
    SHARE_KEYS_SIGNED = "CHK-151", "the share message is signed by its dealer"

    U2_WELL_FORMED = "CHK-201", "U2 lists members of U1, ascending, each once"
    U2_LARGE_ENOUGH = "CHK-202", "U2 has at least min_survivors members"
    SELF_IN_U2 = "CHK-203", "the client's own share message is in U2, unaltered"
    DEALERS_SIGNED = "CHK-204", "every share message in U2 is signed by its dealer"
    SHARE_COMMITTED = "CHK-205", "the delivered shares are the ones that the dealer signed"
    SHARES_DECRYPT = "CHK-206", "the delivered ciphertext opens under this pair's key"
    SHARES_OPEN = "CHK-207", "the decrypted shares are canonical and open their commitments"

    MASKED_INPUT_SIGNED = "CHK-250", "a masked input is signed over the digest of its bytes"
    MASKED_INPUT_ONCE = "CHK-251", "a client sends one masked input per session"
    COMPLAINT_PROVEN = "CHK-252", "a complaint's key proves that the dealt shares are bad"

    U3_WELL_FORMED = "CHK-301", "U3 lists members of U2, ascending, each once"
    U3_LARGE_ENOUGH = "CHK-302", "U3 has at least min_survivors members"
    SELF_IN_U3 = "CHK-303", "the client itself is in U3"

    SURVIVOR_SIGNED = "CHK-350", "a survivor signature covers the very U3 that was announced"

    SURVIVORS_WELL_FORMED = "CHK-401", "signers of U3 are members of U3, ascending, each once"
    SURVIVORS_VALID = "CHK-402", "each survivor signature is valid on the U3 this client signed"
    SURVIVORS_QUORUM = "CHK-403", "at least t survivor signatures are shown"

    ANSWER_SIGNED = "CHK-450", "an unmasking answer is signed by its sender"
    ANSWER_EXACT = "CHK-451", "an answer opens b-shares for U3 and s-shares for U2 minus U3 only"
    ANSWER_OPENS = "CHK-452", "every answered share opens the commitment of its dealer"
    DEALER_CONSISTENT = "CHK-453", "shares that open reconstruct what the dealer advertised"
    ANSWER_ONCE = "CHK-454", "a client answers once per session, with the same bytes"

    SUM_SIGNED = "CHK-501", "the sum is signed by the pinned server key"
    SUM_MATCHES = "CHK-502", "the received sum has the signed digest"
    SUM_COHORT = "CHK-503", "the sum's U3 is well-formed and has at least min_survivors members"
    SUM_QUORUM = "CHK-504", "the sum's U3 carries at least t valid survivor signatures"
    SUM_BOUNDED = "CHK-505", "no coordinate of the sum exceeds what |U3| hospitals can add up to"
    SUM_CONTEXT = "CHK-506", "the sum belongs to the pinned policy, the held model, an open round"
    SUM_ONCE = "CHK-507", "one sum and one model hash are signed per training round"
    CERTIFICATE_QUORUM = "CHK-508", "a certificate carries t valid signatures of roster members"
    CERTIFICATE_HASH = "CHK-509", "a certificate names the model hash that this hospital computed"
    ABANDON_ALLOWED = "CHK-510", "nothing signed, nor answered without noise, is abandoned"
    ABANDONMENT_QUORUM = "CHK-511", "an abandonment carries t valid signatures of roster members"

    SUM_RECOMPUTED = "CHK-512", "the masked inputs of U3, unmasked, add up to the published sum"
    TRANSCRIPT_EXACT = "CHK-513", "a transcript opens b_u of U3 and mask keys of U2 minus U3 only"

    CERTIFICATE_SHARE_VALID = "CHK-550", "a certificate signature is valid on the published sum"
    ABANDONMENT_SHARE_VALID = "CHK-551", "an abandonment signature is valid on this round"

    EXPECTED_MESSAGE = "CHK-601", "only the message that the current state expects is accepted"
    SESSION_MATCHES = "CHK-602", "the message names the session that it is handled in"
    STREAM_IN_ORDER = "CHK-603", "chunks of a vector arrive in order, complete and canonical"
