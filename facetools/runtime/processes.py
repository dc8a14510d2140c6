"""Jobs of several processes on one or more machines.

`process_info` determines the rank of this process, and `join_processes` connects it with the others. Processes are
started by torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), or by srun as the tasks of a job step
(SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, and the step's hosts and job number). There is nothing to configure.
A process that was started in any other way is the only one, and does not import torch for communication. So is one
started from an interactive shell (srun --pty bash), which inherits the variables of its job step.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facetools.runtime import extras, signals

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

#: Seconds between the heartbeats of a process.
HEARTBEAT_SECONDS = 2.0
#: Seconds without a heartbeat after which a process counts as dead.
SILENCE_SECONDS = 60.0
#: Seconds within which the first process answers a connection.
ANSWER_SECONDS = 30.0
#: Seconds that a process waits for the others before it says so; the time to import torch may be most of it.
QUIET_SECONDS = 3.0


class PeerError(RuntimeError):
    """Another process of the job has failed. The message is that of its error, where it is known."""


@dataclass(frozen=True)
class ProcessInfo:
    """The position of this process in its job."""

    #: From 0 to world - 1.
    rank: int = 0
    #: The number of processes of the job.
    world: int = 1
    #: The rank among the processes of the same machine.
    local_rank: int = 0
    #: Host name and TCP port of the first process.
    address: str = ""
    port: int = 0
    #: The largest number of processes on any machine.
    local_world: int = 1
    #: The environment variables that say so.
    variables: str = field(default="", compare=False)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0


def process_info(environment: dict[str, str] | None = None, proc: Path = Path("/proc")) -> ProcessInfo:
    """Read the position of this process from the environment. Raises ValueError if the variables are invalid."""
    env = dict(os.environ) if environment is None else environment
    if "RANK" in env and "WORLD_SIZE" in env:
        names, local_world_name = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), "LOCAL_WORLD_SIZE"
        address, port = env.get("MASTER_ADDR", "127.0.0.1"), env.get("MASTER_PORT", "29500")
    elif "SLURM_STEP_NUM_TASKS" in env and "SLURM_PROCID" in env and _is_task(env, proc):
        # SLURM_NTASKS is no substitute: a batch script has it too, although it runs once.
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        local_world_name = "SLURM_STEP_TASKS_PER_NODE"
        address = first_host(env.get("SLURM_STEP_NODELIST", "127.0.0.1"))
        port = env.get("MASTER_PORT") or str(_choose_port(env))
    else:
        return ProcessInfo()
    try:
        rank, world, local_rank = (int(env.get(name, "0")) for name in names)
        local_world = _max_tasks_per_node(env.get(local_world_name, "1"))
        info = ProcessInfo(rank, world, local_rank, address, int(port), local_world, " and ".join(names[:2]))
    except ValueError:
        raise ValueError(f"{', '.join((*names, 'MASTER_PORT', local_world_name))} must be numbers") from None
    if world < 1:
        raise ValueError(f"{names[1]} is {world}; it must be at least 1")
    if not 0 <= rank < world:
        raise ValueError(f"{names[0]} is {rank}; it must be from 0 to {world - 1}, one less than {names[1]}")
    if not 0 < info.port < 2**16:
        raise ValueError(f"MASTER_PORT is {info.port}; it must be from 1 to 65535")
    return info if world > 1 else ProcessInfo()


def _is_task(env: dict[str, str], proc: Path) -> bool:
    """Whether this process is a task of a Slurm step, and not started from the shell of `srun --pty`.

    Tasks of a step that was started from such a shell have SLURM_PTY_PORT too. They differ in that slurmstepd has
    started them, and without a terminal.
    """
    if "SLURM_PTY_PORT" not in env:
        return True
    parent, terminal = _parent_and_terminal(proc / "self")
    is_child = True
    while parent > 1:
        folder = proc / str(parent)
        with suppress(OSError):
            if (folder / "comm").read_text().strip() == "slurmstepd":
                return is_child or not terminal
        is_child, parent = False, _parent_and_terminal(folder)[0]
    return False


def _parent_and_terminal(folder: Path) -> tuple[int, int]:
    """The parent process and the controlling terminal (0: none) of the process of a folder in /proc."""
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()  # the name in parentheses may have blanks
        return int(fields[1]), int(fields[4])
    except (OSError, ValueError, IndexError):
        return 0, 0


def first_host(hosts: str) -> str:
    """The first host of a Slurm host list: `gpu03` for `gpu[03-05,9],cpu1`."""
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", hosts)
    return "".join(part or "" for part in match.groups()) if match else hosts


def _max_tasks_per_node(tasks: str) -> int:
    """The largest number in Slurm's list of tasks per node: 4 for `4(x2),3`."""
    return max(int(part.partition("(")[0]) for part in tasks.split(","))


