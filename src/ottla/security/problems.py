"""The words for the problems that Rust finds in TLS settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ottla.seam.security import ProblemKind, TlsProblem

_TEXTS: Final[dict[ProblemKind, str]] = {
    "no_certificate": "has no certificate",
    "no_key": "has no private key",
    "no_list": "has no revocation list",
    "unreadable": "is neither PEM, DER nor PKCS12, or is damaged",
    "password_missing": "is encrypted: give its password with {password}",
    "password_wrong": "cannot be decrypted with its password ({password})",
    "old_encryption": (
        'is encrypted in the old way of OpenSSL ("Proc-Type: 4,ENCRYPTED"); convert it: openssl pkcs8 -topk8 -in KEY -out NEW_KEY'
    ),
    "key_mismatch": "the private key does not fit the certificate of {detail}",
    "unusable_key": "the private key cannot be used",
    "unusable_authority": "a certificate in it cannot be used as an authority",
    "client_expired": "the client certificate has expired",
    "client_not_yet_valid": "the client certificate is not valid yet: is the clock of this machine right?",
    "unknown_suite": "there is no such cipher suite:",
    "no_suite_left": "none of these cipher suites belongs to a version of ssl_enabled_protocols",
}  # fmt: skip

_PASSWORDS: Final = {
    "ssl_keystore_location": "ssl_keystore_password or ssl_key_password",
    "ssl_truststore_location": "ssl_truststore_password",
}


def problem_text(problem: TlsProblem) -> str:
    """A line of a `ConfigError`: option, file, and the problem with its remedy."""
    option = problem.place.partition(":")[0]
    password = _PASSWORDS.get(option, "ssl_key_password")
    text = _TEXTS[problem.kind].format(password=password, detail=problem.detail)
    if not problem.detail or problem.kind == "key_mismatch":
        return f"{_placed(problem.place)} {text}"
    if problem.kind in ("no_certificate", "no_key", "no_list"):
        return f"{_placed(problem.place)} {text}, only {problem.detail}"
    if problem.kind == "unknown_suite":
        return f"{_placed(problem.place)} {text} {problem.detail}"
    return f"{_placed(problem.place)} {text} ({problem.detail})"


def _placed(place: str) -> str:
    return place if ":" in place else f"{place}:"
