"""A job's own process: has the warm one do the work, passes signals on, and ends as the work ends.

Imports little, since its start is all that a job costs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from lifelong.runtime.supervision import ONE_JOB, UNDER_SNAKEMAKE, describe_kill
from lifelong.runtime.warm.wire import STARTED, Request, lock_of_host, receive_status, socket_of

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_warm(arguments: list[str], entry: str, held: tuple[int, ...] = ()) -> int | None:
    """The exit status of `lifelong ARGUMENTS` run by the warm process of the Snakemake above this process.

    `entry` is the `module:function` that warms it up and returns the command; `held` are open files that whoever does the
    work keeps open.

    None: nothing has been done, since there is no Snakemake, it has this one job alone, its warm process cannot be had, or
    more threads are wanted.
    """
    snakemake = os.environ.get(UNDER_SNAKEMAKE)
    if snakemake is None or ONE_JOB in os.environ or sys.platform != "linux" or os.environ.get("OMP_NUM_THREADS") != "1":
        return None  # libraries read their number of threads once; that of the warm process is 1
    try:
        with _connected(int(snakemake), entry) as connection:
            Request.of_this_process(arguments, held).send(connection)
            if connection.recv(1) != STARTED:
                return None
            for number in _PASSED_ON:
                signal.signal(number, lambda received, _: _pass_on(connection, received))
            return _status(connection)
    except OSError:
        return None


def _status(connection: socket.socket) -> int:
    try:
        status = receive_status(connection)
        if status > 128 and status - 128 not in _PASSED_ON:
            print(describe_kill(status - 128), file=sys.stderr)
        return status
    except OSError:
        print("lifelong: the process that ran this job was killed", file=sys.stderr)
        return 1


def _pass_on(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        connection.send(bytes([number]))


def _connected(snakemake: int, entry: str) -> socket.socket:
    """A connection to the warm process; the first to come starts it."""
    path = str(socket_of(snakemake))
    with contextlib.suppress(OSError):
        return _connection(path)
    with lock_of_host().open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            return _connection(path)
        _start(path, snakemake, entry)
        return _connection(path)


def _connection(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _start(path: str, snakemake: int, entry: str) -> None:
    """Start the warm process with a socket that listens already, so that nobody has to wait for its imports to ask."""
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()  # of a warm process that was killed
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(64)
        environment: dict[str, Any] = {k: v for k, v in os.environ.items() if k != UNDER_SNAKEMAKE}
        subprocess.Popen(
            [sys.executable, "-m", "lifelong.runtime.warm.server", str(listener.fileno()), str(snakemake), path, entry],
            pass_fds=[listener.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