def _choose_port(env: dict[str, str]) -> int:
    """A port that is unlikely to be used by other steps of the job or by other jobs on the machine."""
    return 20000 + (int(env.get("SLURM_JOB_ID", "0")) * 16 + int(env.get("SLURM_STEP_ID", "0"))) % 40000


class ProcessGroup:
    """The connected processes of a job.

    They share a key-value store that the first process hosts. If there is only one process, `store` is None, and all
    methods return at once.
    """

    def __init__(self, process: ProcessInfo, store: Store | None) -> None:
        self.process = process
        self._store = store
        self._stopped = threading.Event()

    def _wait_for_start(self, patience: _Patience) -> None:
        """Wait until all processes of the job have started. Raises PeerError if they do not start in time."""
        assert self._store is not None
        world = self.process.world
        with _store_errors_as_peer_errors():
            self._store.set(f"started/{self.process.rank}", "here")
            while not self._get("all started"):
                self.check_peers()
                what = f"all {world} processes"
                if self.process.is_first:
                    missing = [rank for rank in range(world) if not self._store.check([f"started/{rank}"])]
                    if not missing:
                        self._store.set("all started", "here")
                        return
                    what = f"{len(missing)} of {world} processes ({_list_ranks(missing)})"
                    patience.wait(f"{what} at {self.process.address}:{self.process.port}")
                if patience.is_over:
                    message = f"{what} did not start: {patience.reason}"
                    self._store.compare_set("failure", "", message)
                    raise PeerError(message)
                time.sleep(0.05)

    def share(self, count: int) -> range:
        """The indices of `count` items that this process works on: every world-th, starting at its rank."""
        return range(self.process.rank, count, self.process.world)

    def check_peers(self) -> None:
        """Raise PeerError if another process has failed."""
        if self._store is None:
            return
        with _store_errors_as_peer_errors():
            if message := self._get("failure"):
                self._acknowledge_failure()
                raise PeerError(message)

    def arrive(self, name: str) -> None:
        """Announce that this process has reached the point `name`. The first process waits for all others.

        Raises PeerError in the first process if another one fails or stops sending heartbeats.
        """
        if self._store is None:
            return
        with _store_errors_as_peer_errors():
            self._store.set(f"{name}/{self.process.rank}", "here")
        if self.process.is_first:
            self._wait_for_others(self._store, name)

    def _wait_for_others(self, store: Store, name: str) -> None:
        # The last heartbeat of each process that has not arrived, and when it was noticed.
        heartbeats = {rank: ("", time.monotonic()) for rank in range(1, self.process.world)}
        while heartbeats:
            self.check_peers()
            for rank, (previous, noticed) in list(heartbeats.items()):
                heartbeat = self._get(f"heartbeat/{rank}")
                if store.check([f"{name}/{rank}"]):
                    del heartbeats[rank]
                elif heartbeat != previous:
                    heartbeats[rank] = (heartbeat, time.monotonic())
                elif time.monotonic() - noticed > SILENCE_SECONDS:
                    raise PeerError(
                        f"process {rank} of {self.process.world} has not sent a heartbeat for {SILENCE_SECONDS:.0f} "
                        "seconds"
                    )
            time.sleep(0.02)

    def wait_for_first(self, name: str) -> None:
        """Wait until the first process has reached the point `name`."""
        if self._store is None:
            return
        if self.process.is_first:
            self._store.set(name, "here")
        while not self._get(name):
            self.check_peers()
            time.sleep(0.02)

    def all_gather(self, value: Any) -> list[Any]:
        """The `value` of every process, in the order of their ranks."""
        if self.process.world == 1:
            return [value]
        from torch import distributed as dist

        values: list[Any] = [None] * self.process.world
        dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        if self.process.world == 1:
            return flag
        import torch
        from torch import distributed as dist

        count = torch.tensor([flag], dtype=torch.int32)
        dist.all_reduce(count)
        return bool(count.item())

    def sum_all(self, value: float) -> float:
        """The sum of `value` over all processes."""
        if self.process.world == 1:
            return value
        import torch
        from torch import distributed as dist

        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total.item())

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite `tensors` in every process with those of the first process."""
        if self.process.world == 1:
            return
        from torch import distributed as dist

        for tensor in tensors:
            dist.broadcast(tensor, 0)

    def _get(self, key: str) -> str:
        """The value of `key`, or an empty string; the store's own `get` would wait until the key exists."""
        assert self._store is not None
        return self._store.get(key).decode() if self._store.check([key]) else ""

    def _send_heartbeats(self) -> None:
        assert self._store is not None
        count = 0
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            count += 1
            try:
                self._store.set(f"heartbeat/{self.process.rank}", str(count))
            except RuntimeError:
                return

    def _report_failure(self, error: BaseException) -> PeerError | None:
        """Send an error to all processes. Returns the error of another process if that one failed earlier."""
        assert self._store is not None
        message = self._failure_message(str(error) or type(error).__name__)
        try:
            if isinstance(error, RuntimeError):
                # Probably torch's, because another process has exited: wait for the message of that process.
                self._wait_for_keys(["failure"])
            first_message = self._store.compare_set("failure", "", message).decode()
            self._acknowledge_failure()
            self._wait_until_all_know()
        except RuntimeError:
            return PeerError(_LOST_STORE)
        return PeerError(first_message) if first_message != message else None

    def _report_stop(self, number: signal.Signals) -> None:
        """Tell the other processes, which were probably stopped too, why this one ends; do not wait long for them."""
        assert self._store is not None
        with suppress(RuntimeError):
            self._store.compare_set("failure", "", self._failure_message(f"stopped by {number.name}"))
            self._wait_until_all_know(0.3)

    def _failure_message(self, reason: str) -> str:
        return f"process {self.process.rank} of {self.process.world}: {reason}"

    def _acknowledge_failure(self) -> None:
        assert self._store is not None
        self._store.set(f"acknowledged/{self.process.rank}", "")

    def _wait_until_all_know(self, seconds: float = 5.0) -> None:
        """In the first process, which hosts the store, wait until all others have read the failure."""
        assert self._store is not None
        if self.process.is_first:
            others = [rank for rank in range(1, self.process.world) if self._store.check([f"started/{rank}"])]
            self._wait_for_keys([f"acknowledged/{rank}" for rank in others], seconds)

    def _wait_for_keys(self, keys: list[str], seconds: float = 5.0) -> None:
        assert self._store is not None
        deadline = time.monotonic() + seconds
        while keys and time.monotonic() < deadline and not self._store.check(keys):
            time.sleep(0.05)


