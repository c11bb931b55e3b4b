"""The command ``tls init``: makes certificates, and says how to use them."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reapi_contract.command_line import TLS
from reapi_contract.setting_names import flag
from reapi_local.tls.file_names import AUTHORITY, SERVER, client

if TYPE_CHECKING:
    from reapi_local.tls.init import Initialised

_ABOUT = """\
Make an authority of your own and certificates that it signs, for a server that
encrypts its connections. Files that exist are kept. Keys can be read by you
alone.
"""


def add_tls(commands: Any) -> None:
    """Add ``tls`` to the commands; :func:`run` runs it."""
    tls = commands.add_parser(TLS, help="make certificates for TLS")
    init = tls.add_subparsers(dest="tls_command", required=True, metavar="COMMAND").add_parser(
        "init",
        help="make an authority and a pair for the server",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument(
        "directory",
        nargs="?",
        metavar="DIR",
        help="where to put the files (default: tls in the user's configuration directory of "
        "reapi-local)",
    )
    for name, text in (
        ("host", "another name or address of the server; repeat it for more"),
        ("client", "also make a certificate for a client; repeat it for more"),
    ):
        init.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=text)
    init.add_argument(
        "--renew",
        action="store_true",
        help="replace the pairs of the server and of the clients named here; the authority stays",
    )


def run(options: dict[str, Any]) -> int:
    """Run the command; returns the exit status."""
    from reapi_local.tls.init import NotMade, init  # --help needs no cryptography

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
    yield from _flags("Bazel, beside the flags that `reapi-local up` prints:", bazel, joint="=")
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
