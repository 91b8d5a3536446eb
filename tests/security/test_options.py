"""Security options that cannot work are refused when the client is made, all of them together, with the way out."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

import ottla
from tests.fixtures.certificates import DAY, Authority
from tests.security.conftest import Pki


def problems(**options: Any) -> list[str]:
    with pytest.raises(ottla.ConfigError) as caught:
        ottla.Producer("127.0.0.1:9", **{"security_protocol": "SSL", **options})
    return list(caught.value.problems)


def test_a_missing_file_is_named() -> None:
    (text,) = problems(ssl_truststore_location="/nowhere/ca.pem")
    assert (
        text == "ssl_truststore_location: /nowhere/ca.pem cannot be read: No such file or directory"
    )


def test_every_problem_of_the_files_is_reported_at_once(pki: Pki) -> None:
    empty = pki.file("empty.pem", "")
    wrong = pki.file("wrong.pem", "no certificate at all")
    found = problems(
        ssl_truststore_location=empty,
        ssl_certificate_location="/none.pem",
        ssl_key_location="/none.key",
    )
    assert len(found) == 3
    (text,) = problems(ssl_truststore_location=wrong)
    assert "neither PEM, DER nor PKCS12" in text
    assert str(wrong) in text


def test_a_key_in_place_of_a_certificate_is_named(pki: Pki) -> None:
    key = pki.file("only.key", pki.client.key_pem())
    (text,) = problems(ssl_truststore_location=key)
    assert text.endswith("has no certificate, only PRIVATE KEY")


def test_a_certificate_in_place_of_a_key_is_named(pki: Pki) -> None:
    chain = pki.file("only.pem", pki.client.pem)
    found = problems(
        ssl_truststore_location=pki.trust, ssl_certificate_location=chain, ssl_key_location=chain
    )
    assert found == [f"ssl_key_location: {chain} has no private key, only CERTIFICATE"]


def test_a_key_that_does_not_fit_names_both_files(pki: Pki) -> None:
    chain = pki.file("fit.pem", pki.client.pem)
    key = pki.file("unfit.key", pki.authority.issue("bob", ()).key_pem())
    (text,) = problems(
        ssl_truststore_location=pki.trust, ssl_certificate_location=chain, ssl_key_location=key
    )
    assert "does not fit the certificate" in text
    assert str(chain) in text
    assert str(key) in text


def test_an_encrypted_key_needs_its_password(pki: Pki) -> None:
    chain = pki.file("enc.pem", pki.client.pem)
    key = pki.file("enc.key", pki.client.key_pem("right"))
    files = {
        "ssl_truststore_location": pki.trust,
        "ssl_certificate_location": chain,
        "ssl_key_location": key,
    }
    (text,) = problems(**files)
    assert "is encrypted: give its password with ssl_key_password" in text
    (text,) = problems(**files, ssl_key_password="wrong-canary")
    assert "cannot be decrypted" in text
    assert "canary" not in text


def test_the_old_encryption_of_openssl_is_explained(pki: Pki) -> None:
    chain = pki.file("old.pem", pki.client.pem)
    key = pki.file("old.key", pki.client.key_pem("pw", "old"))
    (text,) = problems(
        ssl_truststore_location=pki.trust,
        ssl_certificate_location=chain,
        ssl_key_location=key,
        ssl_key_password="pw",
    )
    assert "openssl pkcs8 -topk8" in text


def test_a_wrong_password_of_a_keystore_is_explained(pki: Pki) -> None:
    store = pki.file("pw.p12", pki.client.pkcs12("right"))
    trust = {"ssl_truststore_location": pki.trust}
    (text,) = problems(**trust, ssl_keystore_location=store, ssl_keystore_password="wrong")
    assert "cannot be decrypted with its password" in text
    (text,) = problems(**trust, ssl_keystore_location=store)
    assert "ssl_keystore_password" in text


def test_a_jks_file_is_explained(pki: Pki) -> None:
    store = pki.file("store.jks", b"\xfe\xed\xfe\xed" + bytes(100))
    (text,) = problems(ssl_truststore_location=store)
    assert "is a JKS keystore" in text
    assert f"keytool -importkeystore -srckeystore {store}" in text
    assert "PKCS12" in text


def test_an_expired_client_certificate_is_refused(pki: Pki) -> None:
    old = pki.authority.issue("old", (), begin=-3 * DAY, end=-DAY, for_clients=True)
    (text,) = problems(
        ssl_truststore_location=pki.trust,
        ssl_keystore_key=old.key_pem(),
        ssl_keystore_certificate_chain=old.pem,
    )
    assert "has expired" in text


def test_options_without_tls_are_refused(pki: Pki) -> None:
    (text,) = problems(security_protocol="PLAINTEXT", ssl_truststore_location=pki.trust)
    assert "security_protocol is PLAINTEXT; set it to SSL" in text


def test_a_context_of_pythons_ssl_is_explained() -> None:
    (text,) = problems(ssl_context=ssl.create_default_context())
    for option in ("ssl_truststore_location", "ssl_certificate_location", "ssl_key_location"):
        assert option in text


def test_two_sources_of_one_thing_are_refused(pki: Pki) -> None:
    found = problems(
        ssl_truststore_location=pki.trust,
        ssl_truststore_certificates=pki.authority.pem,
        ssl_keystore_password="pw",
    )
    assert len(found) == 2


def test_pem_text_where_a_path_belongs_is_explained(pki: Pki) -> None:
    (text,) = problems(ssl_truststore_location=pki.authority.pem)
    assert "expected a path" in text


@pytest.mark.parametrize("value", ["TLSv1", "TLSv1.1", "SSLv3"])
def test_old_versions_are_refused(value: str) -> None:
    (text,) = problems(ssl_enabled_protocols=value)
    assert "below 1.2 is not supported" in text


def test_an_unknown_suite_is_refused_with_the_known_ones() -> None:
    (text,) = problems(ssl_cipher_suites="TLS_RSA_WITH_AES_128_CBC_SHA")
    assert "TLS_AES_128_GCM_SHA256" in text


def test_suites_of_no_enabled_version_are_refused(pki: Pki) -> None:
    (text,) = problems(
        ssl_truststore_location=pki.trust,
        ssl_cipher_suites="TLS_AES_128_GCM_SHA256",
        ssl_enabled_protocols="TLSv1.2",
    )
    assert "ssl_enabled_protocols" in text


def test_a_function_that_raises_is_named(pki: Pki) -> None:
    def key() -> str:
        raise LookupError("secret-canary")

    (text,) = problems(
        ssl_truststore_location=pki.trust,
        ssl_keystore_key=key,
        ssl_keystore_certificate_chain=pki.client.pem,
    )
    assert text == "ssl_keystore_key: the function raised LookupError"


def test_a_machine_without_trusted_certificates_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    (text,) = problems()
    assert text.startswith("ssl_truststore_location: missing")


def test_secrets_are_in_no_text(pki: Pki) -> None:
    from ottla.config.producer import producer_config

    canary = "canary-canary-canary"
    own = Authority.make().issue("x", (), for_clients=True)
    config = producer_config(
        "h:1",
        {
            "security_protocol": "SSL",
            "ssl_truststore_location": str(pki.trust),
            "ssl_keystore_key": own.key_pem(canary),
            "ssl_keystore_certificate_chain": own.pem,
            "ssl_key_password": canary,
        },
    )
    shown = repr(config) + repr(vars(config)) + repr(config.tls)
    assert canary not in shown
    assert "PRIVATE KEY" not in shown
