"""Messages between the server and a supervisor: one JSON object in each direction.

Supervisors load this module for type checking only.
"""

from __future__ import annotations

from typing import TypedDict


class SupervisedProcess(TypedDict):
    """A process to run.

    ``working_directory`` and ``directories``, which the supervisor creates first, are absolute
    paths as the process sees them. A limit is the name of an RLIMIT, its soft and its hard value.
    ``uid``: the uid and gid to change to, or None. ``restricted``: the supervisor has to block
    system calls and abstract sockets, because the sandbox around it doesn't. ``rulesets``:
    descriptors for ``landlock.restrict_self``, which the supervisor inherits. ``terminals``: the
    descriptor of the terminal that the process gets, which is inherited, too; empty = none.
    """

    arguments: list[str]
    environment: dict[str, str]
    working_directory: str
    directories: list[str]
    limits: list[tuple[str, int, int]]
    uid: int | None
    restricted: bool
    rulesets: list[int]
    terminals: list[int]


class SupervisorRequest(SupervisedProcess):
    """What a supervisor has to do.

    ``streams``: for standard output and for standard error, the descriptors of a pipe's read end,
    of its write end, and of the file that saves the output.
    """

    streams: list[tuple[int, int, int]]


class SupervisorReport(TypedDict):
    """How the process ended.

    ``wait_status``: as from wait(2). ``start_failure``: the step at which it could not be started
    (prepare, directories, chdir or exec), and the errno. ``stopped``: it was killed because the
    server hung up. ``write_errors``: errnos with which the files accepted no more output. The other
    fields are those of ``ProcessResult``.
    """

    wait_status: int
    start_failure: tuple[str, int] | None
    stopped: bool
    write_errors: list[int]
    started_ns: int
    ended_ns: int
    user_seconds: float
    system_seconds: float
    max_rss_bytes: int
