"""A Slurm cluster of two small nodes on this machine, wholly inside one folder: for tests, and for trying the scripts.

    python slurm_cluster.py start DIR && export SLURM_CONF=DIR/slurm.conf    then: sinfo, sbatch, squeue, ...
    python slurm_cluster.py stop DIR                                        ends its jobs, too; its logs stay

It needs Debian's slurmctld, slurmd, slurm-client and munge, neither systemd nor root, and meets no Slurm or munge that
runs here already: key, socket, ports and spool are its own. Each node has 4 CPUs, 4 GiB and 2 GPUs, all of them made up.
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

MARK = "# Written by slurm_cluster.py, which deletes this folder when it starts here again."
NODES = ("node1", "node2")
DAEMONS = ("munged", "slurmctld", "slurmd")
OF_JOBS = ("slurmstepd", "srun", "salloc")  # srun, and so what waits for it, would wait for ever for a cluster that is gone
PATH = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"  # daemons may lie outside a user's path


class ClusterError(Exception):
    pass


def configuration(folder, ports):
    host = socket.gethostname().split(".")[0]
    user = "root" if os.geteuid() == 0 else str(os.geteuid())
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4096 Gres=gpu:2"
        for name, port in zip(NODES, ports[1:])
    )
    return f"""{MARK}
ClusterName=voxpop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# A requeued job waits until its credential has expired: 120 s, if nothing is said.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
# Containers seldom let Slurm have cgroups.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
JobRequeue=1
KillWait=10
ReturnToService=2
# PMIx keeps its files there: not /tmp, where those of two nodes would meet.
TmpFS={folder}/spool.%n
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=100000
# The machine may have fewer CPUs and less memory than its nodes say.
SlurmdParameters=config_overrides
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    """Ports that nobody listens on; below 32768, so that no outgoing connection takes one before its daemon does."""
    ports = []
    for port in random.sample(range(10000, 32000), 100):
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise ClusterError("no free ports between 10000 and 32000")


def processes(folder):
    """Its daemons and its jobs' processes, (pid, is a daemon) each: a shell that only knows the cluster is none of them."""
    started, knows = f"VOXPOP_CLUSTER={folder}".encode(), f"SLURM_CONF={folder}/slurm.conf".encode()
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            name = os.path.basename(os.readlink(entry / "exe")).removesuffix("-wlm")
        except OSError:  # ended, or another's
            continue
        is_daemon = name in DAEMONS and started in environment
        of_job = name in OF_JOBS or any(variable.startswith(b"SLURM_JOB_ID=") for variable in environment)
        if is_daemon or (of_job and knows in environment):
            found.append((int(entry.name), is_daemon))
    return found


def stop(folder):
    folder = os.path.abspath(folder)
    # Jobs first, and at once: slurmd would report their end, and slurmctld start the next.
    for attempt in range(50):
        found = processes(folder)
        if not found:
            return
        jobs = [pid for pid, is_daemon in found if not is_daemon]
        for pid in jobs or [pid for pid, _ in found]:
            try:
                os.kill(pid, signal.SIGTERM if not jobs and attempt < 30 else signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.1)
    raise ClusterError(f"{folder}: these would not end: {[pid for pid, _ in found]}")


def is_ours(folder):
    try:
        with open(os.path.join(folder, "slurm.conf")) as file:
            return file.readline().rstrip() == MARK
    except FileNotFoundError:
        return False


def start(folder, patience=45):
    """Returns when both nodes take jobs; raises ClusterError, with nothing left running, when they do not in that many seconds."""
    folder = os.path.abspath(folder)
    missing = [name for name in ("munged", "mungekey", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=PATH)]
    if missing:
        raise ClusterError(f"{', '.join(missing)}: not installed; on Debian: apt-get install slurmctld slurmd slurm-client munge")
    if len(os.path.join(folder, "munge.socket")) > 100:
        raise ClusterError(f"{folder}: too long for the path of a socket; name another folder")
    if any(character in folder for character in " #=,\\\"'"):
        raise ClusterError(f"{folder}: slurm.conf cannot hold such a name; name another folder")
    stop(folder)
    if os.path.isdir(folder) and os.listdir(folder):
        if not is_ours(folder):
            raise ClusterError(f"{folder}: not empty, and no cluster of before; name another folder")
        shutil.rmtree(folder)
    try:
        launch(folder)
        wait_until_idle(folder, time.monotonic() + patience)
    except BaseException:
        stop(folder)
        raise


def launch(folder):
    for name in ("state", *(f"spool.{node}" for node in NODES)):
        os.makedirs(os.path.join(folder, name))

    def path(name):
        return os.path.join(folder, name)

    with open(path("slurm.conf"), "w") as file:
        file.write(configuration(folder, free_ports(1 + len(NODES))))
    with open(path("gres.conf"), "w") as file:
        file.write("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")  # a device must exist

    environment = dict(os.environ, SLURM_CONF=path("slurm.conf"), VOXPOP_CLUSTER=folder, PATH=PATH)

    def run(*command):
        done = subprocess.run(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}{last_words(folder)}")

    run("mungekey", "--create", f"--keyfile={path('munge.key')}")
    munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "munged.seed"}
    # --force: a folder that others cannot enter, as mkdtemp's, is a warning, not an error.
    run("munged", "--force", *(f"--{option}={path(name)}" for option, name in munge.items()))
    run("slurmctld")
    for node in NODES:
        run("slurmd", "-N", node)


def wait_until_idle(folder, deadline):
    environment = dict(os.environ, SLURM_CONF=os.path.join(folder, "slurm.conf"))
    states = "nothing was heard"
    while time.monotonic() < deadline:
        done = subprocess.run(["sinfo", "--noheader", "--Node", "--format=%T"], env=environment, capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.split() == ["idle"] * len(NODES):
            return
        states = (done.stdout or done.stderr).strip()
        time.sleep(0.2)
    raise ClusterError(f"the nodes did not become idle in time: {states}{last_words(folder)}")


def last_words(folder):
    said = ""
    for log in sorted(pathlib.Path(folder).glob("*.log")):
        said += "".join(f"\n{log.name}: {line}" for line in log.read_text(errors="replace").splitlines()[-5:])
    return said


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in ("start", "stop"):
        sys.exit(__doc__)
    command, folder = arguments
    try:
        if command == "stop":
            stop(folder)
        else:
            began = time.monotonic()
            start(folder)
            print(f"{', '.join(NODES)} took {time.monotonic() - began:.1f} s; now: export SLURM_CONF={os.path.abspath(folder)}/slurm.conf")
    except (ClusterError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"slurm_cluster.py: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
