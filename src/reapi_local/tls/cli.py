"""The command ``tls init``: makes certificates, and says how to use them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reapi_contract.command_line import CLIENT_FLAG, HOST_FLAG, RENEW_FLAG, TLS, TLS_INIT
from reapi_contract.setting_names import flag
from reapi_local.tls.names import AUTHORITY, INSTALL_IT, NO_LIBRARY, SERVER, client

if TYPE_CHECKING:
    from reapi_local.tls.init import Initialised


def add_tls(commands: Any) -> None:
    """Add ``tls`` to the commands; :func:`run` runs it. The launcher has the help for people."""
    tls = commands.add_parser(TLS, help="make certificates")
    init = tls.add_subparsers(dest="tls_command", required=True).add_parser(
        TLS_INIT, help="make an authority and pairs that it signs"
    )
    init.add_argument("directory", nargs="?", metavar="DIR")
    for name in (HOST_FLAG, CLIENT_FLAG):
        init.add_argument(name, action="append", default=[], metavar="NAME")
    init.add_argument(RENEW_FLAG, action="store_true")


def run(options: dict[str, Any]) -> int:
    """Run the command; returns the exit status."""
    try:
        from reapi_local.tls.init import NotMade, init  # other commands need no cryptography
    except ImportError:
        print(f"reapi-local: {NO_LIBRARY}; {INSTALL_IT}", file=sys.stderr)
        return 1
    directory = Path(options["directory"] or _default_directory()).absolute()
    try:
        done = init(directory, options["host"], options["client"], renew=options["renew"])
    except NotMade as error:
        print(f"reapi-local: {error}", file=sys.stderr)
        return 1
    for line in _report(done):
        print(line)
    return 0


def _default_directory() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return root / "reapi-local" / "tls"


def _report(done: Initialised) -> Iterator[str]:
    """What was made, and the settings of the server and its clients that use it."""
    for word, paths in (("made", done.made), ("kept", done.kept)):
        if paths:
            yield f"{word} in {done.directory}:"
            yield f"  {' '.join(path.name for path in paths)}"
    yield f"The server's certificate is for {', '.join(done.hosts)}."
    authority = done.certificate(AUTHORITY)
    server = {flag("tls_cert"): done.certificate(SERVER), flag("tls_key"): done.key(SERVER)}
    if done.clients:
        server[flag("tls_client_ca")] = authority
    yield from _flags("Start the server:", server, "  reapi-local serve")
    trusted = {"remote_ca_certs_path": authority}
    bazel = {"--tls_certificate": authority}
    casd = {"--server-cert": authority}
    for name in done.clients[:1]:
        pair = done.certificate(client(name)), done.key(client(name))
        trusted |= zip(("remote_client_certs_path", "remote_client_key_path"), pair, strict=True)
        bazel |= zip(("--tls_client_certificate", "--tls_client_key"), pair, strict=True)
        casd |= zip(("--client-cert", "--client-key"), pair, strict=True)
    yield "Pants, in [GLOBAL] of pants.toml:"
    yield from (f'  {option} = "{path}"' for option, path in trusted.items())
    yield from _flags("Bazel, beside the lines of `reapi-local bazelrc`:", bazel, joint="=")
    yield from _flags("buildbox-casd:", casd, joint="=")
    if not done.clients:
        yield "Clients send the token too. With --client they get certificates in its place."


def _flags(
    title: str, files: Mapping[str, Path], program: str = "", joint: str = " "
) -> Iterator[str]:
    yield title
    given = [f"{name}{joint}{shlex.quote(str(path))}" for name, path in files.items()]
    if program:
        yield " ".join([program, *given])
    else:
        yield from (f"  {one}" for one in given)
