"""What `mitmdump -s addons/gateway.py --set onrecord_config=mitm.toml` loads: the gateway, assembled.

mitmproxy loads this file as a module of its own: it keeps no state and defines nothing.
"""

from __future__ import annotations

from onrecord.addons.assembly import Gateway

addons = [Gateway()]
