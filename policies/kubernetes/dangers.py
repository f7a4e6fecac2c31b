"""What in an object lets a pod out of its container: privileged, host namespaces, host paths, capabilities.

The whole object is searched, not only where today's kinds have a pod template: CronJobs, Lists, patches, ephemeral
containers and custom resources carry the same fields. Names are compared without case. After the Pod Security
Standards' "baseline" profile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Pod Security Standards, baseline: what a container may add.
_HARMLESS = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
_FLAGS = {
    "privileged": "a privileged container",
    "hostnetwork": "the host's network",
    "hostpid": "the host's processes",
    "hostipc": "the host's IPC",
    "hostprocess": "a process on a Windows host",
}
# What a member says, but for these values.
_VALUES: dict[str, tuple[str, tuple[object, ...]]] = {
    "hostpath": ("a path of the host", (None,)),
    "hostport": ("a port of the host", (None, 0)),
    "procmount": ("an unmasked /proc", (None, "", "Default")),
}
_TYPES = {"seccompprofile": "no seccomp profile", "apparmorprofile": "no AppArmor profile"}
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    }
)  # fmt: skip
# Pod Security Standards, baseline: SELinux types; another one may be outside of all confinement (spc_t).
_SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
NODE = frozenset([*_FLAGS.values(), *_TYPES.values(), "a path of the host", "a port of the host", "an unmasked /proc"])


def pod_dangers(value: object) -> tuple[str, ...]:
    """What `value` (an object, a patch as an object) asks for beyond its container, each said once."""
    return tuple(dict.fromkeys(_search(value)))


dangers = pod_dangers


def _search(root: object) -> Iterable[str]:
    pending: list[object] = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                yield from _member(str(key).casefold(), str(key), item)
                pending.append(item)
        elif isinstance(value, list):
            pending += value


def _member(name: str, key: str, item: Any) -> Iterable[str]:
    if name in _FLAGS:
        if _is_set(item):
            yield _FLAGS[name]
    elif name in _VALUES:
        said, harmless = _VALUES[name]
        if item not in harmless:
            yield said
    elif name in _TYPES:
        kind = _get(item, "type")
        if item is not None and (not isinstance(item, dict) or kind == "Unconfined"):
            yield _TYPES[name]
    elif name in _PARTS:
        yield from _PARTS[name](item)
    elif key.startswith(_APPARMOR) and item == "unconfined":
        yield "no AppArmor profile"


def _is_set(item: object) -> bool:
    """Whether a flag may come out true: a dict is a schema that describes the field, and sets nothing."""
    return item not in (None, False) and not isinstance(item, dict)


def _capabilities(item: Any) -> Iterable[str]:
    added = _get(item, "add")
    names = added.values() if isinstance(added, dict) else added if isinstance(added, list) else [added]
    for one in names:
        if one is not None and str(one).upper().removeprefix("CAP_") not in _HARMLESS:
            yield f"the capability {str(one)[:40]}"


def _selinux(item: Any) -> Iterable[str]:
    kind = _get(item, "type")
    is_usual = kind is None or (isinstance(kind, str) and kind in _SELINUX)
    if not is_usual or _get(item, "user") or _get(item, "role"):
        yield "an SELinux context of its own"


def _sysctls(item: Any) -> Iterable[str]:
    for one in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        name = _get(one, "name")
        if isinstance(name, str) and name.replace("/", ".") not in _SYSCTLS:
            yield f"the kernel setting {name[:60]}"


def _local(item: Any) -> Iterable[str]:
    """A PersistentVolume's."""
    if _get(item, "path") is not None:
        yield "a path of the host"


_PARTS = {"capabilities": _capabilities, "sysctls": _sysctls, "selinuxoptions": _selinux, "local": _local}


def _get(item: object, wanted: str) -> Any:
    if isinstance(item, dict):
        for key, value in item.items():
            if str(key).casefold() == wanted:
                return value
    return None
