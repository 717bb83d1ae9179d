"""``secagg audit``: check an audit log, on any machine, without the node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from party import config
from party.audit.line import MAX_LINE_BYTES, Head, decode, decode_head, is_key
from party.audit.mirror import HEAD_FILE, LOG_FILE
from party.audit.verification import LogRefused, Verified, verify
from secagg import policy as policies
from secagg.cli import CommandError, ExitCode, Format
from secagg.errors import DecodeError, LocalMisuse
from secagg.policy import Policy

SCHEMA: Final = "secagg-audit/1"

app = typer.Typer(no_args_is_help=True, help="A hospital's audit log.")


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What ``--format json`` prints. ``fault``, ``line``, ``detail``: null if all is well."""

    schema: str
    verified: bool
    log: str
    lines: int | None = None
    hospital: str | None = None
    head: Head | None = None
    first: str | None = None
    last: str | None = None
    heads_held_to: int | None = None
    fault: str | None = None
    line: int | None = None
    detail: str | None = None


@app.callback()
def audit() -> None:
    """A hospital's audit log."""


@app.command("verify")
def verify_log(
    log: Annotated[
        Path | None,
        typer.Argument(help=f"The log. [default: {LOG_FILE} in the node's state directory]"),
    ] = None,
    configuration: Annotated[
        Path,
        typer.Option("--config", help="This hospital's party.toml, which says policy and name."),
    ] = Path("party.toml"),
    policy: Annotated[
        Path | None, typer.Option(help="The policy, which pins the hospital's key.")
    ] = None,
    hospital: Annotated[
        str | None,
        typer.Option(help="The hospital's name in --policy. [default: as the log says]"),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The hospital's public identity key, 64 hex digits.")
    ] = None,
    head: Annotated[
        list[Path] | None,
        typer.Option(
            help=f"A head that was kept elsewhere; may be repeated. {HEAD_FILE} beside the log is "
            f"always used, if it is there."
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Find any edit, removal, reordering or insertion in an audit log, and any truncation or
    rewriting against heads that were kept.

    The hospital's key comes from --key, from --policy, or from the party.toml of --config.
    """
    if key is None and policy is None:
        node = config.load(configuration)
        log = log or node.state_dir / LOG_FILE
        identity_key = _pinned(_policy(node.policy), hospital or node.name)
    elif log is None:
        raise CommandError(
            "No log is named.", f"Give the path of the {LOG_FILE} to check.", ExitCode.USAGE
        )
    elif policy is None or key is not None:
        identity_key = _only_key(key or "", policy, hospital)
    else:
        identity_key = _pinned(_policy(policy), hospital or _named(log))
    # The heads first: a running node may go on writing, and the log may only be the newer one.
    beside = log.with_suffix(Path(HEAD_FILE).suffix)
    heads = [_head(path) for path in head or ()]
    if beside.exists():
        heads.append(_head(beside))
    _judge(log, identity_key, heads, output)


def _judge(log: Path, identity_key: str, heads: Sequence[Head], output: Format) -> None:
    try:
        found = verify(_lines(log), identity_key, heads)
    except LogRefused as refused:
        if output is Format.JSON:
            _print(
                _Verdict(
                    SCHEMA,
                    False,
                    str(log),
                    fault=refused.fault.value,
                    line=refused.line or None,
                    detail=refused.detail,
                )
            )
        raise CommandError(
            f"{log} cannot be trusted: {refused}.",
            "Keep the file as it is, and compare it with the node's database and with copies that "
            "were kept elsewhere.",
            ExitCode.FAILED_ROUND,
        ) from None
    if output is Format.JSON:
        _print(
            _Verdict(
                SCHEMA,
                True,
                str(log),
                lines=found.head.seq,
                hospital=found.hospital,
                head=found.head,
                first=found.first,
                last=found.last,
                heads_held_to=found.held_to,
            )
        )
    else:
        typer.echo(_text(log, found))


def _text(log: Path, found: Verified) -> str:
    held = (
        f"It was held to {found.held_to} head{'s' if found.held_to > 1 else ''}."
        if found.held_to
        else "It was held to no head: lines cut off its end would not show. Give --head."
    )
    return (
        f"{log}: whole and genuine.\n"
        f"{found.head.seq} lines of {found.hospital!r}, {found.first} to {found.last}.\n"
        f"{held}\n"
        f"head {found.head.seq} {found.head.hash}"
    )


def _print(verdict: _Verdict) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(verdict)).decode())


# --- what it is given ----------------------------------------------------------------------------


def _only_key(key: str, policy: Path | None, hospital: str | None) -> str:
    """``--key`` in lower case; the two options that would contradict it are refused."""
    if policy is not None or hospital is not None:
        raise CommandError(
            "--key leaves nothing for --policy or --hospital to say.",
            "Give the key, or the policy that pins it.",
            ExitCode.USAGE,
        )
    if not is_key(key.lower()):
        raise CommandError(
            "--key is no public identity key: 64 hexadecimal digits are expected.",
            "Take identity_key of the hospital from the policy's roster.",
            ExitCode.USAGE,
        )
    return key.lower()


def _policy(path: Path) -> Policy:
    try:
        return policies.load(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise CommandError(
            f"The policy {path} cannot be used: {error}.",
            "Give the policy.json that your consortium has agreed on.",
            ExitCode.USAGE,
        ) from None


def _pinned(policy: Policy, hospital: str) -> str:
    try:
        return policy.identity_key(policy.client(hospital)).hex()
    except LocalMisuse as error:
        names = ", ".join(member.name for member in policy.roster)
        raise CommandError(
            f"{error}.", f"Give --hospital one of {names}; or --key.", ExitCode.USAGE
        ) from None


def _named(log: Path) -> str:
    """The hospital that the log's first line names; to be believed only once that is verified."""
    for data in _lines(log):
        try:
            return str(decode(data.removesuffix(b"\n")).fields["hospital"])
        except (DecodeError, KeyError):
            break
    raise CommandError(
        f"{log} does not say which hospital's it is: its first line is missing or damaged.",
        "Give --hospital with its name in the policy, to learn what is wrong.",
        ExitCode.USAGE,
    )


def _head(path: Path) -> Head:
    try:
        return decode_head(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise CommandError(
            f"{path} is not a signed head: {error}.",
            f"Give a copy of {HEAD_FILE}, or of what GET /audit/head answered.",
            ExitCode.USAGE,
        ) from None


def _lines(log: Path) -> Iterator[bytes]:
    """Each line with its line feed; of a longer one than there can be, only the beginning."""
    try:
        with log.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                yield line
    except OSError as error:
        raise CommandError(
            f"{log} cannot be read: {error.strerror}.",
            "Give the path of the audit log, as a user who may read it.",
            ExitCode.USAGE,
        ) from None
