"""The TLS of one client: the context that its connections share, replaced when the content of its files has changed.

Station: connection. Made when the configuration is checked; `current` is called on the engine thread at each dial. Files are read and
functions of the application called by a thread of their own, because both may take long.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, NamedTuple

from ottla.security.failures import Trust, tls_error
from ottla.security.problems import problem_text
from ottla.security.sources import SourceReader, fingerprint, stamps
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ottla._native import TlsContext
    from ottla.config.security import SecurityConfig
    from ottla.errors import TlsError
    from ottla.seam.security import CertificateFacts, TlsFacts, TlsFailure


class Loaded(NamedTuple):
    """A context, and the content that it was made of."""

    context: TlsContext
    facts: TlsFacts
    digest: bytes
    paths: list[Path]
    stamps: list[tuple[str, int, int, int]]


class Reload(NamedTuple):
    """Outcome of a check of the files."""

    changed: bool
    problems: tuple[str, ...] = ()
    """Why the changed files cannot be used; the client keeps the context that it has."""


def load(config: SecurityConfig) -> Loaded | list[str]:
    """The context of a configuration, or all its problems."""
    from ottla._native import TlsContext

    reader = SourceReader(config)
    settings = reader.settings()
    if reader.problems:
        return reader.problems
    before = stamps(reader.paths)
    built = TlsContext.build(settings)
    if isinstance(built, list):
        return [problem_text(problem) for problem in built]
    return Loaded(built, built.facts(), fingerprint(settings), reader.paths, before)


class ClientTls:
    """See the module.

    Args:
        config: The security options.
        loaded: The context of their files now.
    """

    def __init__(self, config: SecurityConfig, loaded: Loaded) -> None:
        self._config = config
        self._loaded = loaded
        self.broker_expiries: dict[str, int] = {}
        """When the certificates of brokers expire, by host:port, milliseconds since 1970. Replaced by item: any thread may copy it."""
        self._checked_at = monotonic()
        self._problems: tuple[str, ...] = ()
        self._checking: asyncio.Future[Reload] | None = None

    @property
    def context(self) -> TlsContext:
        """The context of the next connection."""
        return self._loaded.context

    @property
    def client_certificate(self) -> CertificateFacts | None:
        """The certificate that the client presents now."""
        return self._loaded.facts.client_certificate

    def server_name(self, host: str) -> str:
        """The name that the certificate of a broker at this host must have."""
        return self._config.ssl_server_name or host.rstrip(".")

    def error(self, failure: TlsFailure) -> TlsError:
        """The exception of a failed handshake."""
        return tls_error(failure, self._trust())

    def _trust(self) -> Trust:
        config = self._config
        if config.ssl_truststore_location is not None:
            place = f"ssl_truststore_location {config.ssl_truststore_location}"
        elif config.ssl_truststore_certificates is not None:
            place = "ssl_truststore_certificates"
        else:
            place = "the system's store"
        return Trust(place, self._loaded.facts)

    # ---- reload ----------------------------------------------------------------------------------------------------

    async def refresh(self) -> Reload:
        """Check the files, at most once per `ssl_reload_interval_ms`, and replace the context where their content has changed.

        Cancellation: Ends the wait; the check continues for the next caller.
        """
        interval = self._config.ssl_reload_interval_ms
        if self._checking is None:
            if interval < 0 or monotonic() - self._checked_at < interval / 1000:
                return Reload(changed=False)
            self._checking = _in_thread(self._check)
            self._checking.add_done_callback(self._check_ended)
        return await asyncio.shield(self._checking)

    def _check_ended(self, _: object) -> None:
        self._checking = None
        self._checked_at = monotonic()

    def _check(self) -> Reload:
        """Blocks: reads the files again where one of them was replaced."""
        loaded = self._loaded
        if (
            not self._has_functions()
            and not self._has_folders()
            and stamps(loaded.paths) == loaded.stamps
        ):
            return Reload(changed=False)
        fresh = load(self._config)
        if isinstance(fresh, list):
            known, self._problems = self._problems, tuple(fresh)
            return Reload(changed=False, problems=() if known == self._problems else self._problems)
        self._problems = ()
        if fresh.digest == loaded.digest:
            self._loaded = loaded._replace(paths=fresh.paths, stamps=fresh.stamps)
            return Reload(changed=False)
        self._loaded = fresh
        return Reload(changed=True)

    def _has_functions(self) -> bool:
        config = self._config
        texts = (
            config.ssl_truststore_certificates,
            config.ssl_keystore_key,
            config.ssl_keystore_certificate_chain,
        )
        return any(callable(text) for text in texts)

    def _has_folders(self) -> bool:
        from pathlib import Path

        places = (self._config.ssl_truststore_location, self._config.ssl_crl_location)
        return any(place is not None and Path(place).is_dir() for place in places)


def _in_thread(function: Callable[[], Reload]) -> asyncio.Future[Reload]:
    """Run it in a thread that delays neither the end of the engine nor that of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Reload] = loop.create_future()

    def settle(result: Reload | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is None and result is not None:
            future.set_result(result)
        else:
            future.set_result(Reload(changed=False, problems=(f"{type(error).__name__}: {error}",)))

    def run() -> None:
        result: Reload | None = None
        failure: Exception | None = None
        try:
            result = function()
        except Exception as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop has been closed meanwhile: no caller waits any more

    threading.Thread(target=run, name="ottla-tls-files", daemon=True).start()
    return future
