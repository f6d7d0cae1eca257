"""A Slurm of one machine for tests: munge, controller and node in a folder, ended by their pid files."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun", "scancel", "sinfo")
WAIT_S = 30.0
CONFIG = """\
ClusterName=loop
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ReturnToService=2
MinJobAge=300
MessageTimeout=3
SlurmctldTimeout=3
KillWait=120
NodeName=localhost CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""


def unavailable() -> str:
    """Why no cluster can be started here; empty where one can."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} are not installed; .ci/run has the command"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started as root"


class SlurmCluster:
    """The daemons; `start` and `kill` take the name of one."""

    def __init__(self, folder: Path) -> None:
        """Start all of them. Programs find the cluster by SLURM_CONF in the environment."""
        self.folder, self._starts = folder, 0
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        self._start_munge()
        self._config = CONFIG.format(folder=folder, cpus=os.cpu_count(), port=free_port(), node_port=free_port())
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        self.start("slurmctld")
        self.start("slurmd")
        self.wait_until_idle()

    def start(self, daemon: str) -> None:
        """Start slurmctld or slurmd; it goes into the background.

        A controller that was killed has forgotten the jobs of its last five seconds. It would give their numbers to
        others, and close the node because of that: each start begins at higher numbers.
        """
        more = ["-N", "localhost"] if daemon == "slurmd" else []
        if daemon == "slurmctld":
            self._starts += 1
            first = f"FirstJobId={1000 * self._starts}\n"
            (self.folder / "slurm.conf").write_text(self._config + first)
        subprocess.run([daemon, "-f", str(self.folder / "slurm.conf"), *more], check=True, timeout=WAIT_S)

    def kill(self, daemon: str, number: int = signal.SIGKILL) -> None:
        """Kill it; at SIGTERM it saves what it knows first."""
        pid = self._pid(daemon)
        if pid:
            os.kill(pid, number)
            while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
                time.sleep(0.02)

    def wait_until_idle(self) -> None:
        """Wait until the node takes jobs."""
        until = time.monotonic() + WAIT_S
        while True:
            found = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, check=False)
            if found.stdout.split() in (["idle"], ["mix"], ["alloc"]):
                return
            assert time.monotonic() < until, found
            time.sleep(0.1)

    def heal(self) -> None:
        """Open the node again, as an administrator does: Slurm closes it when a killed daemon forgot what ran there."""
        command = ["scontrol", "update", "NodeName=localhost", "State=RESUME"]
        subprocess.run(command, capture_output=True, timeout=WAIT_S, check=False)  # refused where it is open

    def end_steps(self) -> None:
        """Cancel all jobs, and kill the processes of Slurm around their ranks.

        One that did not reach the controller when its rank had ended tries again after a minute. Until then the node
        counts as completing, and takes no job.
        """
        subprocess.run(["scancel", "--user=root"], check=True, timeout=WAIT_S)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                named = (process / "cmdline").read_bytes().startswith(b"slurmstepd")
                if named and (process / "cwd").readlink() == self.folder.resolve():
                    os.kill(int(process.name), signal.SIGKILL)

    def close(self) -> None:
        """End all daemons."""
        for daemon in ("slurmd", "slurmctld", "munged"):
            pid = self._pid(daemon)
            if pid:
                os.kill(pid, signal.SIGKILL)

    def _pid(self, daemon: str) -> int:
        file = self.folder / ("munge/pid" if daemon == "munged" else f"{daemon}.pid")
        pid = int(file.read_text()) if file.exists() else 0
        return pid if pid and Path(f"/proc/{pid}").exists() else 0

    def _start_munge(self) -> None:
        """munged runs as its own user, which owns its key and folder."""
        folder, user = self.folder / "munge", pwd.getpwnam("munge")
        folder.mkdir()
        (folder / "key").write_bytes(secrets.token_bytes(1024))
        for path, mode in ((folder, 0o755), (folder / "key", 0o400)):
            path.chmod(mode)
            os.chown(path, user.pw_uid, user.pw_gid)
        for parent in folder.parents:  # pytest's folders are closed to other users
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        command = [
            "munged",
            f"--key-file={folder}/key",
            f"--socket={folder}/socket",
            f"--pid-file={folder}/pid",
            f"--log-file={folder}/log",
            f"--seed-file={folder}/seed",
            "--force",
        ]
        subprocess.run(command, check=True, timeout=WAIT_S, user=user.pw_uid, group=user.pw_gid)


def free_port() -> int:
    """A free local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
