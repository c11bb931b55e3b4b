"""The command `reapi-local`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reapi_contract import setting_names
from reapi_contract.setting_names import flag
from reapi_contract.status import status_from
from reapi_local_launcher import paths
from reapi_local_launcher.cli import init, report, status_report
from reapi_local_launcher.cli.arguments import make_parser, settings_from
from reapi_local_launcher.cli.terminal import Style, write_json
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server import purge, remote_check, self_check, stop
from reapi_local_launcher.server.execution_status import user_notes
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.presence import NotServing, explain, look, not_serving_json
from reapi_local_launcher.server.server_status import execution_of, fetch_status
from reapi_local_launcher.source import find_source


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 130 interrupted.

    Raises:
        SystemExit: with status 2, because the arguments were wrong.
    """
    options, rest = make_parser().parse_known_args(arguments)
    if rest and options.command != "serve":
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return _COMMANDS[options.command](options)
    except LauncherError as error:
        if getattr(options, "format", "text") == "json":
            write_json(report.error_json(error), sys.stdout.write)
        else:
            report.error_text(error, sys.stderr.write, _style(sys.stderr.isatty()))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        # Without this the interpreter would write to the closed pipe again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _serve(options: argparse.Namespace) -> int:
    from reapi_local_launcher.python.choose_interpreter import prepare_interpreter
    from reapi_local_launcher.server import spawn

    settings, source, more = settings_from(options), find_source(), list(options.rest)
    data_dir: Path | None = paths.data_dir(settings, os.environ)
    if options.config is not None:
        more += [setting_names.CONFIG_FLAG, options.config]
        # The file may name the directory. A flag would replace it, so only the user may give one.
        data_dir = data_dir if settings.data_dir else None
    if options.host is not None:
        more += [flag(setting_names.HOST), options.host]
    chosen, environment = prepare_interpreter(settings, os.environ, source, _progress)
    command = spawn.server_command(chosen, settings, data_dir, source.label) + more
    os.execve(command[0], command, environment)


def _up(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    running = launch(settings, os.environ, _progress)
    execution = execution_of(running, settings.labels)
    running = running.with_notes(user_notes(execution, settings))
    instance = options.instances[0] if options.instances else "default"
    if options.format == "json":
        write_json(report.up_json(running, execution, instance), sys.stdout.write)
    else:
        report.up_text(running, execution, instance, sys.stdout.write, _style())
    return 0


def _down(options: argparse.Namespace) -> int:
    stopped = stop.stop(settings_from(options), os.environ, kill=options.kill)
    if options.format == "json":
        write_json({"stopped": stopped}, sys.stdout.write)
    else:
        report.stopped_text(stopped, sys.stdout.write)
    return 0


def _check(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    if options.address is None:
        running = look(settings, os.environ)
        proofs = self_check.check(running, settings.labels, options.instance)
    else:
        endpoint = remote_check.RemoteEndpoint(
            options.address, options.token_path, options.ca_certs_path
        )
        proofs = remote_check.check_remote(
            endpoint, options.instance, settings, os.environ, _progress
        )
    if options.format == "json":
        write_json(report.check_json(proofs), sys.stdout.write)
    else:
        report.check_text(proofs, sys.stdout.write, _style())
    return 0 if all(proof.ok for proof in proofs) else 1


def _status(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    found = look(settings, os.environ)
    status = None if isinstance(found, NotServing) else fetch_status(found, settings.labels)
    if options.format == "json":
        content = not_serving_json(found) if isinstance(found, NotServing) else status
        write_json({"running": True, **(content or {})}, sys.stdout.write)
    elif isinstance(found, NotServing):
        status_report.no_server_text(explain(found, settings.labels), sys.stdout.write)
    elif status is not None:
        status_report.status_text(status_from(status), sys.stdout.write, _style())
    return 0


def _purge(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    if not options.yes and not _confirmed(paths.data_dir(settings, os.environ)):
        sys.stderr.write("Nothing was deleted. With `--yes` this command does not ask.\n")
        return 1
    purged = purge.purge(settings, os.environ, _progress)
    if options.format == "json":
        running = purged.running
        content = {
            "freed_bytes": purged.freed_bytes,
            "running": None if running is None else report.running_json(running),
        }
        write_json(content, sys.stdout.write)
    else:
        report.purged_text(purged, sys.stdout.write)
    return 0


def _init(options: argparse.Namespace) -> int:
    done = init.init(Path(options.directory))
    if options.format == "json":
        write_json({**asdict(done), "root": str(done.root)}, sys.stdout.write)
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


def _confirmed(data_dir: Path) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Delete all blobs and action results in {data_dir}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _style(terminal: bool | None = None) -> Style:
    if terminal is None:
        terminal = sys.stdout.isatty()
    return Style(colour=terminal and not os.environ.get("NO_COLOR"))