_LOST_STORE = "the first process of the job has exited unexpectedly"


@contextmanager
def _store_errors_as_peer_errors() -> Iterator[None]:
    try:
        yield
    except PeerError:
        raise
    except RuntimeError:  # torch's DistNetworkError and related errors
        raise PeerError(_LOST_STORE) from None


class _Patience:
    """Waiting for other processes: announced after QUIET_SECONDS, given up after `seconds`.

    `announce` is called once, with a sentence that tells what the process waits for and how it runs alone.
    """

    def __init__(self, process: ProcessInfo, seconds: float, announce: Callable[[str], None]) -> None:
        self._variables, self._seconds, self._announce = process.variables, seconds, announce
        self._start = time.monotonic()
        self._first_wait: float | None = None
        self._is_announced = False

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self._start >= self._seconds

    @property
    def reason(self) -> str:
        """What to say when the time is over."""
        return f"waited {self._seconds:g} seconds (--wait); unset {self._variables} to run alone"

    def wait(self, what: str) -> None:
        """Announce what the process waits for, once and not at first."""
        now = time.monotonic()
        self._first_wait = self._first_wait or now
        if not self._is_announced and now - self._start >= QUIET_SECONDS and now - self._first_wait >= 1:
            self._is_announced = True
            self._announce(f"waiting for {what}, as {self._variables} say; unset them to run alone")


