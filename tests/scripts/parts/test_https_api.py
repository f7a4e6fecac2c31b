import json
import socket
import ssl

import httpx
import wsproto
import wsproto.events as ws

from onrecord.scripts.parts.https_api import HttpsApi


def client(api: HttpsApi) -> httpx.Client:
    return httpx.Client(
        base_url=f"https://localhost:{api.port}",
        verify=ssl.create_default_context(cafile=str(api.ca)),
        trust_env=False,
    )


def test_invoices_and_refunds_are_json_and_remembered(api):
    with client(api) as http:
        assert len(http.get("/v1/invoices").json()["invoices"]) == 5
        assert http.get("/v1/invoices/inv_0002").json()["status"] == "open"
        created = http.post("/v1/refunds", json={"invoice": "inv_0001"}, headers={"authorization": "Bearer held"})
        assert (created.status_code, created.json()["refund"]) == (201, {"invoice": "inv_0001"})
    (refund,) = api.received("/v1/refunds")
    assert json.loads(refund.body) == {"invoice": "inv_0001"}
    assert refund.header("authorization") == "Bearer held"


def test_big_answers_have_the_size_asked_for(api):
    with client(api) as http:
        assert len(http.get("/big?bytes=1000").content) == 1000
        assert len(http.get("/big?bytes=2000000").content) == 2_000_000


def test_events_arrive_one_by_one(api):
    with client(api) as http, http.stream("GET", "/sse?events=3") as answer:
        assert "".join(answer.iter_text()).count("data:") == 3


def test_junk_ends_only_that_connection(api):
    context = ssl.create_default_context(cafile=str(api.ca))
    with (
        socket.create_connection((api.host, api.port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"\x00\x01junk\r\n\r\n")
        assert tls.recv(100) == b""
    with client(api) as http:
        assert http.get("/echo").status_code == 200


def test_the_websocket_echoes_and_remembers(api):
    context = ssl.create_default_context(cafile=str(api.ca))
    peer = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    with (
        socket.create_connection((api.host, api.port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        tls.sendall(peer.send(ws.Request(host="localhost", target="/ws")))
        events: list[ws.Event] = []
        while not any(isinstance(event, ws.TextMessage) for event in events):
            peer.receive_data(tls.recv(4096))
            for event in peer.events():
                events.append(event)
                if isinstance(event, ws.AcceptConnection):
                    tls.sendall(peer.send(ws.TextMessage(data="hello")))
        assert [event.data for event in events if isinstance(event, ws.TextMessage)] == ["hello"]
    assert [seen.body for seen in api.requests if seen.method == "WEBSOCKET"] == [b"hello"]


def test_without_the_demanded_credential_it_is_401():
    with HttpsApi(authorization="Bearer held") as api, client(api) as http:
        assert http.get("/v1/invoices").status_code == 401
        assert http.get("/v1/invoices", headers={"authorization": "Bearer held"}).status_code == 200
