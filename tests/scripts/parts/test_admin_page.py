"""scripts/parts/admin_page.py: a browser without a screen, before a running gateway."""

from __future__ import annotations

import pytest

from onrecord.scripts.parts.admin_page import AdminPage
from onrecord.scripts.parts.postgres import PartError
from tests.helpers import free_port, make_config, running_gateway


def test_it_logs_in_and_sees_an_empty_queue(tmp_path):
    setup = make_config(tmp_path, gateway={"admin": f"127.0.0.1:{free_port()}", "http": None, "postgres": None})
    with running_gateway(setup):
        origin = f"http://127.0.0.1:{setup.admin_port}"
        with AdminPage(origin, lambda: setup.mint("dana", groups=("dba",), human=True)) as page:
            assert page.waiting() == []
            with pytest.raises(PartError, match="404"):
                page.review("0197a3c2-7d1e-7000-8000-000000000000")("x")
        with pytest.raises(PartError, match="403"), AdminPage(origin, lambda: setup.mint("devin")):
            pass