def _list_ranks(ranks: list[int]) -> str:
    more = ", ..." if len(ranks) > 8 else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:8]))}{more}"


def _open_store(process: ProcessInfo, patience: _Patience) -> Store:
    """The key-value store of the job: hosted by the first process, or by torchrun if it says so.

    Raises PeerError if the port is in use, or if there is no connection in time.
    """
    is_hosted_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    is_host = process.is_first and not is_hosted_by_torchrun
    server = "torchrun" if is_hosted_by_torchrun else f"the first of {process.world} processes"
    listener = None
    if is_host:
        try:
            listener = _listen(process.port).detach()
        except OSError as error:
            raise PeerError(
                f"cannot listen on port {process.port}: {error.strerror}; set MASTER_PORT to a free port"
            ) from None
    else:
        _wait_for_connection(process, server, patience)
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    address, timeout = "127.0.0.1" if is_host else process.address, timedelta(seconds=ANSWER_SECONDS)
    # The constructor waits forever for the answer of a server of another kind, so another thread calls it.
    pool = ThreadPoolExecutor(1)
    try:
        store: Store = pool.submit(
            TCPStore, address, process.port, None, is_host, timeout, False, master_listen_fd=listener
        ).result(ANSWER_SECONDS)
    except (RuntimeError, TimeoutError):
        raise PeerError(
            f"what listens at {process.address}:{process.port} is not {server}; set MASTER_PORT to a free port"
        ) from None
    finally:
        pool.shutdown(wait=False)
    store.set_timeout(timedelta(seconds=SILENCE_SECONDS))
    # torchrun may start all processes again with the same store.
    return PrefixStore(f"facetools/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _wait_for_connection(process: ProcessInfo, server: str, patience: _Patience) -> None:
    """Wait until `server`, at the address of the first process, accepts a TCP connection."""
    server = f"{server} at {process.address}:{process.port}"
    while reason := _connection_error(process.address, process.port):
        if patience.is_over:
            raise PeerError(f"there is no connection to {server} ({reason}): {patience.reason}")
        patience.wait(f"{server} ({reason})")
        time.sleep(0.1)


def _listen(port: int) -> socket.socket:
    """A socket that listens on `port` of all addresses."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=2048, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=2048)


def _connection_error(address: str, port: int) -> str:
    """Why there is no TCP connection to `address`; empty if there is one."""
    try:
        socket.create_connection((address, port), timeout=2).close()
        return ""
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "not a host name"


@contextmanager
def join_processes(
    process: ProcessInfo,
    *,
    collectives: bool = False,
    wait: float = 300.0,
    announce: Callable[[str], None] = lambda message: None,
) -> Iterator[ProcessGroup]:
    """Connect the processes of the job while the block runs. `collectives` enables operations on tensors.

    wait: the number of seconds within which all processes have to start.
    announce: receives a sentence that tells what this process waits for, if that takes longer than QUIET_SECONDS.

    An exception in the block of one process stops all others with a PeerError of the same message.
    """
    if process.world == 1:
        yield ProcessGroup(process, None)
        return
    extras.require("torch", "a job of several processes")
    patience = _Patience(process, wait, announce)
    store = _open_store(process, patience)
    import torch
    from torch import distributed as dist

    group = ProcessGroup(process, store)
    threading.Thread(target=group._send_heartbeats, daemon=True).start()
    try:
        group._wait_for_start(patience)
        if collectives:
            # gloo for tensors on the CPU, NCCL for those on GPUs
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, store=group._store, rank=process.rank, world_size=process.world)
        with signals.before_end(group._report_stop):
            yield group
            group.arrive("end")
    except PeerError:
        group._wait_until_all_know()
        raise
    except BaseException as error:
        if (peer_error := group._report_failure(error)) is not None:
            raise peer_error from None
        raise
    finally:
        group._stopped.set()
        if dist.is_initialized():
            dist.destroy_process_group()
