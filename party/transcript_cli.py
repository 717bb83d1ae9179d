"""``secagg transcript``: verify the record of past attempts, offline, with the policy alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from secagg import policy as policies
from secagg.cli import CommandError, ExitCode, Format
from secagg.errors import DecodeError, LocalMisuse, PeerViolation
from secagg.policy import Policy
from secagg.transcript.chain import ModelChain
from secagg.transcript.recomputation import Recomputation
from secagg.transcript.record import Transcript, decode
from secagg.transcript.verification import Verified, verify_transcript
from secagg.vector.packing import packed_size
from secagg.vector.stream import slices

SCHEMA: Final = "secagg-transcript-report/1"

app = typer.Typer(no_args_is_help=True, help="The records of past attempts.")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one transcript.

    ``holds``: whether every check passed. If not, ``check``, ``statement``, ``blamed`` and
    ``detail`` say which one did not. ``recomputed``: whether the sum was recomputed from the masked
    inputs. ``model_hash``: the model that the sum makes, recomputed from the policy's first one;
    null if a transcript in between is missing, or there is no sum.
    """

    file: str
    holds: bool
    round: int
    attempt: int
    outcome: str | None = None
    digest: str
    u1: list[str] = []
    u2: list[str] = []
    u3: list[str] = []
    u4: list[str] = []
    ended: str = ""
    recomputed: bool = False
    model_hash: str | None = None
    check: str | None = None
    statement: str | None = None
    blamed: str | None = None
    detail: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``verify``: by round and attempt."""

    schema: str = SCHEMA
    policy_digest: str
    holds: bool
    transcripts: list[Finding]


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    transcript: Transcript


@app.callback()
def transcript() -> None:
    """The records of past attempts."""


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Transcripts, in any order.")],
    policy: Annotated[Path, typer.Option(help="The consortium's policy.json.")],
    masked_inputs: Annotated[
        Path | None,
        typer.Option(
            help="A directory with the masked inputs that the server retained, in ROUND-ATTEMPT: "
            "the sums are recomputed from them."
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Check everything that transcripts let anybody check; exit with 1 if anything does not hold.

    Signatures, sets, thresholds, opened secrets, sum and certificate of each; the sum again, bit
    for bit, if the masked inputs are there; and the models, from the policy's first one on, as far
    as no round's transcript is missing.
    """
    pinned = _policy(policy)
    chain = None if pinned.model is None else ModelChain(pinned.model)
    read = sorted(map(_read, files), key=lambda file: _number(file.transcript))
    findings = [_finding(file, pinned, chain, masked_inputs) for file in read]
    holds = all(finding.holds for finding in findings)
    report = Report(policy_digest=pinned.digest().hex(), holds=holds, transcripts=findings)
    if output is Format.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        typer.echo("\n\n".join(map(_as_text, findings)))
    if not holds:
        broken = [finding.file for finding in findings if not finding.holds]
        raise CommandError(
            f"{', '.join(broken)}: not what an honest attempt leaves.",
            "Ask another hospital for its copy; keep both, they are evidence.",
            ExitCode.FAILED_ROUND,
        )


def _policy(path: Path) -> Policy:
    try:
        return policies.load(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise CommandError(
            f"The policy {path} cannot be used: {error}.",
            "Give the policy.json under which the attempts were made.",
            ExitCode.USAGE,
        ) from None


def _read(path: Path) -> _File:
    try:
        return _File(path, decode(path.read_bytes()))
    except (OSError, DecodeError) as error:
        raise CommandError(
            f"{path} cannot be read as a transcript: {error}.",
            "Give a file that a server has written, or a node's GET /rounds/N/transcript.",
            ExitCode.USAGE,
        ) from None


def _number(transcript: Transcript) -> tuple[int, int]:
    return transcript.announcement.round, transcript.announcement.attempt


def _finding(
    file: _File, policy: Policy, chain: ModelChain | None, masked_inputs: Path | None
) -> Finding:
    transcript = file.transcript
    number, attempt = _number(transcript)
    finding = Finding(
        file=file.path.name,
        holds=True,
        round=number,
        attempt=attempt,
        digest=transcript.digest().hex(),
        ended=transcript.ended,
    )
    try:
        verified = verify_transcript(transcript, policy)
        recomputed = _recompute(transcript, policy, verified, masked_inputs)
        model_hash = None
        if verified.total is not None and chain is not None:
            model_hash = chain.follow(transcript, verified.total)
    except PeerViolation as violation:
        return msgspec.structs.replace(
            finding,
            holds=False,
            check=violation.check.id,
            statement=violation.check.statement,
            blamed=violation.peer,
            detail=violation.detail,
        )
    except LocalMisuse as misfit:
        return msgspec.structs.replace(finding, holds=False, detail=str(misfit))
    return msgspec.structs.replace(
        finding,
        outcome=verified.outcome.value,
        u1=[policy.name(u) for u in verified.u1],
        u2=[policy.name(u) for u in verified.u2],
        u3=[policy.name(u) for u in verified.u3],
        u4=[policy.name(u) for u in verified.u4],
        recomputed=recomputed,
        model_hash=None if model_hash is None else model_hash.hex(),
    )


def _recompute(
    transcript: Transcript, policy: Policy, verified: Verified, masked_inputs: Path | None
) -> bool:
    """Recompute the sum if its masked inputs are there. Raises PeerViolation."""
    if masked_inputs is None or verified.total is None:
        return False
    number, attempt = _number(transcript)
    directory = masked_inputs / f"{number}-{attempt}"
    if not directory.is_dir():
        return False
    recomputation = Recomputation(transcript, policy)
    for u in transcript.u3:
        for start, data in _chunks(directory / str(u), policy):
            recomputation.receive(u, start, data)
    recomputation.total()
    return True


def _chunks(path: Path, policy: Policy) -> Iterator[tuple[int, bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise CommandError(
            f"The masked input {path} cannot be read: {error.strerror}.",
            "Restore it; or leave --masked-inputs away, and no sum is recomputed.",
            ExitCode.USAGE,
        ) from None
    with file:
        for where in slices(policy.vector.dimension):
            data = file.read(packed_size(where.stop - where.start, policy.ring.bits))
            yield where.start, data


def _as_text(finding: Finding) -> str:
    head = f"round {finding.round}, attempt {finding.attempt} ({finding.file})"
    if not finding.holds:
        said = finding.statement or finding.detail or ""
        lines = [f"{head}: DOES NOT HOLD", f"  {finding.check or 'model'}: {said}"]
        if finding.blamed:
            lines.append(f"  blamed: {finding.blamed}; {finding.detail or 'nothing to add'}")
        return "\n".join(lines)
    lines = [f"{head}: {finding.outcome}; everything in it holds"]
    for name, members in (("U1", finding.u1), ("U2", finding.u2), ("U3", finding.u3)):
        lines.append(f"  {name}  {', '.join(members) or 'not reached'}")
    lines.append(f"  U4  {', '.join(finding.u4) or 'not reached'}")
    if finding.ended:
        lines.append(f"  ended: {finding.ended}")
        return "\n".join(lines)
    lines.append(
        "  sum recomputed from the masked inputs, bit for bit"
        if finding.recomputed
        else "  sum: as the server signed it; not recomputed, for want of masked inputs"
    )
    lines.append(
        f"  model {finding.model_hash}, recomputed"
        if finding.model_hash
        else "  model not recomputed: a transcript of an earlier round is missing"
    )
    return "\n".join(lines)
