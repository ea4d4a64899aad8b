"""What a job's process and the warm one say to each other over a Unix socket: counted bytes, and file descriptors."""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(".snakemake")  # relative, since a socket's path has at most 107 bytes
STARTED = b"\1"  # the job runs; without it the job's process has to do it itself
_COUNT = struct.Struct("!i")
_MOST_DESCRIPTORS = 8


def socket_of(snakemake: int) -> Path:
    """Where the warm process of this host's Snakemake with this process id listens."""
    return DIRECTORY / f"lifelong.warm.{socket.gethostname()}.{snakemake}"


def lock_of_host() -> Path:
    """Held while a warm process of this host is started."""
    return DIRECTORY / f"lifelong.warm.{socket.gethostname()}.lock"


@dataclass(frozen=True)
class Request:
    """A command of `lifelong` with all that it inherits from the process that asks."""

    arguments: list[str]
    directory: str
    environment: dict[str, str]
    descriptors: tuple[int, ...] = (0, 1, 2)  # standard input, output and error; more are only held open

    @classmethod
    def of_this_process(cls, arguments: list[str], held: tuple[int, ...] = ()) -> Request:
        return cls(arguments, str(Path.cwd()), dict(os.environ), (0, 1, 2, *held))

    def send(self, connection: socket.socket) -> None:
        said = {"arguments": self.arguments, "directory": self.directory, "environment": self.environment}
        data = json.dumps(said).encode(errors="surrogateescape")
        socket.send_fds(connection, [_COUNT.pack(len(data))], list(self.descriptors))
        connection.sendall(data)

    @classmethod
    def receive(cls, connection: socket.socket) -> Request:
        """Raises ConnectionError when the other side ends before all is said."""
        counted, descriptors, _, _ = socket.recv_fds(connection, _COUNT.size, _MOST_DESCRIPTORS)
        if len(counted) < _COUNT.size or len(descriptors) < 3:
            raise ConnectionError
        data = _exactly(connection, _COUNT.unpack(counted)[0])
        return cls(**json.loads(data.decode(errors="surrogateescape")), descriptors=tuple(descriptors))


def send_status(connection: socket.socket, status: int) -> None:
    connection.sendall(_COUNT.pack(status))


def receive_status(connection: socket.socket) -> int:
    """Raises ConnectionError when the other side ends without a status."""
    return int(_COUNT.unpack(_exactly(connection, _COUNT.size))[0])


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data
