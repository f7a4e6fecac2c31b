import socket

from onrecord.scripts.parts.ports import free_port, free_ports


def test_free_ports_are_different_and_free():
    ports = free_ports(8)
    assert len(set(ports)) == 8
    for port in (*ports, free_port()):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
