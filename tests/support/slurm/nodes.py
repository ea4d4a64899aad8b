"""A SLURM of three nodes on this machine: munge, a controller, and n1, n2 and g1 (two GPUs that are none) in namespaces.

    python tests/support/slurm/nodes.py up FOLDER    # as root, with Debian's slurm-wlm and munge; prints what to export
    python tests/support/slurm/nodes.py down FOLDER

All state is in FOLDER and all traffic on 127.0.0.1. Each node has its own host name, process ids and mounts, and shares the
file system. Whatever was started is ended by its process id.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NODES = ("n1", "n2", "g1")
PARTITIONS = HERE / "partitions.yaml"


def find_obstacle() -> str | None:
    """Why no nodes can be brought up here."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "unshare")
    if missing := [name for name in programs if shutil.which(name) is None]:
        return f"no {', '.join(missing)}: install Debian's slurm-wlm and munge"
    if os.geteuid() != 0:
        return "nodes in namespaces of their own need root"
    if subprocess.run(["unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"], capture_output=True).returncode:
        return "namespaces are not allowed here"
    return None


class Nodes:
    """The controller and the nodes, by their folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def bring_up(self) -> None:
        self._write_configuration()
        self._start_munge()
        self.start_controller("-c")
        for name in NODES:
            self.start_node(name)
        self.wait_until_idle(*NODES)

    def take_down(self) -> None:
        for name in NODES:
            self.kill_node(name)
        for name in ("slurmctld", "munged"):
            self._end(name, signal.SIGTERM)

    def start_controller(self, *options: str) -> None:
        self.call("slurmctld", *options)

    def kill_controller(self) -> None:
        self._end("slurmctld", signal.SIGKILL)

    def start_node(self, name: str, *before: str) -> None:
        """`before`: a command that the node's daemon runs under, as one that changes its clock."""
        (self.folder / f"spool-{name}").mkdir(exist_ok=True)
        apart = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child"]
        script = 'hostname "$0" && exec "$@"'
        with (self.folder / f"{name}.out").open("a") as said:
            self._started[name] = subprocess.Popen(
                [*apart, "sh", "-c", script, name, *before, "slurmd", "-D", "-N", name],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        (self.folder / f"{name}.pid").write_text(str(self._started[name].pid))

    def kill_node(self, name: str) -> None:
        """As by a power cut: its daemon and its jobs are gone."""
        self._end(name, signal.SIGKILL)

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}")
        return done.stdout

    def jobs(self, *states: str) -> list[str]:
        """Numbers of the jobs in these states; by default of all that are not over."""
        chosen = ["--states", ",".join(states)] if states else []
        return self.call("squeue", "--noheader", "--format", "%A", *chosen).split()

    def wait_until_idle(self, *names: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(RuntimeError):  # the controller may not listen yet
                if set(names) <= set(self.call("sinfo", "--noheader", "-N", "-t", "idle", "-o", "%N").split()):
                    return
            if time.monotonic() > until:
                raise TimeoutError(f"nodes are not up: {self.call('sinfo', '-R', '-N', '-l')}")
            time.sleep(0.2)

    def _write_configuration(self) -> None:
        (self.folder / "state").mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        ports = _free_ports(1 + len(NODES))
        values = {"host": socket.gethostname(), "folder": str(self.folder), "port": str(ports[0])}
        values |= {name: str(port) for name, port in zip(NODES, ports[1:], strict=True)}
        text = (HERE / "slurm.conf").read_text()
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
        (self.folder / "gres.conf").write_text(f"NodeName=g1 Name=gpu File={self.folder}/nvidia[0-1]\n")
        for number in range(2):  # SLURM wants a device; this one is /dev/null by another name
            device = self.folder / f"nvidia{number}"
            if not device.exists():
                os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.call("munged", "--force", f"--key-file={key}", *(
            f"--{option}={self.folder}/{file}"
            for option, file in {
                "socket": "munge.socket",
                "pid-file": "munged.pid",
                "log-file": "munged.log",
                "seed-file": "munge.seed",
            }.items()
        ))  # fmt: skip

    def _end(self, name: str, number: int) -> None:
        """Signal the process whose number is in NAME.pid, and wait for its end."""
        file = self.folder / f"{name}.pid"
        if not file.exists():
            return
        process = int(file.read_text())
        file.unlink()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
        if name in self._started:
            self._started.pop(name).wait()
        until = time.monotonic() + 10
        while Path(f"/proc/{process}").exists() and time.monotonic() < until:
            time.sleep(0.05)  # the end of a daemon is announced to nobody


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    action, where = sys.argv[1], Path(sys.argv[2]).resolve()
    if action == "down":
        Nodes(where).take_down()
    elif obstacle := find_obstacle():
        sys.exit(obstacle)
    else:
        Nodes(where).bring_up()
        print(*(f"export {name}={value}" for name, value in Nodes(where).environment.items()), sep="\n")
