"""Method, path and query → what the API server is asked for. Pure; after k8s.io/apiserver's RequestInfo.

RequestInfo itself is forgiving: it trims slashes, defaults, and falls back to "list" where a query does not parse. What
it would read otherwise than it looks (encoded or empty segments, dot segments, odd case, a parameter twice or with a
value of no plain meaning) is refused here, so that what policies see is what the API server does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_plus

from onrecord.policies.errors import DecodeError

MAX_QUERY = 500  # fields

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_WORD = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,=-]{1,253}", re.ASCII)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPABLE = frozenset(":@!$&'()*+,=")
_OUTSIDE = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,=-]+", re.ASCII)
_LEADS = frozenset({"api", "apis"})
_DISCOVERY = re.compile(
    r"/|/api|/api/v1|/apis|/apis/[a-z0-9.-]+(?:/[a-z0-9]+)?|/version|/(?:healthz|livez|readyz)(?:/[A-Za-z0-9/_.-]+)?"
    r"|/openapi/v2|/openapi/v3(?:/[A-Za-z0-9/_.-]+)?|/swagger-?[a-z0-9./-]*|/metrics(?:/slis)?"
    r"|/\.well-known/openid-configuration|/openid/v1/jwks",
    re.ASCII,
)
# They show or change the API server itself: its logs, its profile, its log level.
_OF_THE_SERVER = ("/logs", "/debug", "/configz", "/flagz", "/statusz")
SCHEMA = ("/openapi/v2", "/openapi/v3")

_FLAGS = frozenset(
    {
        "watch", "allowWatchBookmarks", "sendInitialEvents", "force", "orphanDependents", "follow", "previous",
        "timestamps", "insecureSkipTLSVerifyBackend", "stdin", "stdout", "stderr", "tty", "exact", "export",
        "ignoreStoreReadErrorWithClusterBreakingPotential",
    }
)  # fmt: skip
_SINGLE = frozenset(
    {
        "pretty", "timeout", "timeoutSeconds", "limit", "continue", "labelSelector", "fieldSelector",
        "resourceVersion", "resourceVersionMatch", "fieldManager", "fieldValidation", "gracePeriodSeconds",
        "propagationPolicy", "container", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "includeObject",
        "stream", "path", "dryRun",
    }
)  # fmt: skip
# The API server reads dryRun with these, and acts.
_ALWAYS_REAL = frozenset({"exec", "attach", "portforward", "token"})
_MANY = frozenset({"command", "ports"})
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})


class KubeRequestError(DecodeError):
    """A request that the API server might read in another way. `status` is what the client gets."""

    def __init__(self, reason: str, hint: str = "", status: int = 400) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.status = reason, hint, status


@dataclass(frozen=True, slots=True)
class KubeRequest:
    """What is asked. Outside of resources `resource` is "" and `path` is all there is to know.

    `path` is decoded and without the prefix; `tail` are the segments behind a subresource, of `proxy` and of
    aggregated APIs. `flags` are the true ones of the query.
    """

    method: str
    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    tail: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    flags: frozenset[str] = frozenset()
    dry_run: bool = False

    def values(self, name: str) -> tuple[str, ...]:
        """The values of a query parameter, in order."""
        return tuple(value for key, value in self.query if key == name)

    def value(self, name: str) -> str:
        """The one value of a query parameter; "" where it is not there."""
        return next(iter(self.values(name)), "")

    @property
    def is_known_outside(self) -> bool:
        """Whether a path outside of resources is discovery, a schema, a version or a state of health."""
        return not self.resource and self.verb == "get" and _DISCOVERY.fullmatch(self.path) is not None

    @property
    def is_of_the_server(self) -> bool:
        """Whether it is about the API server's own logs, profile or flags."""
        return not self.resource and any(self.path == at or self.path.startswith(at + "/") for at in _OF_THE_SERVER)

    @property
    def is_schema(self) -> bool:
        """Whether it asks for OpenAPI documents, which hold no objects."""
        return not self.resource and self.path.startswith(SCHEMA)

    @property
    def is_watch(self) -> bool:
        return self.verb == "watch"

    @property
    def is_proxy(self) -> bool:
        return self.subresource == "proxy"


