"""The arguments of the command `reapi-local`."""

from __future__ import annotations

import argparse
import sys

from reapi_contract import command_line, sandbox_levels, setting_names
from reapi_contract.setting_names import flag
from reapi_local_launcher.cli.server_flags import add_server_flags
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import find_source

_ABOUT = """\
A server of the Remote Execution API for the builds of this machine. It caches
the results of their processes, and it can run the processes.

There is one server per user and data directory, for all of the user's
repositories. `up` starts it in the background, `check` proves that it works,
`down` stops it. For Pants, a plugin does all that: `reapi-local init` puts the
plugin into a repository.
"""
_SERVE = """\
Run the server in this process, in the foreground, for systemd, containers and
other supervisors. It logs to standard error. It stops gracefully on SIGTERM
and on Ctrl-C.

Flags that are not listed here are passed to the server as they are. Settings
without a flag come from variables such as REAPI_LOCAL_MAX_SIZE, then from the
file.
"""
_TLS = """\
Make certificates for a server that encrypts its connections. `tls init` makes an
authority of your own and a pair of files for the server, in DIR or in the
user's configuration directory, and prints how the server and its clients use
them. Files that exist are kept. `tls init --help` explains its flags:

  reapi-local tls init [DIR] [--host NAME]... [--client NAME]... [--renew]
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser. `options.parser` is the parser of the command that was given."""
    parser = argparse.ArgumentParser(
        prog="reapi-local",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, description: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=summary,
            description=description or f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        made.set_defaults(parser=made)
        return made

    serve = command("serve", "run the server in the foreground", _SERVE)
    up = command("up", "make sure that a server runs, and say how to reach it")
    down = command("down", "stop the server when its calls are done, after 10 s at most")
    checked = command("check", "prove that the server works; status 1 if it does not")
    status = command("status", "show sizes, action cache hits and calls since the start")
    purged = command("purge", "delete all blobs and action results; token and port stay")
    initialise = command("init", "put the plugin into a Pants repository, or upgrade it there")
    tls = command(command_line.TLS, "make certificates for TLS", _TLS)

    _add_serve(serve)
    for one in (serve, up):
        add_server_flags(one)
    _add_down(down)
    _add_check(checked)
    purged.add_argument("--yes", action="store_true", help="do not ask")
    tls.add_argument("arguments", nargs=argparse.REMAINDER, metavar="init ...", help="see above")
    for one in (serve, up, checked, purged, tls):
        _add_server_python(one)
    for one in (serve, up, down, checked, status, purged, tls):
        _add_data_dir(one)
    _add_directory(initialise)
    for one in (up, down, checked, status, purged, initialise):
        _add_format(one)
    return parser


def settings_from(options: argparse.Namespace) -> ServerSettings:
    """The settings in the arguments. A setting that the command has no flag for has its default."""
    return ServerSettings(
        data_dir=options.data_dir,
        port=getattr(options, "port", 0),
        max_size=getattr(options, "max_size", None),
        instances=tuple(getattr(options, "instances", None) or ()),
        idle_exit_s=getattr(options, "idle_exit", 0),
        server_python=getattr(options, "server_python", None),
        slots=getattr(options, "slots", 0),
        hermetic=getattr(options, "hermetic", False),
        sandbox=getattr(options, "sandbox", sandbox_levels.AUTO),
    )


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        flag(setting_names.HOST), metavar="ADDRESS", help="address to bind (default: 127.0.0.1)"
    )
    parser.add_argument(
        setting_names.CONFIG_FLAG, metavar="FILE", help="TOML file with settings of the server"
    )


def _add_down(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kill",
        action="store_true",
        help="kill a server that does not answer; nothing that was stored is lost",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        command_line.INSTANCE_FLAG,
        metavar="NAME",
        default="default",
        help="the instance to try (default: %(default)s)",
    )
    add(
        "--address",
        metavar="ADDRESS",
        help="try a server that somebody else runs: grpc://host:port, or grpcs:// for TLS",
    )
    add(
        command_line.TOKEN_PATH_FLAG,
        metavar="FILE",
        help="with --address: the bearer token to send",
    )
    add(
        command_line.CA_CERTS_PATH_FLAG,
        metavar="FILE",
        help="with --address: certificates of the authorities to trust, in PEM",
    )
    add(
        command_line.CLIENT_CERTS_PATH_FLAG,
        metavar="FILE",
        help="with --address: the client's own certificate, in PEM",
    )
    add(
        command_line.CLIENT_KEY_PATH_FLAG,
        metavar="FILE",
        help="with --address: the key of the client's certificate, in PEM",
    )


def _add_server_python(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server-python",
        metavar="PATH",
        help=f"{command_line.NEEDED_PYTHON} that has reapi-local[server] (default: found, or made "
        "once)",
    )


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        flag(setting_names.DATA_DIR),
        metavar="DIR",
        help="where the server keeps everything (default: data in the user's cache directory "
        "of reapi-local)",
    )


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory",
        nargs="?",
        default=".",
        metavar="DIR",
        help="the directory of pants.toml (default: the current one)",
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="for people or for programs (default: %(default)s)",
    )


class _Version(argparse.Action):
    """Like the action of argparse, but it reads the version only when the flag is given."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            label = find_source().label
        except LauncherError as error:
            parser.exit(1, f"error: {error}\n")
        sys.stdout.write(f"reapi-local {label}\n")
        parser.exit()
