"""The command `reapi-local`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reapi_local_launcher import paths
from reapi_local_launcher.cli import init, report
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server import check, launch, purge, remote_check, stop
from reapi_local_launcher.server.execution import SANDBOXES, execution_in, user_notes
from reapi_local_launcher.settings import Settings
from reapi_local_launcher.sizes import parse_size
from reapi_local_launcher.source import find_source

_ABOUT = """\
A server for the builds of this machine, which speaks the Remote Execution
API: it keeps the results of their processes, and runs processes itself.

There is one server per user and data directory, for all of the user's
repositories. `up` starts it in the background, `check` proves that it works,
`down` stops it. With Pants, the plugin does all that: `reapi-local init` puts
it into a repository.
"""
_SERVE = """\
Run the server in this process, in the foreground, logging to standard error:
for systemd, containers and other supervisors. It stops in good order on
SIGTERM and on Ctrl-C.

Flags that are not listed here go to the server as they are. What no flag says
is taken from variables such as REAPI_LOCAL_MAX_SIZE, then from the file.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 failed, 2 called wrongly, 130 interrupted."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "serve":
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return _COMMANDS[options.command](options)
    except LauncherError as error:
        if getattr(options, "format", "text") == "json":
            report.write_json(report.error_json(error), sys.stdout.write)
        else:
            report.error_text(error, sys.stderr.write, _style(sys.stderr.isatty()))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; keep the interpreter from flushing into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _serve(options: argparse.Namespace) -> int:
    from reapi_local_launcher.python import interpreter
    from reapi_local_launcher.server import spawn

    settings, source, more = _settings(options), find_source(), list(options.rest)
    data_dir: Path | None = paths.data_dir(settings, os.environ)
    if options.config is not None:
        more += ["--config", options.config]
        # The file may name the directory, and a flag would win over it.
        data_dir = data_dir if settings.data_dir else None
    if options.host is not None:
        more += ["--host", options.host]
    chosen, environment = interpreter.ready(settings, os.environ, source, _progress)
    command = spawn.server_command(chosen, settings, data_dir, source.label) + more
    os.execve(command[0], command, environment)


def _up(options: argparse.Namespace) -> int:
    settings = _settings(options)
    running = launch.ensure(settings, os.environ, _progress)
    execution = execution_in(check.status_of(running, settings.words))
    running = running.with_notes(user_notes(execution, settings))
    instance = options.instances[0] if options.instances else "default"
    if options.format == "json":
        report.write_json(report.up_json(running, execution, instance), sys.stdout.write)
    else:
        report.up_text(running, execution, instance, sys.stdout.write, _style())
    return 0


def _down(options: argparse.Namespace) -> int:
    stopped = stop.stop(_settings(options), os.environ, kill=options.kill)
    if options.format == "json":
        report.write_json({"stopped": stopped}, sys.stdout.write)
    else:
        report.stopped_text(stopped, sys.stdout.write)
    return 0


