"""What credential plugins print, and tokens that may not stand in a header."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from onrecord.addons.kubernetes_api.credentials import ClusterCredential, read_exec_credential
from onrecord.policies.config import KubernetesResource, SecretRef
from onrecord.policies.errors import SecretError
from onrecord.policies.secrets import Secrets


def credential(**status: Any) -> bytes:
    document = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return json.dumps(document).encode()


def test_a_token_and_its_expiry_are_read() -> None:
    assert read_exec_credential(credential(token="abc"), "x") == ("abc", 0.0)
    token, expires = read_exec_credential(credential(token="abc", expirationTimestamp="2026-01-01T00:00:00Z"), "x")
    assert (token, expires) == ("abc", 1767225600.0)


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"secret-in-clear",
        b"[]",
        b"{}",
        b'{"kind": "ExecCredential"}',
        credential(),
        credential(token=""),
        credential(token=5),
        credential(clientCertificateData="x", clientKeyData="y"),
        credential(token="secret-in-clear", expirationTimestamp="soon"),
        credential(token="secret-in-clear").replace(b"client.authentication", b"another"),
    ],
)
def test_anything_else_is_an_error_that_does_not_show_it(output: bytes) -> None:
    with pytest.raises(SecretError) as caught:
        read_exec_credential(output, "resources.prod.exec")
    assert "secret-in-clear" not in str(caught.value)


@pytest.mark.parametrize("token", ["two\nlines-of-secret", "with blank", "h\u00e9"])
def test_a_token_that_cannot_stand_in_a_header_is_refused(tmp_path: Path, token: str) -> None:
    path = tmp_path / "token"
    path.write_text(token)
    path.chmod(0o600)
    ref = SecretRef("file", str(path))
    resource = KubernetesResource(name="prod", type="kubernetes", hosts=("a",), token=ref)
    made = ClusterCredential(resource, Secrets())
    with pytest.raises(SecretError) as caught:
        asyncio.run(made.prepare())
    assert token not in str(caught.value)


def test_a_former_token_is_still_kept_out_of_answers(tmp_path: Path) -> None:
    path = tmp_path / "token"
    resource = KubernetesResource(name="prod", type="kubernetes", hosts=("a",), token=SecretRef("file", str(path)))
    made = ClusterCredential(resource, Secrets())
    for token in ("first-token-12345", "second-token-67890"):
        fresh = tmp_path / "fresh"
        fresh.write_text(token)
        fresh.chmod(0o600)
        fresh.replace(path)
        made._looked = 0.0
        asyncio.run(made.prepare())
        assert made.apply([(b"authorization", b"mine"), (b"Cookie", b"x")]) == [
            (b"Authorization", b"Bearer " + token.encode())
        ]
    assert b"token-12345" not in made.scrub(b"x first-token-12345 second-token-67890 y")
    assert b"67890" not in made.scrub(b"x first-token-12345 second-token-67890 y")
