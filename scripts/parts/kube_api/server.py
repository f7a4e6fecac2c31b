"""The small API server: discovery, OpenAPI, objects, watches, logs, Tables, dry runs, and an audit log."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from onrecord.scripts.parts.certs import Authority
from onrecord.scripts.parts.https_api import Headers, HttpsApi, Received, send
from onrecord.scripts.parts.kube_api import kinds, openapi
from onrecord.scripts.parts.kube_api.store import (
    Key,
    Store,
    StoreError,
    json_patch,
    merge_patch,
    strategic_patch,
)

VERSION = {"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"}
SECONDS = 300  # the longest watch


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request as the API server's own audit log has it; `user` after impersonation, `extra` its headers."""

    id: str
    verb: str
    uri: str
    user: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    body: bytes


class KubeApi(HttpsApi):
    """`tokens` are accepted as Bearer (any, where it is empty). `audit` is the log; change `store` only before use.

    `streams` answers exec, attach and port-forward where it is set: `await streams(request, reader, writer)`.
    """

    def __init__(
        self, *names: str, tokens: Iterable[str] = (), prefix: str = "", client_ca: Path | None = None,
        authority: Authority | None = None,
    ) -> None:  # fmt: skip
        super().__init__(*(names or ("prod.k8s.internal",)), client_ca=client_ca, authority=authority)
        self.tokens, self.prefix = set(tokens), prefix
        self.store = Store()
        self.audit: list[AuditEntry] = []
        self.logs: dict[tuple[str, str], list[str]] = {}
        self.open_watches = 0
        self.streams: Any = None
        for name in ("default", "kube-system"):
            self.store.create(("", "namespaces", "", name), {"apiVersion": "v1", "kind": "Namespace", "metadata": {}})

    def add(self, value: dict[str, Any]) -> dict[str, Any]:
        """Put an object into the cluster, from any thread."""
        group = value["apiVersion"].partition("/")[0] if "/" in value["apiVersion"] else ""
        kind = next(kind for kind in kinds.KINDS if kind.kind == value["kind"] and kind.group == group)
        namespace = value["metadata"].get("namespace", "default") if kind.namespaced else ""
        return dict(self._call(self.store.create, (group, kind.plural, namespace, value["metadata"]["name"]), value))

    def change(self, group: str, plural: str, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Merge `patch` into an object, from any thread."""
        key = (group, plural, namespace, name)
        return dict(self._call(lambda: self.store.replace(key, merge_patch(self.store.get(key), patch))))

    def write_log(self, namespace: str, pod: str, line: str) -> None:
        """One more line of a pod's log; followers get it."""
        self.logs.setdefault((namespace, pod), []).append(line)

    def _call(self, function: Any, *arguments: Any) -> Any:
        if self._thread is None:
            return function(*arguments)

        async def call() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    # --- one request

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while True:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
            if not isinstance(event, h11.Request):
                return
            body = b""
            while True:
                while (data := http.next_event()) is h11.NEED_DATA:
                    http.receive_data(await reader.read(65536))
                if not isinstance(data, h11.Data):
                    break
                body += bytes(data.data)
            headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
            request = Received(event.method.decode(), event.target.decode("latin-1"), headers, body)
            self.requests.append(request)
            if await self._one(request, http, reader, writer):
                return
            if http.our_state is h11.MUST_CLOSE:
                return
            http.start_next_cycle()

    async def _one(
        self, request: Received, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer; True where the connection has become something else."""
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        if self.tokens and token not in self.tokens:
            await self._json(http, writer, request, 401, _status(401, "Unauthorized", "Unauthorized"))
            return False
        path = urlsplit(request.target).path
        if self.prefix and not path.startswith(self.prefix):
            await self._json(http, writer, request, 404, _status(404, "NotFound", "not this cluster"))
            return False
        asked = _Asked(request, path.removeprefix(self.prefix))
        self._note(request, asked)
        if self.streams is not None and asked.subresource in ("exec", "attach", "portforward"):
            await self.streams(self, request, reader, writer)
            return True
        try:
            if asked.verb == "watch":
                await self._watch(asked, http, reader, writer)
                return True
            if asked.subresource == "log":
                return await self._log(asked, http, reader, writer)
            code, content = self._answer_to(asked)
        except StoreError as error:
            code, content = error.code, _status(error.code, error.reason, error.message)
        await self._json(http, writer, request, code, content)
        return False

    def _note(self, request: Received, asked: _Asked) -> None:
        user = request.header("impersonate-user") or "gateway"
        groups = tuple(value for name, value in request.headers if name == "impersonate-group")
        extra = tuple(
            (name.removeprefix("impersonate-extra-"), value)
            for name, value in request.headers
            if name.startswith("impersonate-extra-")
        )
        id = request.header("audit-id") or str(uuid.uuid4())
        self.audit.append(
            AuditEntry(id, asked.verb, request.target, user, groups, extra, request.headers, request.body)
        )

    def _answer_to(self, asked: _Asked) -> tuple[int, Any]:
        if not asked.plural:
            return self._outside(asked)
        kind = kinds.find(asked.group, asked.plural)
        if kind is None or (asked.subresource and asked.subresource not in kind.subresources):
            raise StoreError(404, "NotFound", "the server could not find the requested resource")
        if asked.subresource in (
            "scale",
            "eviction",
            "token",
            "proxy",
            "binding",
            "approval",
            "exec",
            "attach",
            "portforward",
        ):
            return self._subresource(kind, asked)
        if asked.verb == "list":
            return 200, self._list(kind, asked)
        if asked.verb == "get":
            return 200, self._shown(kind, [self.store.get(asked.key)], asked, single=True)
        if asked.verb == "create":
            return self._create(kind, asked)
        if asked.verb == "update":
            return 200, self._written(kind, self.store.replace(asked.key, asked.body(), dry_run=asked.dry_run), asked)
        if asked.verb == "patch":
            return self._patch(kind, asked)
        if asked.verb == "delete":
            gone = self.store.delete(asked.key, dry_run=asked.dry_run)
            details = {"name": asked.name, "kind": kind.plural, "uid": gone["metadata"]["uid"]}
            return 200, {**_status(200, "", ""), "status": "Success", "details": details}
        if asked.verb == "deletecollection":
            for one in self._selected(kind, asked):
                namespace = one["metadata"].get("namespace", "")
                self.store.delete((kind.group, kind.plural, namespace, one["metadata"]["name"]), dry_run=asked.dry_run)
            return 200, {**_status(200, "", ""), "status": "Success"}
        raise StoreError(405, "MethodNotAllowed", asked.verb)

    def _outside(self, asked: _Asked) -> tuple[int, Any]:
        path = asked.path
        if path == "/version":
            return 200, VERSION
        if path in ("/healthz", "/livez", "/readyz"):
            return 200, "ok"
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if path == "/apis":
            return 200, kinds.group_list()
        parts = path.strip("/").split("/")
        if path == "/api/v1":
            return 200, kinds.resource_list("")
        if parts[0] == "apis" and parts[1] in kinds.GROUPS:
            return 200, kinds.api_group(parts[1]) if len(parts) == 2 else kinds.resource_list(parts[1])
        if path == "/openapi/v3":
            return 200, openapi.index()
        if path.startswith("/openapi/v3/") and (found := openapi.document(path.removeprefix("/openapi/v3/"))):
            return 200, found
        raise StoreError(404, "NotFound", "the server could not find the requested resource")

    def _create(self, kind: kinds.Kind, asked: _Asked) -> tuple[int, Any]:
        body = asked.body()
        if asked.plural == "selfsubjectreviews":
            return 201, {**body, "status": {"userInfo": {"username": "gateway"}}}
        if asked.group in ("authorization.k8s.io", "authentication.k8s.io"):
            return 201, {
                **body,
                "status": {"allowed": True, "resourceRules": [], "nonResourceRules": [], "incomplete": False},
            }
        metadata = body.get("metadata") or {}
        name = metadata.get("name") or (metadata.get("generateName", "") + uuid.uuid4().hex[:5])
        body = self._defaulted(kind, body)
        made = self.store.create((kind.group, kind.plural, asked.namespace, name), body, dry_run=asked.dry_run)
        return 201, self._written(kind, made, asked)

    def _patch(self, kind: kinds.Kind, asked: _Asked) -> tuple[int, Any]:
        media = (asked.request.header("content-type") or "").partition(";")[0]
        patch = asked.body()
        if media == "application/apply-patch+yaml":
            manager = asked.query.get("fieldManager", [""])[0]
            note: dict[str, Any] = {"manager": manager, "operation": "Apply", "apiVersion": kind.group_version}
            note = {**note, "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {}}}
            if asked.key not in self.store.objects:
                made = self._defaulted(kind, patch)
                made.setdefault("metadata", {})["managedFields"] = [note]
                return 201, self._written(kind, self.store.create(asked.key, made, dry_run=asked.dry_run), asked)
            made = strategic_patch(self.store.get(asked.key), patch)
        else:
            before = self.store.get(asked.key)
            apply = {
                "application/json-patch+json": json_patch,
                "application/merge-patch+json": merge_patch,
                "application/strategic-merge-patch+json": strategic_patch,
            }.get(media)
            if apply is None:
                raise StoreError(415, "UnsupportedMediaType", f"the patch type {media} is not known")
            made = apply(copy.deepcopy(before), patch)
        if not isinstance((made.get("metadata") or {}).get("labels") or {}, dict):
            # As the real one: what does not decode is quoted whole (apiserver, endpoints/handlers/patch.go).
            quoted = json.dumps(json.dumps(made))
            raise StoreError(422, "Invalid", f' "" is invalid: patch: Invalid value: {quoted}: labels: expect {{ or n')
        made = self._defaulted(kind, made, before=self.store.get(asked.key))
        return 200, self._written(kind, self.store.replace(asked.key, made, dry_run=asked.dry_run), asked)

    def _defaulted(self, kind: kinds.Kind, body: dict[str, Any], before: Any = None) -> dict[str, Any]:
        """With the status that controllers would give it, so that rollouts and waits come to an end."""
        made = {"apiVersion": kind.group_version, "kind": kind.kind, **copy.deepcopy(body)}
        spec = made.get("spec") or {}
        if kind.plural in ("deployments", "replicasets", "statefulsets"):
            count = spec.get("replicas", 1)
            made["spec"] = {**spec, "replicas": count}
            metadata = made.setdefault("metadata", {})
            changed = before is not None and before.get("spec") != made["spec"]
            metadata["generation"] = (before["metadata"].get("generation", 1) + changed) if before is not None else 1
            made["status"] = {
                "observedGeneration": metadata["generation"],
                **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count),
                "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}],
            }
        if kind.plural == "pods" and "status" not in made:
            made["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        return made

    def _subresource(self, kind: kinds.Kind, asked: _Asked) -> tuple[int, Any]:
        if asked.subresource == "scale":
            value = self.store.get(asked.key)
            if asked.verb != "get":
                media = (asked.request.header("content-type") or "").partition(";")[0]
                body = asked.body()
                if media == "application/json-patch+json":
                    body = json_patch({"spec": {"replicas": value["spec"]["replicas"]}}, body)
                made = merge_patch(value, {"spec": {"replicas": body["spec"]["replicas"]}})
                value = self.store.replace(asked.key, self._defaulted(kind, made, before=value), dry_run=asked.dry_run)
            metadata = {
                k: value["metadata"][k]
                for k in ("name", "namespace", "uid", "resourceVersion")
                if k in value["metadata"]
            }
            count = value["spec"].get("replicas", 1)
            return 200, {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
                         "spec": {"replicas": count}, "status": {"replicas": count, "selector": ""}}  # fmt: skip
        if asked.subresource == "token":
            return 201, {
                **asked.body(),
                "status": {"token": "minted-service-account-token", "expirationTimestamp": None},
            }
        if asked.subresource == "eviction":
            self.store.delete(asked.key, dry_run=asked.dry_run)
            return 201, {**_status(201, "", ""), "status": "Success"}
        if asked.subresource == "proxy":
            return 200, f"proxied {asked.request.method} {asked.path}"
        if asked.subresource == "approval":
            return 200, self.store.replace(asked.key, asked.body())
        raise StoreError(400, "BadRequest", "Upgrade request required")

    # --- lists

    def _selected(self, kind: kinds.Kind, asked: _Asked) -> list[dict[str, Any]]:
        found = self.store.list(kind.group, kind.plural, asked.namespace)
        fields = dict(_terms(asked.query.get("fieldSelector", [""])[0]))
        labels = dict(_terms(asked.query.get("labelSelector", [""])[0]))
        return [
            one
            for one in found
            if all((one["metadata"].get("labels") or {}).get(key) == value for key, value in labels.items())
            and fields.get("metadata.name", one["metadata"]["name"]) == one["metadata"]["name"]
        ]

    def _list(self, kind: kinds.Kind, asked: _Asked) -> dict[str, Any]:
        found = self._selected(kind, asked)
        start = int(base64.b64decode(asked.query["continue"][0])) if asked.query.get("continue") else 0
        limit = int(asked.query.get("limit", ["0"])[0]) or len(found)
        page = found[start : start + limit]
        more = {}
        if start + limit < len(found):
            token = base64.b64encode(str(start + limit).encode()).decode()
            more = {"continue": token, "remainingItemCount": len(found) - start - limit}
        return self._shown(kind, page, asked, more=more)

    def _shown(
        self, kind: kinds.Kind, objects: list[dict[str, Any]], asked: _Asked, *, single: bool = False, more: Any = None
    ) -> dict[str, Any]:
        version = str(self.store.version)
        if "as=Table" in asked.accept:
            return kinds.table(
                kind, objects, version, include=asked.query.get("includeObject", ["Metadata"])[0], more=more
            )
        if "as=PartialObjectMetadata" in asked.accept:
            objects = [
                {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]}
                for one in objects
            ]
        if single:
            return objects[0]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.group_version,
                "metadata": {"resourceVersion": version, **(more or {})}, "items": objects}  # fmt: skip

    def _written(self, kind: kinds.Kind, value: dict[str, Any], asked: _Asked) -> dict[str, Any]:
        return self._shown(kind, [value], asked, single=True)

    # --- streams of the plain kind

    async def _watch(
        self, asked: _Asked, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        kind = kinds.find(asked.group, asked.plural)
        if kind is None:
            raise StoreError(404, "NotFound", "the server could not find the requested resource")
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        since = asked.query.get("resourceVersion", [""])[0]
        self.store.check_version(since)
        if since in ("", "0"):
            for one in self._selected(kind, asked):
                queue.put_nowait({"type": "ADDED", "object": one})
        else:
            for one in self._selected(kind, asked):
                if int(one["metadata"]["resourceVersion"]) > int(since):
                    queue.put_nowait({"type": "ADDED", "object": one})
        if asked.query.get("sendInitialEvents") == ["true"]:
            marks = {"annotations": {"k8s.io/initial-events-end": "true"}, "resourceVersion": str(self.store.version)}
            mark = {"kind": kind.kind, "apiVersion": kind.group_version, "metadata": marks}
            queue.put_nowait({"type": "BOOKMARK", "object": mark})
        entry = (asked.group, asked.plural, asked.namespace, queue)
        self.store.watches.append(entry)
        self.open_watches += 1
        gone = asyncio.ensure_future(reader.read(1))
        try:
            headers: Headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")]
            await send(http, writer, h11.Response(status_code=200, headers=headers))
            async with asyncio.timeout(float(asked.query.get("timeoutSeconds", [str(SECONDS)])[0])):
                while True:
                    wait = asyncio.ensure_future(queue.get())
                    try:
                        await asyncio.wait({wait, gone}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        wait.cancel()  # nothing where it is done
                    if gone.done():
                        return
                    event = wait.result()
                    if event is None:
                        return
                    one = event["object"]
                    if event["type"] != "BOOKMARK":
                        names = dict(_terms(asked.query.get("fieldSelector", [""])[0]))
                        if names.get("metadata.name", one["metadata"]["name"]) != one["metadata"]["name"]:
                            continue
                        one = self._shown(kind, [one], asked, single=True)
                    line = json.dumps({"type": event["type"], "object": one}, separators=(",", ":")).encode() + b"\n"
                    await send(http, writer, h11.Data(data=line))
        except TimeoutError:
            if asked.query.get("allowWatchBookmarks") == ["true"]:
                await send(http, writer, h11.Data(data=kinds.bookmark(kind, str(self.store.version))))
            await send(http, writer, h11.EndOfMessage())
        finally:
            gone.cancel()
            self.open_watches -= 1
            self.store.watches.remove(entry)

    async def _log(
        self, asked: _Asked, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        self.store.get(asked.key)
        lines = self.logs.setdefault((asked.namespace, asked.name), [])
        headers: Headers = [("content-type", "text/plain"), ("transfer-encoding", "chunked")]
        await send(http, writer, h11.Response(status_code=200, headers=headers))
        sent = 0
        follow = asked.query.get("follow", ["false"])[0] in ("true", "1")
        gone = asyncio.ensure_future(reader.read(1)) if follow else None
        self.open_watches += follow
        try:
            while True:
                while sent < len(lines):
                    await send(http, writer, h11.Data(data=lines[sent].encode() + b"\n"))
                    sent += 1
                if not follow or (gone is not None and gone.done()):
                    break
                await asyncio.sleep(0.01)
        finally:
            self.open_watches -= follow
            if gone is not None:
                gone.cancel()
        with contextlib.suppress(ConnectionError):
            await send(http, writer, h11.EndOfMessage())
        return follow

    async def _json(
        self, http: h11.Connection, writer: asyncio.StreamWriter, request: Received, code: int, content: Any
    ) -> None:
        text = isinstance(content, str)
        body = content.encode() if text else json.dumps(content, separators=(",", ":")).encode()
        headers: Headers = [("content-type", "text/plain" if text else "application/json"),
                            ("content-length", str(len(body)))]  # fmt: skip
        data = () if request.method == "HEAD" else (h11.Data(data=body),)
        await send(http, writer, h11.Response(status_code=code, headers=headers), *data, h11.EndOfMessage())


class _Asked:
    """A request, read loosely: the gateway is what is strict."""

    def __init__(self, request: Received, path: str) -> None:
        self.request, self.path = request, path
        self.query = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
        self.accept = request.header("accept") or ""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        self.group = self.plural = self.namespace = self.name = self.subresource = ""
        if parts[0] == "api" and len(parts) > 2:
            parts = parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            self.group, parts = parts[1], parts[3:]
        else:
            self.verb = "get"
            return
        watch = parts[0] == "watch"
        parts = parts[1:] if watch else parts
        if parts[0] == "namespaces" and len(parts) > 1:
            self.namespace = parts[1]
            if len(parts) > 2 and parts[2] not in ("status", "finalize"):
                parts = parts[2:]
        self.plural, self.name, self.subresource = [*parts, "", "", ""][:3]
        watch = watch or self.query.get("watch", ["false"])[0] in ("true", "1")
        verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        self.verb = verbs.get(request.method, "get")
        if self.verb == "get" and (watch or not self.name):
            self.verb = "watch" if watch else "list"
        if self.verb == "delete" and not self.name:
            self.verb = "deletecollection"
        self.dry_run = self.query.get("dryRun") == ["All"]

    @property
    def key(self) -> Key:
        namespace = "" if self.plural == "namespaces" else self.namespace
        return (self.group, self.plural, namespace, self.name)

    def body(self) -> Any:
        try:
            return json.loads(self.request.body)
        except ValueError:
            raise StoreError(400, "BadRequest", "the body is not JSON") from None


def _terms(selector: str) -> Iterable[tuple[str, str]]:
    for term in selector.split(","):
        key, sign, value = term.partition("=")
        if sign:
            yield key, value.removeprefix("=")


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": code}  # fmt: skip