def _check(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if options.address is None:
        proofs = check.check(settings, os.environ, options.instance)
    else:
        remote = remote_check.Remote(options.address, options.token_path, options.ca_certs_path)
        proofs = remote_check.check_remote(
            remote, options.instance, settings, os.environ, _progress
        )
    if options.format == "json":
        report.write_json(report.check_json(proofs), sys.stdout.write)
    else:
        report.check_text(proofs, sys.stdout.write, _style())
    return 0 if all(proof.ok for proof in proofs) else 1


def _status(options: argparse.Namespace) -> int:
    settings = _settings(options)
    status = check.status(settings, os.environ)
    data_dir = str(paths.data_dir(settings, os.environ))
    if options.format == "json":
        content = {"running": False, "data_dir": data_dir} if status is None else status
        report.write_json({"running": True, **content}, sys.stdout.write)
    elif status is None:
        report.no_server_text(data_dir, settings.words.up, sys.stdout.write)
    else:
        report.status_text(status, sys.stdout.write, _style())
    return 0


def _purge(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if not options.yes and not _confirmed(paths.data_dir(settings, os.environ)):
        sys.stderr.write("Nothing was deleted. `--yes` answers the question beforehand.\n")
        return 1
    purged = purge.purge(settings, os.environ, _progress)
    if options.format == "json":
        running = purged.running
        content = {
            "freed_bytes": purged.freed_bytes,
            "running": None if running is None else report.running_json(running),
        }
        report.write_json(content, sys.stdout.write)
    else:
        report.purged_text(purged, sys.stdout.write)
    return 0


def _init(options: argparse.Namespace) -> int:
    done = init.init(Path(options.directory))
    if options.format == "json":
        report.write_json({**asdict(done), "root": str(done.root)}, sys.stdout.write)
    else:
        report.init_text(done, sys.stdout.write, _style())
    return 1 if done.refusal else 0


_COMMANDS = {
    "serve": _serve,
    "up": _up,
    "down": _down,
    "check": _check,
    "status": _status,
    "purge": _purge,
    "init": _init,
}


def _parser() -> argparse.ArgumentParser:
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
    serve.add_argument("--host", metavar="ADDRESS", help="address to bind (default: 127.0.0.1)")
    serve.add_argument("--config", metavar="FILE", help="TOML file with settings of the server")
    up = command("up", "make sure that a server runs, and say how to reach it")
    for one in (serve, up):
        _add_server_flags(one)

    down = command("down", "stop the server when its calls are done, after 10 s at most")
    down.add_argument(
        "--kill",
        action="store_true",
        help="kill it instead, for one that does not answer; nothing that was stored is lost",
    )
    checked = command("check", "prove that the server works; status 1 if it does not")
    checked.add_argument(
        "--instance",
        metavar="NAME",
        default="default",
        help="the instance to try it with (default: %(default)s)",
    )
    checked.add_argument(
        "--address",
        metavar="ADDRESS",
        help="try a server of somebody else's instead: grpc://host:port, or grpcs:// for TLS",
    )
    checked.add_argument(
        "--token-path", metavar="FILE", help="with --address: the bearer token to send"
    )
    checked.add_argument(
        "--ca-certs-path",
        metavar="FILE",
        help="with --address: certificates of the authorities to trust, in PEM",
    )
    _add_server_python(checked)
    status = command("status", "show sizes, action cache hits and calls since the start")
    purged = command("purge", "delete all blobs and action results; token and port stay")
    purged.add_argument("--yes", action="store_true", help="do not ask")
    _add_server_python(purged)
    for one in (serve, up, down, checked, status, purged):
        one.add_argument(
            "--data-dir",
            metavar="DIR",
            help="where the server keeps everything (default: data in the user's cache directory "
            "of reapi-local)",
        )

    initialise = command("init", "put the plugin into a Pants repository, or upgrade it there")
    initialise.add_argument(
        "directory",
        nargs="?",
        default=".",
        metavar="DIR",
        help="the directory of pants.toml (default: the current one)",
    )
    for one in (up, down, checked, status, purged, initialise):
        one.add_argument(
            "--format",
            choices=("text", "json"),
            default="text",
            help="for people or for programs (default: %(default)s)",
        )
    return parser


class _Version(argparse.Action):
    """Like argparse's own, but looks the version up only when it's asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            sys.stdout.write(f"reapi-local {find_source().label}\n")
        except LauncherError as error:
            report.error_text(error, sys.stderr.write, _style(sys.stderr.isatty()))
            parser.exit(1)
        parser.exit()


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=_port,
        default=0,
        help="port for gRPC (default: the one used last, else 8980 or a free one)",
    )
    parser.add_argument(
        "--max-size",
        type=_size,
        metavar="SIZE",
        help="limit of the store on disk, like 50GiB or 500MB (default: 20GiB; for up, the last)",
    )
    parser.add_argument(
        "--instance",
        dest="instances",
        action="append",
        metavar="NAME",
        help="allow this instance name; repeat it for more (default: any name)",
    )
    parser.add_argument(
        "--idle-exit",
        type=int,
        default=0,
        metavar="SECONDS",
        help="stop after so long without a call (default: never)",
    )
    parser.add_argument(
        "--slots",
        type=_slots,
        default=0,
        metavar="N",
        help="run so many processes at once (default: as many as there are cores)",
    )
    parser.add_argument(
        "--hermetic", action="store_true", help="give the processes it runs no network"
    )
    parser.add_argument(
        "--sandbox",
        choices=SANDBOXES,
        default="auto",
        help="how they are kept apart (default: the strongest that works here); "
        "process-group keeps nothing apart",
    )
    _add_server_python(parser)


def _add_server_python(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server-python",
        metavar="PATH",
        help="CPython 3.11 or newer that has reapi-local[server] (default: found, or made once)",
    )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; use a number from 0 to 65535")
    return int(text)


def _slots(text: str) -> int:
    if not text.isdigit() or int(text) > 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of slots; use 0 to 1024")
    return int(text)


def _size(text: str) -> str:
    try:
        parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        data_dir=options.data_dir,
        port=getattr(options, "port", 0),
        max_size=getattr(options, "max_size", None),
        instances=tuple(getattr(options, "instances", None) or ()),
        idle_exit_s=getattr(options, "idle_exit", 0),
        server_python=getattr(options, "server_python", None),
        slots=getattr(options, "slots", 0),
        hermetic=getattr(options, "hermetic", False),
        sandbox=getattr(options, "sandbox", "auto"),
    )


def _confirmed(data_dir: Path) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Delete all blobs and action results in {data_dir}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _style(terminal: bool | None = None) -> report.Style:
    if terminal is None:
        terminal = sys.stdout.isatty()
    return report.Style(colour=terminal and not os.environ.get("NO_COLOR"))
