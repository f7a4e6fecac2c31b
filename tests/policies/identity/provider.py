"""A real OpenID provider (npm oidc-provider) as a child process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import JWKRegistry, Key

HERE = Path(__file__).parent / "oidc_provider"


class Provider:
    """The provider as a child process; `restart` gives it other keys on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(
        self,
        *keys: Key,
        alg: str = "ES256",
        claims: dict[str, Any] | None = None,
        ttl: int = 600,
        accounts: Mapping[str, Mapping[str, Any]] | None = None,
        redirect_uris: Sequence[str] = (),
    ) -> None:
        """`accounts` can log in by their name: name → claims; `acr` and `age` (seconds) are of the login."""
        settings = {
            "accounts": accounts or {},
            "redirect_uris": list(redirect_uris),
            "port": self.port,
            "jwks": {"keys": [key.as_dict(private=True) for key in keys]},
            "alg": alg,
            "claims": {"groups": ["agents"]} if claims is None else claims,
            "ttl": ttl,
        }
        command = ["node", str(HERE / "provider.mjs"), str(self.folder), json.dumps(settings)]
        with (self.folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "stderr").read_text()
        self.port = int(line)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self) -> str:
        with httpx.Client(trust_env=False) as client:
            answer = client.post(
                f"{self.issuer}/token",
                data={"grant_type": "client_credentials"},
                auth=("devin-app", "only-for-tests"),
            )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def install(spare: Path) -> Path:
    """A folder with oidc-provider in it, kept in the virtual environment; `spare` where there is none."""
    lock = (HERE / "package-lock.json").read_bytes()
    name = f"oidc-provider-{hashlib.sha256(lock).hexdigest()[:16]}"
    in_venv = sys.prefix != sys.base_prefix
    folder = (Path(sys.prefix) / "cache" if in_venv else spare) / name
    if not (folder / "node_modules").exists():
        assert shutil.which("npm"), (
            "npm is missing: install Node.js 20 or newer; this test needs a real OpenID provider"
        )
        fresh = folder.with_name(f"{name}.{time.monotonic_ns()}")
        fresh.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / file, fresh)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        with contextlib.suppress(OSError):  # another run was first
            fresh.rename(folder)
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def new_key(alg: str = "ES256") -> Key:
    kind, size = {"RS256": ("RSA", 2048), "PS256": ("RSA", 2048), "EdDSA": ("OKP", "Ed25519")}.get(alg, ("EC", "P-256"))
    return JWKRegistry.generate_key(kind, size, {"use": "sig", "alg": alg}, auto_kid=True)  # type: ignore[arg-type]