def read_request(method: str, target: str, prefix: str = "") -> KubeRequest:
    """One request. `prefix` stands in front of every path. Raises KubeRequestError."""
    if method not in _VERBS:
        raise KubeRequestError(f"the method {method[:20]} has no meaning to the Kubernetes API", status=405)
    raw_path, _, raw_query = target.partition("?")
    if prefix:
        if not raw_path.startswith(prefix + "/") and raw_path != prefix:
            raise KubeRequestError(
                f"the path is not below {prefix}", f"write {prefix} into the kubeconfig's server", 404
            )
        raw_path = raw_path[len(prefix) :] or "/"
    segments = _segments(raw_path)
    if len(segments) < 3 or segments[0] not in _LEADS or (segments[0] == "apis" and len(segments) < 4):
        return _outside(method, segments, raw_query)
    return _resource(method, segments, raw_query)


def _segments(path: str) -> list[str]:
    """The decoded segments of a path that has one reading. A last one may be empty behind `proxy`."""
    if not path.startswith("/"):
        raise KubeRequestError("a path that does not start with a slash")
    if path == "/":
        return []
    raw = path[1:].split("/")
    behind_proxy = "proxy" in raw[3:]
    found: list[str] = []
    for number, segment in enumerate(raw):
        if not segment and not (behind_proxy and number == len(raw) - 1):
            raise KubeRequestError("the path has an empty segment or ends with a slash", "send the plain path")
        text = _decoded(segment)
        if text in (".", ".."):
            raise KubeRequestError("the path holds dot segments", "send the path that is meant")
        found.append(text)
    return found


def _decoded(segment: str) -> str:
    if "%" in segment:
        if segment.count("%") != len(_ESCAPE.findall(segment)):
            raise KubeRequestError("the path holds a percent sign that begins no escape")
        for escape in _ESCAPE.findall(segment):
            character = chr(int(escape, 16))
            if character in _UNRESERVED or character not in _ESCAPABLE:
                raise KubeRequestError(f"the path holds the escape %{escape}", "send the plain character, or none")
        segment = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), segment)
    if segment and not _OUTSIDE.fullmatch(segment):
        raise KubeRequestError("the path holds a character that no Kubernetes path has")
    return segment


def _outside(method: str, segments: list[str], raw_query: str) -> KubeRequest:
    path = "/" + "/".join(segments)
    lower = path.lower()
    if lower != path and lower.startswith(("/api", "/openapi", "/version", "/logs", "/debug", "/healthz", "/metrics")):
        raise KubeRequestError("the path is in another case than the API server's", "paths are lower case")
    verb = {"create": "post", "update": "put"}.get(_VERBS[method], _VERBS[method])
    return KubeRequest(method=method, verb=verb, path=path, query=_fields(raw_query))


def _resource(method: str, segments: list[str], raw_query: str) -> KubeRequest:
    path = "/" + "/".join(segments)
    parts = segments[1:]
    group = ""
    if segments[0] == "apis":
        group, parts = parts[0], parts[1:]
        if not _WORD.fullmatch(group):
            raise KubeRequestError(f"not an API group: {group[:60]!r}", "groups are lower case")
    version, parts = parts[0], parts[1:]
    if not _LABEL.fullmatch(version):
        raise KubeRequestError(f"not an API version: {version[:60]!r}", "versions are lower case")
    verb = _VERBS[method]
    if parts[0] == "proxy":
        raise KubeRequestError("the old proxy paths are not supported", "use …/pods/NAME/proxy/", 404)
    legacy_watch = parts[0] == "watch"
    if legacy_watch:
        parts = parts[1:]
        if method != "GET" or not parts:
            raise KubeRequestError("a watch path with another method than GET, or of nothing")
        verb = "watch"
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if not _LABEL.fullmatch(namespace):
            raise KubeRequestError(f"not a namespace: {namespace[:60]!r}", "namespaces are lower-case labels")
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource, name, subresource, tail = _parts(parts)
    query = _fields(raw_query)
    request = KubeRequest(
        method=method,
        verb=verb,
        path=path,
        group=group,
        version=version,
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
        tail=tail,
        query=query,
    )
    if subresource == "proxy":
        return request  # the query is the other server's
    if tail and group in ("", "apps", "batch", "rbac.authorization.k8s.io"):
        raise KubeRequestError("more path than any resource of this group has", status=404)
    flags = _check_query(query)
    if legacy_watch and (subresource or "watch" in dict(query)):
        raise KubeRequestError("a watch path of a subresource, or with a second watch in its query")
    return _with_verb(request, flags, legacy_watch=legacy_watch)


