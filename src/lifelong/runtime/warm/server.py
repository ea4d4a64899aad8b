"""The warm process: `python -m lifelong.runtime.warm.server LISTENER SNAKEMAKE PATH ENTRY`, started by the first job.

ENTRY is `module:function`: it imports what most jobs need and returns the command to run.

It ends when that Snakemake has ended, and so do the jobs it has forked; a job also ends when the process that asked for it
does. It starts nothing once a source of this package has been edited: its modules would be older than the fingerprints.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifelong.runtime.supervision import die_with
from lifelong.runtime.warm.wire import STARTED, Request, send_status

PACKAGE = Path(__file__).parents[2]


def main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))
    snakemake, path = int(sys.argv[2]), sys.argv[3]
    module, _, name = sys.argv[4].partition(":")
    sources = _sources()
    gc.disable()
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's Ctrl-C is for Snakemake and the jobs
        signal.signal(number, signal.SIG_IGN)
    try:
        ended = os.pidfd_open(snakemake)
    except OSError:
        sys.exit()  # whoever waits for an answer gets none and works by itself
    command = getattr(importlib.import_module(module), name)()
    gc.freeze()
    server = Server(listener, ended, lambda: _sources() == sources)
    request = server.until_a_child_has_work()
    if request is None:
        Path(path).unlink(missing_ok=True)
    else:
        sys.argv = ["lifelong", *request.arguments]
        command()


def _sources() -> dict[str, tuple[int, int]]:
    """Time and size of every source of this package."""
    result = {}
    for path in PACKAGE.rglob("*.py"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            result[str(path)] = stat.st_mtime_ns, stat.st_size
    return result


@dataclass(frozen=True)
class _Work:
    process: int
    ended: int  # pidfd
    asked: socket.socket


class Server:
    """Forks for every request and reports how it ended."""

    def __init__(self, listener: socket.socket, ended: int, current: Callable[[], bool]) -> None:
        """`ended` becomes readable when the jobs are to end; `current` says whether jobs may still be started."""
        self._listener = listener
        self._ended = ended
        self._current = current
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(ended, selectors.EVENT_READ, None)

    def until_a_child_has_work(self) -> Request | None:
        """Serve. Returns twice or more: in each forked child with what it is to do, and at the end in the server: None."""
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._ended:
                    return None
                request = key.data()
                if request is not None:
                    return request

    def _accept(self) -> Request | None:
        connection, _ = self._listener.accept()
        connection.settimeout(10)
        try:
            request = Request.receive(connection)
        except (OSError, ValueError, TypeError):
            connection.close()
            return None
        if not self._current():
            self._close(request, connection)
            return None
        server = os.getpid()
        process = os.fork()
        if process == 0:
            self._become(request, connection, server)
            return request
        work = _Work(process, os.pidfd_open(process), connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(work))
        self._selector.register(work.ended, selectors.EVENT_READ, lambda: self._finish(work))
        for descriptor in request.descriptors:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            connection.sendall(STARTED)
        return None

    @staticmethod
    def _close(request: Request, connection: socket.socket) -> None:
        for descriptor in request.descriptors:
            os.close(descriptor)
        connection.close()

    def _become(self, request: Request, connection: socket.socket, server: int) -> None:
        """In the child: be the process that asked, as far as a process can."""
        os.setpgid(0, 0)  # signals come through the process that asked, once
        die_with(server)
        for key in list(self._selector.get_map().values()):
            if key.fd != self._listener.fileno():
                os.close(key.fd)
        self._selector.close()
        self._listener.close()
        connection.close()
        for place, descriptor in enumerate(request.descriptors[:3]):
            os.dup2(descriptor, place)
            os.close(descriptor)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.chdir(request.directory)
        os.environ.clear()
        os.environ.update(request.environment)

    def _hear(self, work: _Work) -> None:
        """A signal to pass on, or the end of the process that asked."""
        try:
            received = work.asked.recv(1)
        except OSError:
            received = b""
        number = received[0] if received else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(work.ended, number)
        if not received:
            self._selector.unregister(work.asked)

    def _finish(self, work: _Work) -> None:
        _, status = os.waitpid(work.process, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(KeyError):
            self._selector.unregister(work.asked)
        self._selector.unregister(work.ended)
        os.close(work.ended)
        with contextlib.suppress(OSError):
            send_status(work.asked, code if code >= 0 else 128 - code)
        work.asked.close()


if __name__ == "__main__":
    main()
