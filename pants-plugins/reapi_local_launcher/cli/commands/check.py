"""`reapi-local check`: proves that a server works, the user's own or somebody else's."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract import command_line
from reapi_contract.proof import Proof
from reapi_local_launcher.cli import report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import progress, style_of, write_json
from reapi_local_launcher.server import remote_check, self_check
from reapi_local_launcher.server.presence import look
from reapi_local_launcher.server_settings import ServerSettings


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    if options.address is None:
        _refuse_what_needs_an_address(options)
        found = look(settings, os.environ)
        proofs = self_check.check(found, settings.labels, options.instance)
    else:
        proofs = _of_other(options, settings)
    if options.format == "json":
        write_json(report.check_json(proofs), sys.stdout.write)
    else:
        report.check_text(proofs, sys.stdout.write, style_of(sys.stdout))
    return 0 if all(proof.ok for proof in proofs) else 1


def _refuse_what_needs_an_address(options: argparse.Namespace) -> None:
    """Exit if a flag was given that the check of the user's own server would ignore."""
    given = {
        command_line.TOKEN_PATH_FLAG: options.token_path,
        command_line.CA_CERTS_PATH_FLAG: options.ca_certs_path,
        command_line.CLIENT_CERTS_PATH_FLAG: options.client_certs_path,
        command_line.CLIENT_KEY_PATH_FLAG: options.client_key_path,
        "--server-python": options.server_python,
    }
    for flag, value in given.items():
        if value is not None:
            options.parser.commands["check"].refuse(
                f"{flag} is for a server that somebody else runs; add --address ADDRESS."
            )


def _of_other(options: argparse.Namespace, settings: ServerSettings) -> list[Proof]:
    """The proofs for a server that somebody else runs."""
    endpoint = remote_check.RemoteEndpoint(
        options.address,
        options.token_path,
        options.ca_certs_path,
        options.client_certs_path,
        options.client_key_path,
    )
    return remote_check.check_remote(endpoint, options.instance, settings, os.environ, progress)
