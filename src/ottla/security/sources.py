"""Reads the files and texts of the security options into the settings of a TLS context, with all their problems at once.

Station: connection. Threads: any; never the engine's, because files and functions of the application may take long.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ottla.config.secret import Secret
from ottla.seam.security import TlsSettings, TlsSource
from ottla.security import system_trust

if TYPE_CHECKING:
    from ottla.config.security import SecurityConfig

    Pem = str | Secret | Callable[[], str] | None

LARGEST_FILE_BYTES: Final = 8 << 20
"""Maximum size of one file: the bundles of all public authorities have 200 KB."""

_JKS: Final = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_BUNDLES: Final = (".pem", ".crt", ".cer", ".der")

_JKS_TEXT: Final = (
    "is a JKS keystore, which only Java reads; convert it: keytool -importkeystore -srckeystore {path} "
    "-destkeystore {stem}.p12 -deststoretype PKCS12"
)


class SourceReader:
    """Reads the sources of one configuration, and notes every problem.

    Args:
        config: The options.
    """

    def __init__(self, config: SecurityConfig) -> None:
        self._config = config
        self.problems: list[str] = []
        self.paths: list[Path] = []
        """Files that were read."""

    def settings(self) -> TlsSettings:
        """The settings; complete only where there are no `problems`."""
        config = self._config
        trust, is_system = self._trust()
        key, chain = self._client()
        return TlsSettings(
            trust=trust,
            trust_is_system=is_system,
            key=key,
            chain=chain,
            revocation=list(self._revocation()),
            verifies_chain=config.ssl_verify,
            verifies_name=config.ssl_endpoint_identification_algorithm == "https",
            versions=list(config.ssl_enabled_protocols),
            suites=list(config.ssl_cipher_suites or ()),
            key_log=config.ssl_keylog,
        )

    # ---- trust -----------------------------------------------------------------------------------------------------

    def _trust(self) -> tuple[list[TlsSource], bool]:
        config = self._config
        sources: list[TlsSource] = []
        if config.ssl_truststore_location is not None:
            password = _revealed(config.ssl_truststore_password)
            sources += self._files(
                "ssl_truststore_location", config.ssl_truststore_location, password
            )
        if config.ssl_truststore_certificates is not None:
            name = "ssl_truststore_certificates"
            sources += self._text(name, config.ssl_truststore_certificates)
        if sources or self.problems or not config.ssl_verify:
            return sources, False
        return self._system(), True

    def _system(self) -> list[TlsSource]:
        for path in system_trust.locations():
            try:
                names = sorted(path.iterdir()) if path.is_dir() else [path]
                found = [
                    self._source("trusted certificates of the system", name, None) for name in names
                ]
            except OSError:
                continue
            if sources := [
                source for source in found if source is not None and b"-----BEGIN " in source.data
            ]:
                return sources
        self.problems.append(
            "ssl_truststore_location: missing, and this machine has no trusted certificates of its own: "
            "give the certificate of the authority that signed those of the brokers"
        )
        return []

    def _files(self, option: str, path: str, password: str | None) -> Iterator[TlsSource]:
        folder = Path(path)
        if not folder.is_dir():
            if (source := self.file(option, path, password)) is not None:
                yield source
            return
        found = [name for name in sorted(folder.iterdir()) if name.suffix in _BUNDLES]
        if not found:
            kinds = ", ".join(_BUNDLES)
            self.problems.append(f"{option}: no file in {path} ends in {kinds}")
        for name in found:
            if (source := self.file(option, str(name), password)) is not None:
                yield source

    # ---- the client's certificate ----------------------------------------------------------------------------------

    def _client(self) -> tuple[TlsSource | None, TlsSource | None]:
        config = self._config
        password = _revealed(config.ssl_key_password)
        if config.ssl_keystore_location is not None:
            own = _revealed(config.ssl_keystore_password)
            place = config.ssl_keystore_location
            return self.file("ssl_keystore_location", place, own or password), None
        if config.ssl_keystore_key is not None:
            key = self._text("ssl_keystore_key", config.ssl_keystore_key, password)
            chain = self._text(
                "ssl_keystore_certificate_chain", config.ssl_keystore_certificate_chain
            )
            return next(iter(key), None), next(iter(chain), None)
        if config.ssl_key_location is None:
            if config.ssl_certificate_location is not None:
                # The key is in the same file.
                return self.file(
                    "ssl_certificate_location", config.ssl_certificate_location, password
                ), None
            return None, None
        key_file = self.file("ssl_key_location", config.ssl_key_location, password)
        certificate = config.ssl_certificate_location
        if certificate is None:
            return key_file, None
        return key_file, self.file("ssl_certificate_location", certificate, None)

    def _revocation(self) -> Iterator[TlsSource]:
        if (path := self._config.ssl_crl_location) is not None:
            yield from self._files("ssl_crl_location", path, None)

    # ---- single sources --------------------------------------------------------------------------------------------

    def file(self, option: str, path: str, password: str | None) -> TlsSource | None:
        """The content of a file; None and a problem where it cannot be one of certificates or keys."""
        try:
            source = self._source(f"{option}: {path}", Path(path), password)
        except OSError as error:
            self.problems.append(f"{option}: {path} cannot be read: {error.strerror}")
            return None
        if source is None:
            self.problems.append(f"{option}: {path} has more than {LARGEST_FILE_BYTES} bytes")
        elif not source.data:
            self.problems.append(f"{option}: {path} is empty")
        elif source.data.startswith(_JKS):
            stem = path.rpartition(".")[0] or path
            self.problems.append(f"{option}: {path} {_JKS_TEXT.format(path=path, stem=stem)}")
        else:
            return source
        return None

    def _source(self, place: str, path: Path, password: str | None) -> TlsSource | None:
        if path.is_dir():
            return None
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            return None
        self.paths.append(path)
        return TlsSource(place, data, password)

    def _text(self, option: str, given: Pem, password: str | None = None) -> list[TlsSource]:
        if given is None:
            return []
        text: object = given
        if callable(given):
            try:
                text = given()
            except Exception as error:
                self.problems.append(f"{option}: the function raised {type(error).__name__}")
                return []
        if isinstance(text, Secret):
            text = text.reveal()
        if not isinstance(text, str) or not text.strip():
            kind = type(text).__name__
            self.problems.append(
                f"{option}: expected PEM text, and got {kind if text else 'nothing'}"
            )
            return []
        return [TlsSource(option, text.encode(), password)]


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def fingerprint(settings: TlsSettings) -> bytes:
    """A digest of the content: equal contents make equal contexts."""
    digest = hashlib.sha256()
    for source in (*settings.trust, settings.key, settings.chain, *settings.revocation):
        data = b"" if source is None else source.data
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


def stamps(paths: list[Path]) -> list[tuple[str, int, int, int]]:
    """Names, times, sizes and numbers of files: they differ where a file was replaced, also behind a symbolic link."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found.append((str(path), 0, 0, 0))
        else:
            found.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
    return found
