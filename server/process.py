"""The server as a process: put together from its configuration, run until it is told to stop."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Final

import structlog
import trio

from secagg import policy as policies
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import SystemRandomness
from secagg.crypto.signatures import IdentityKey
from secagg.errors import DecodeError
from secagg.model import ModelSpec
from secagg.policy import Policy
from server import state_dir
from server.archive import Archive
from server.chain import Chain
from server.config import Config
from server.coordinator import Coordinator
from server.identity import identity
from server.spool import swept
from server.store import Store
from server.tls import encrypted, tls_context

DATABASE: Final = "server.sqlite3"
SPOOLS: Final = "spool"
TRANSCRIPTS: Final = "transcripts"
MASKED_INPUTS: Final = "masked-inputs"

_log = structlog.get_logger("secagg.server")


async def run(config: Config) -> None:
    """Run the server that ``config`` describes; returns after SIGTERM or SIGINT.

    Raises CommandError for whatever an operator has to mend before it can run.
    """
    policy, spec = _read_policy(config.policy)
    signing_key = _identity(config, policy)
    context = tls_context(config.tls)
    with state_dir.held(config.state_dir) as directory, trio.CancelScope() as running:
        store = Store(directory / DATABASE)
        try:
            pending = store.pending_sum()
            coordinator = Coordinator(
                policy=policy,
                identity=signing_key,
                store=store,
                chain=_chain(policy, spec, store, directory),
                spools=swept(directory / SPOOLS, pending[0].session if pending else None),
                archive=Archive(
                    directory / TRANSCRIPTS,
                    directory / MASKED_INPUTS if config.retention.masked_inputs else None,
                ),
                timing=config.timing,
                randomness=SystemRandomness(),
            )

            async def attend(plain: trio.SocketStream) -> None:
                try:
                    origin = str(plain.socket.getpeername()[0])
                    stream = encrypted(plain, context)
                except OSError:  # it is gone already
                    await trio.aclose_forcefully(plain)
                    return
                await coordinator.serve(stream, origin)

            async with trio.open_nursery() as nursery:
                await nursery.start(_stop_on_signal, running)
                listeners = await _listen(config)
                nursery.start_soon(coordinator.run)
                nursery.start_soon(trio.serve_listeners, attend, listeners)
                host, port = listeners[0].socket.getsockname()[:2]
                print(json.dumps({"event": "listening", "host": host, "port": port}), flush=True)
        finally:
            store.close()


async def _stop_on_signal(
    running: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for received in signals:
            _log.info("stopping", signal=signal.Signals(received).name)
            running.cancel()
            return


async def _listen(config: Config) -> list[trio.SocketListener]:
    host, port = config.listen.host, config.listen.port
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise CommandError(
            f"The server cannot listen on {host} port {port}: {error}.",
            "Stop what uses that port, or set another host or port in [listen] of server.toml.",
            ExitCode.CONNECTION,
        ) from None


def _read_policy(path: Path) -> tuple[Policy, ModelSpec]:
    """The policy that the consortium works under, with the model that it trains."""
    try:
        policy = policies.load(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise CommandError(
            f"The policy {path} cannot be used: {error}.",
            "Install the policy.json that your consortium has agreed on.",
            ExitCode.USAGE,
        ) from None
    if policy.model is None:
        raise CommandError(
            f"The policy {path} pins no model: there would be nothing to train.",
            "Use a policy with one; policies without a model are for simulations.",
            ExitCode.USAGE,
        )
    return policy, policy.model


def _identity(config: Config, policy: Policy) -> IdentityKey:
    key = identity(config.identity.key_file)
    if key.public.hex() != policy.server_key:
        raise CommandError(
            f"The key in {config.identity.key_file} is not the one that the policy pins as "
            f"server_key.",
            "Check [identity] in server.toml, and that policy.json is this consortium's.",
            ExitCode.USAGE,
        )
    return key


def _chain(policy: Policy, spec: ModelSpec, store: Store, directory: Path) -> Chain:
    chain = Chain(policy, spec, store)
    closing = (chain.certificate, chain.abandonment)
    if any(each is not None and each.policy_digest != policy.digest() for each in closing):
        raise CommandError(
            f"The state directory {directory} belongs to another policy.",
            "Restore that policy.json, or set another state_dir in server.toml.",
            ExitCode.USAGE,
        )
    return chain
