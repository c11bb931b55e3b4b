"""How a launcher runs the server's program: `PYTHON -P -m reapi_local serve --data-dir DIR …`."""

from __future__ import annotations

PACKAGES = ("reapi_local", "reapi_contract")
"""The packages of this project that the server needs."""

MODULE = "reapi_local"
"""The module that `python -m` runs."""

NEEDS = "reapi_local.compose.server"
"""An interpreter that can import this module can run the server."""

MIN_PYTHON = (3, 11)
NEEDED_PYTHON = "CPython {}.{} or newer".format(*MIN_PYTHON)
"""What messages call the Python that can run the server."""

SERVE = "serve"
"""Run the server in the foreground."""

CHECK = "check"
"""Try a server that somebody else runs: `check ADDRESS` writes proofs to stdout as JSON."""

TLS = "tls"
TLS_INIT = "init"
"""Make certificates: `tls init [DIR]` with the flags below. The output is for people."""

HOST_FLAG = "--host"
CLIENT_FLAG = "--client"
RENEW_FLAG = "--renew"

SCHEME_PORTS = {"grpc": 80, "grpcs": 443}
"""The schemes that such an address may have, each with its default port."""

INSTANCE_FLAG = "--instance"
TOKEN_PATH_FLAG = "--token-path"
CA_CERTS_PATH_FLAG = "--ca-certs-path"
CLIENT_CERTS_PATH_FLAG = "--client-certs-path"
CLIENT_KEY_PATH_FLAG = "--client-key-path"

EXPORT, REPLAY, SHELL = "export", "replay", "shell"
"""What is done with an action as a client: `replay ACTION`, with the flags below. `ACTION` is
HASH/SIZE, and the token is read from the state file of the data directory."""

ADDRESS_FLAG = "--address"
DATA_DIR_FLAG = "--data-dir"
FUNCTION_FLAG = "--function"
TO_FLAG = "--to"
JSON_FLAG = "--json"
SANDBOX_FLAG = "--sandbox"
HERMETIC_FLAG = "--hermetic"
SHOW_FLAG = "--show"
