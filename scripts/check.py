"""`onrecord check`: is mitm.toml right, do policies load, do upstreams and issuers answer, who could change files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from onrecord.policies.config import Config, ResourceConfig, TlsConfig
    from onrecord.policies.errors import Problem
    from onrecord.scripts.checks.finding import Finding

MARKS = {"ok": ("✓", "green"), "failed": ("✗", "bold red"), "note": ("·", "yellow")}


def check(
    config: Annotated[Path, typer.Option("-c", "--config", help="The gateway's configuration.")] = Path("mitm.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only files: no secrets, upstreams or issuers.")] = False,
) -> None:
    """Check the configuration, then try what it names: policies, secrets, issuers, upstreams.

    Exit status 1 where anything is wrong. Nothing is changed; towards an upstream it only logs in and asks which
    rights the credential has.

    Example: onrecord check -c mitm.toml --offline
    """
    from onrecord.policies.config import load_config
    from onrecord.policies.errors import ConfigError
    from onrecord.policies.redaction import Redactor
    from onrecord.policies.secrets import Secrets
    from onrecord.scripts.checks.finding import Finding

    redactor = Redactor()
    if not config.is_file():
        raise ConfigError([_no_file(config)])
    try:
        loaded: Config | None = load_config(config)
        findings = [Finding(str(config), "ok", "the configuration is valid")]
    except ConfigError as error:
        loaded = None
        findings = [Finding(problem.path, "failed", problem.reason, problem.fix) for problem in error.problems]
    if loaded is not None:
        findings += _files(loaded)
        if not offline:
            from onrecord.scripts.checks.issuers import try_issuers
            from onrecord.scripts.checks.upstreams import try_resources

            secrets = Secrets(on_new=redactor.add)
            findings += [*try_issuers(loaded), *try_resources(loaded, secrets)]
    _print([finding.cleaned(redactor.clean_text) for finding in findings], as_json=as_json)
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(1)


def _no_file(path: Path) -> Problem:
    from onrecord.policies.errors import Problem

    return Problem(path.name, f"no such file: {str(path)!r}", "give the path with -c mitm.toml")


def _files(config: Config) -> list[Finding]:
    """What can be said without network: policies, ownership, what this version does not serve."""
    from onrecord.policies.config.ownership import check_files
    from onrecord.policies.engine import PolicyEngine
    from onrecord.policies.errors import PolicyError
    from onrecord.policies.policy_set import read_policy_set
    from onrecord.scripts.checks.finding import Finding

    findings = []
    try:
        engine = PolicyEngine(timeout=config.gateway.policy_timeout, stale_after=config.gateway.stale_policy)
        engine.prepare(read_policy_set(config.policies))
        findings.append(Finding("policies", "ok", f"{len(config.policies)} policies load"))
    except PolicyError as error:
        findings.append(Finding("policies", "failed", str(error)))
    findings += [Finding(p.path, "failed", p.reason, p.fix) for p in check_files(config)]
    if config.gateway.tls is not None:
        findings.append(_listener_tls(config.gateway.tls))
    return [*findings, *_notes(config)]


def _listener_tls(tls: TlsConfig) -> Finding:
    """Whether the listeners' certificate and key belong together."""
    import ssl

    from onrecord.scripts.checks.finding import Finding

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")  # "": never ask on the terminal
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        fix = "cert holds the chain, key its private key without passphrase"
        return Finding("gateway.tls", "failed", f"cannot be used: {reason}", fix)
    return Finding("gateway.tls", "ok", "certificate and key belong together")


def _notes(config: Config) -> list[Finding]:
    """What is configured and has no effect, or less than one may think."""
    from onrecord.policies.config.ownership import certificates_of, weak_places
    from onrecord.policies.config.values import is_loopback
    from onrecord.scripts.checks.finding import Finding

    gateway = config.gateway
    notes: list[Finding] = []
    if not config.issuers:
        notes.append(Finding("issuers", "note", "there is none: every token will be refused"))
    if gateway.egress == "allow":
        notes.append(Finding("gateway.egress", "note", "hosts that are no resource are reachable, and recorded"))
    if gateway.mode == "observe":
        notes.append(Finding("gateway.mode", "note", "verdicts of policies are recorded and not applied"))
    if gateway.postgres is not None and gateway.postgres_tls == "allow" and not is_loopback(gateway.postgres.host):
        text = '"allow" lets other hosts log in without TLS: their tokens cross the network in clear'
        notes.append(Finding("gateway.postgres_tls", "note", text))
    for key, path in certificates_of(config):
        for place, reason, fix in weak_places(path):
            notes.append(Finding(key, "note", f"who writes it decides whom the gateway trusts: {place} {reason}", fix))
    for name, resource in config.resources.items():
        notes += _resource_notes(f"resources.{name}", resource, config)
    return notes


def _resource_notes(key: str, resource: ResourceConfig, config: Config) -> list[Finding]:
    """The notes on one resource."""
    from onrecord.policies.config import HttpResource, KubernetesResource, PostgresResource, SshResource
    from onrecord.scripts.checks.finding import Finding

    gateway = config.gateway
    notes: list[Finding] = []
    if isinstance(resource, HttpResource | KubernetesResource) and gateway.http is None:
        notes.append(Finding(key, "note", "nobody can reach it: gateway.http is not set"))
    elif isinstance(resource, PostgresResource) and gateway.postgres is None:
        notes.append(Finding(key, "note", "nobody can reach it: gateway.postgres is not set"))
    elif isinstance(resource, SshResource) and gateway.ssh is None:
        notes.append(Finding(key, "note", "nobody can reach it: gateway.ssh is not set"))
    if isinstance(resource, SshResource) and resource.interactive == "record":
        text = 'interactive = "record": what is typed into shells is on record, and not decided'
        notes.append(Finding(key, "note", text))
    if isinstance(resource, PostgresResource) and resource.sslmode == "require":
        notes.append(Finding(key, "note", "sslmode=require encrypts but does not check who answers"))
    if resource.default == "allow" and not config.policies:
        notes.append(Finding(key, "note", 'default = "allow" and no policy: every understood command passes'))
    return notes


def _print(findings: list[Finding], *, as_json: bool) -> None:
    import msgspec

    if as_json:
        failed = any(finding.status == "failed" for finding in findings)
        print(msgspec.json.encode({"ok": not failed, "findings": findings}).decode())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark, style = MARKS[finding.status]
        line = Text.assemble((mark, style), " ", (finding.where, "bold"), f": {finding.text}")
        console.print(line + Text(f" ({finding.fix})", style="dim") if finding.fix else line)


def register(app: typer.Typer) -> None:
    """Add `check` to the command line."""
    app.command()(check)
