"""What makes Bazel use the server: flags for a command line, and the lines of a .bazelrc.

Source: the Bazel user manual, "bazelrc, the Bazel configuration file".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `help` needs no more of this module than a name
    from reapi_contract.state import State
    from reapi_local_launcher.server.running import Running

FILE = ".bazelrc.reapi-local"
"""The file in the home directory that messages suggest."""

_ABOUT = """\
# Made by `reapi-local bazelrc`. The token below is secret: nobody else may read this file.
"""
_CERTIFICATE = """\
# The server wants a certificate of its clients. Add those that were made for this one:
# build --tls_client_certificate=…/client-NAME.pem --tls_client_key=…/client-NAME-key.pem
"""


def instance_of(state: State) -> str:
    """The instance that clients use if nobody names one."""
    return state.instances[0] if state.instances else "default"


def flags(
    running: Running, instance: str, *, with_token: bool, execution: bool = False
) -> list[str]:
    """One flag in each element. `execution`: Bazel runs its actions on the server, too."""
    state = running.state
    found = [
        executor(running) if execution else f"--remote_cache={running.grpc_address}",
        f"--remote_instance_name={instance}",
    ]
    if with_token:
        found.append(f"--remote_header=authorization=Bearer {running.token}")
    if state.ca_certs_path:
        found.append(f"--tls_certificate={state.ca_certs_path}")
    return found


def executor(running: Running) -> str:
    """The flag that makes Bazel run its actions on the server; it includes the cache."""
    return f"--remote_executor={running.grpc_address}"


def text(running: Running, instance: str, *, execution: bool) -> str:
    """The content of a .bazelrc, with the token unless clients have a certificate in its place."""
    needs_certificate = running.state.needs_client_certificate
    found = flags(running, instance, with_token=not needs_certificate, execution=execution)
    lines = "".join(f"build {quoted(flag)}\n" for flag in found)
    return f"{_ABOUT}{lines}{_CERTIFICATE if needs_certificate else ''}"


def quoted(word: str) -> str:
    """The word in quotes if it holds a space."""
    return f"'{word}'" if " " in word else word
