"""Which requests administer a cluster: mint credentials, grant rights, plant code, reach past the API server.

After the API server's own hardening guides (RBAC good practices, Pod Security Standards). The reasons are for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onrecord.policies.kubernetes.dangers import pod_dangers
from onrecord.policies.kubernetes.patches import PatchError, as_object, may_drop_labels, unknowable

READS = frozenset({"get", "list", "watch"})
_RBAC = frozenset({"roles", "clusterroles", "rolebindings", "clusterrolebindings"})
_ADMISSION = frozenset(
    {
        "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "validatingadmissionpolicies",
        "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
    }
)  # fmt: skip
_WRITES = {
    **dict.fromkeys(_RBAC, "changes who may do what (RBAC)"),
    **dict.fromkeys(_ADMISSION, "changes what the API server admits"),
    "apiservices": "puts another server behind the API",
    "certificatesigningrequests": "asks for a client certificate",
    "clustertrustbundles": "changes which certificates are trusted",
    "podsecuritypolicies": "changes which pods are admitted",
    "securitycontextconstraints": "changes which pods are admitted",
    "podcertificaterequests": "asks for a client certificate",
    "auditsinks": "changes the audit",
    "tokenreviews": "tests a token",
    "nodes/status": "changes where the API server finds a kubelet",
    "services/status": "may draw to a service what is meant for other addresses",
    "serviceaccounts/token": "mints a service account's token",
    "certificatesigningrequests/approval": "approves a client certificate",
    "certificatesigningrequests/status": "issues a client certificate",
}
_PROXIES = {
    "nodes": "reaches the kubelet, which can run commands in any pod",
    "pods": "reaches a pod past the API",
    "services": "reaches a service past the API",
}
_KINDS = {
    **dict.fromkeys(
        ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"), "changes who may do what (RBAC)"
    ),
    **dict.fromkeys(
        (
            "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
        ),
        "changes what the API server admits",
    ),
    "APIService": "puts another server behind the API",
    "CertificateSigningRequest": "asks for a client certificate",
    "TokenRequest": "mints a service account's token",
}  # fmt: skip
_TOKEN_SECRETS = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"})
_RIGHTS_MAPS = frozenset({("kube-system", "aws-auth"), ("kube-system", "extension-apiserver-authentication")})
# What makes a pod run other code, or as somebody else. In kube-system some accounts may do all that there is.
_CODE = frozenset({"containers", "initContainers", "ephemeralContainers", "serviceAccountName", "serviceAccount"})
_OTHERS_ADDRESSES = frozenset({"externalIPs"})  # CVE-2020-8554: by design
_POD_SECURITY = "pod-security.kubernetes.io/"
# Resources whose objects never carry a pod template, so that a patch of unknown result changes no pod.
_NO_PODS = frozenset(
    {"configmaps", "events", "endpoints", "endpointslices", "leases", "secrets", "services", "ingresses"}
)


def admin_reasons(
    verb: str,
    resource: str,
    subresource: str = "",
    *,
    namespace: str = "",
    name: str = "",
    body: object = None,
    patch_type: str = "",
    seen: bool = True,
) -> tuple[str, ...]:
    """Why a request is `admin`; empty where it is not. `seen` is False where a write's body was not read."""
    return tuple(dict.fromkeys(_reasons(verb, resource, subresource, namespace, name, body, patch_type, seen)))


def _reasons(
    verb: str,
    resource: str,
    subresource: str,
    namespace: str,
    name: str,
    body: object,
    patch_type: str,
    seen: bool,
) -> Iterable[str]:
    if subresource == "proxy" and resource in _PROXIES:
        yield _PROXIES[resource]
        return
    if verb in READS:
        return
    both = f"{resource}/{subresource}" if subresource else resource
    if both in _WRITES or (resource in _RBAC | _ADMISSION):
        yield _WRITES.get(both) or _WRITES[resource]
    if resource == "configmaps" and _touches_a_rights_map(verb, namespace, {name, _own_name(body)}):
        yield "changes who may do what (a ConfigMap that maps identities)"
    if verb in ("delete", "deletecollection"):
        return
    if not seen:
        yield "a body that could not be read"
        return
    yield from _of_body(resource, namespace, body, patch_type)
    if resource == "namespaces" and verb != "create" and may_drop_labels(verb, body, patch_type):
        yield "may change which pods a namespace admits"


def _touches_a_rights_map(verb: str, namespace: str, names: set[str]) -> bool:
    """A collection is deleted by selectors, which may select such a ConfigMap."""
    return any(namespace in (one, "") and (verb == "deletecollection" or name in names) for one, name in _RIGHTS_MAPS)


def _own_name(body: object) -> str:
    """The name that an object has for itself: a create has it nowhere else, and may leave out its kind."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _of_body(resource: str, namespace: str, body: object, patch_type: str) -> Iterable[str]:
    try:
        value = as_object(body, patch_type) if patch_type else body
        if patch_type and resource not in _NO_PODS and unknowable(body, patch_type):
            yield "a patch that copies what only the live object holds"
    except PatchError as error:
        yield str(error)
        return
    if resource == "customresourcedefinitions":
        if _find(value, "conversion", lambda item: not _is_plain_conversion(item)):
            yield "lets a webhook rewrite objects (CRD conversion)"
    elif resource != "configmaps":
        yield from pod_dangers(value)
    yield from _of_kinds(value)
    if namespace == "kube-system" and _sets(value, _CODE):
        yield "runs code with the rights of the cluster's own parts (kube-system)"
    if resource == "services" and _sets(value, _OTHERS_ADDRESSES):
        yield _WRITES["services/status"]
    if resource == "secrets" and _find(value, "type", _is_token_secret):
        yield "mints a token by a Secret"
    if resource == "namespaces" and _pod_security(value):  # `status` and `finalize` take labels too
        yield "changes which pods a namespace admits"


def _of_kinds(value: object) -> Iterable[str]:
    """Objects of another kind than the path's: in Lists, and in custom resources that carry manifests."""
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            kind = item.get("kind")
            if isinstance(kind, str) and kind in _KINDS and "apiVersion" in item:
                yield _KINDS[kind]
            elif kind == "Secret" and _is_token_secret(item.get("type")):
                yield "mints a token by a Secret"
            elif kind == "ConfigMap" and _names_a_rights_map(item):
                yield "changes who may do what (a ConfigMap that maps identities)"
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def _names_a_rights_map(item: dict[str, Any]) -> bool:
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return isinstance(name, str) and ("kube-system", name) in _RIGHTS_MAPS


def _is_token_secret(item: object) -> bool:
    return isinstance(item, str) and item in _TOKEN_SECRETS


def _is_plain_conversion(item: object) -> bool:
    return item is None or (isinstance(item, dict) and item.get("strategy", "None") == "None" and "webhook" not in item)


def _find(root: object, name: str, test: Any) -> bool:
    pending: list[object] = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            for key, value in item.items():
                if key == name and not isinstance(value, list) and test(value):
                    return True
                pending.append(value)
        elif isinstance(item, list):
            pending += item
    return False


def _sets(root: object, names: frozenset[str]) -> bool:
    """Whether one of `names` has a value, anywhere."""
    pending: list[object] = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if any(value for name, value in item.items() if name in names):
                return True
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return False


def _pod_security(root: object) -> bool:
    pending: list[object] = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if any(isinstance(key, str) and key.startswith(_POD_SECURITY) for key in item):
                return True
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return False