def _parts(parts: list[str]) -> tuple[str, str, str, tuple[str, ...]]:
    """Resource, name, subresource and what follows."""
    resource = parts[0]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if not _WORD.fullmatch(resource) or (subresource and not _WORD.fullmatch(subresource)):
        raise KubeRequestError("not a resource or subresource in its usual form", "they are lower case")
    if len(parts) > 1 and not _NAME.fullmatch(name):
        raise KubeRequestError(f"not a name: {name[:60]!r}")
    return resource, name, subresource, tuple(parts[3:])


def _with_verb(request: KubeRequest, flags: frozenset[str], *, legacy_watch: bool) -> KubeRequest:
    verb, name = request.verb, request.name
    if "watch" in flags and verb not in ("get", "watch"):
        raise KubeRequestError("a watch with another method than GET")
    if verb == "get" and not name:
        verb = "watch" if "watch" in flags else "list"
        name = _selected_name(request.value("fieldSelector"))
    elif verb == "get" and "watch" in flags and request.subresource != "log":
        raise KubeRequestError("a watch of one name", "watch the list with fieldSelector=metadata.name=NAME")
    elif verb == "delete" and not name:
        verb = "deletecollection"
    if legacy_watch and not name:
        name = _selected_name(request.value("fieldSelector"))
    if verb in ("update", "patch") and not name:
        raise KubeRequestError(f"{request.method} without a name", status=405)
    if verb == "create" and name and not request.subresource:
        raise KubeRequestError("POST to a name that exists already", status=405)
    for parameter, subresource in (("command", "exec"), ("ports", "portforward")):
        if request.values(parameter) and request.subresource != subresource:
            raise KubeRequestError(f"the query parameter {parameter} without {subresource} says what is not done")
    dry_run = request.value("dryRun") == "All"
    if dry_run and verb in ("get", "list", "watch"):
        raise KubeRequestError("dryRun on a request that only reads")
    if dry_run and (request.subresource in _ALWAYS_REAL or request.resource == "tokenreviews"):
        raise KubeRequestError(f"dryRun of {request.subresource or request.resource}, which is done nevertheless")
    return KubeRequest(
        method=request.method,
        verb=verb,
        path=request.path,
        group=request.group,
        version=request.version,
        namespace=request.namespace,
        resource=request.resource,
        subresource=request.subresource,
        name=name,
        tail=request.tail,
        query=request.query,
        flags=flags,
        dry_run=dry_run,
    )


def _selected_name(selector: str) -> str:
    """The name that a field selector asks for exactly, as RequestInfo takes it."""
    for term in selector.split(","):
        for sign in ("==", "="):
            field, found, value = term.partition(sign)
            if found and field == "metadata.name" and _NAME.fullmatch(value) and value not in (".", ".."):
                return value
    return ""


def _fields(raw: str) -> tuple[tuple[str, str], ...]:
    """The fields of a query, decoded, in order."""
    if not raw:
        return ()
    if ";" in raw:
        raise KubeRequestError("the query holds a semicolon")
    parts = [part for part in raw.split("&") if part]
    if len(parts) > MAX_QUERY:
        raise KubeRequestError(f"a query of {len(parts)} fields is over the limit of {MAX_QUERY}")
    found: list[tuple[str, str]] = []
    for part in parts:
        name, _, value = part.partition("=")
        if part.count("%") != len(_ESCAPE.findall(part)):
            raise KubeRequestError("the query holds a percent sign that begins no escape")
        try:
            found.append((unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")))
        except UnicodeDecodeError:
            raise KubeRequestError("the query does not decode as UTF-8") from None
    return tuple(found)


def _check_query(query: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """The flags that are true. Every parameter must be one that the API server knows, with one plain meaning."""
    flags: set[str] = set()
    seen: set[str] = set()
    for name, value in query:
        if name in _MANY:
            continue
        if name not in _SINGLE and name not in _FLAGS:
            raise KubeRequestError(f"the query parameter {name[:60]!r} is not known", "leave it out")
        if name in seen:
            raise KubeRequestError(f"the query parameter {name} stands there twice")
        seen.add(name)
        if name in _FLAGS:
            if value not in _TRUE and value not in _FALSE:
                raise KubeRequestError(f"the query parameter {name} is neither true nor false")
            if value in _TRUE:
                flags.add(name)
        elif name == "dryRun" and value != "All":
            raise KubeRequestError("dryRun has one value only: All")
    return frozenset(flags)
