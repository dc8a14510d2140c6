"""Jobs of several processes on one or more machines.

`process_info` determines the rank of this process, and `join_processes` connects it with the others. Processes are
started by torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), or by srun as the tasks of a job step
(SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, and the step's hosts and job number). There is nothing to configure.
A process that was started in any other way is the only one, and does not import torch for communication.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from facetools.runtime import extras

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

#: Seconds between the heartbeats of a process.
HEARTBEAT_SECONDS = 2.0
#: Seconds without a heartbeat after which a process counts as dead.
SILENCE_SECONDS = 60.0
#: Seconds within which all processes must start.
START_SECONDS = 600.0


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

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0


def process_info(environment: dict[str, str] | None = None) -> ProcessInfo:
    """Read the position of this process from the environment. Raises ValueError if the variables are invalid."""
    env = dict(os.environ) if environment is None else environment
    if "RANK" in env and "WORLD_SIZE" in env:
        names, local_world_name = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), "LOCAL_WORLD_SIZE"
        address, port = env.get("MASTER_ADDR", "127.0.0.1"), env.get("MASTER_PORT", "29500")
    elif "SLURM_STEP_NUM_TASKS" in env and "SLURM_PROCID" in env:
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
        info = ProcessInfo(rank, world, local_rank, address, int(port), local_world)
    except ValueError:
        raise ValueError(f"{', '.join((*names, 'MASTER_PORT', local_world_name))} must be numbers") from None
    if not 0 <= rank < world:
        raise ValueError(f"{names[0]} is {rank}; it must be from 0 to {world - 1}, one less than {names[1]}")
    return info if world > 1 else ProcessInfo()


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
                limit = SILENCE_SECONDS if heartbeat else START_SECONDS
                if store.check([f"{name}/{rank}"]):
                    del heartbeats[rank]
                elif heartbeat != previous:
                    heartbeats[rank] = (heartbeat, time.monotonic())
                elif time.monotonic() - noticed > limit:
                    raise PeerError(
                        f"process {rank} of {self.process.world} has not sent a heartbeat for {limit:.0f} seconds"
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
        message = f"process {self.process.rank} of {self.process.world}: {str(error) or type(error).__name__}"
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

    def _acknowledge_failure(self) -> None:
        assert self._store is not None
        self._store.set(f"acknowledged/{self.process.rank}", "")

    def _wait_until_all_know(self) -> None:
        """In the first process, which hosts the store, wait until all others have read the failure."""
        if self.process.is_first:
            self._wait_for_keys([f"acknowledged/{rank}" for rank in range(1, self.process.world)])

    def _wait_for_keys(self, keys: list[str], seconds: float = 5.0) -> None:
        assert self._store is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._store.check(keys):
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


@contextmanager
def join_processes(process: ProcessInfo, *, collectives: bool = False) -> Iterator[ProcessGroup]:
    """Connect the processes of the job while the block runs. `collectives` enables operations on tensors.

    An exception in the block of one process stops all others with a PeerError of the same message.
    """
    if process.world == 1:
        yield ProcessGroup(process, None)
        return
    extras.require("torch", "a job of several processes")
    import torch
    from torch import distributed as dist
    from torch.distributed.rendezvous import rendezvous

    os.environ |= {"MASTER_ADDR": process.address, "MASTER_PORT": str(process.port)}
    store, _, _ = next(rendezvous("env://", process.rank, process.world, timeout=timedelta(seconds=START_SECONDS)))
    group = ProcessGroup(process, store)
    threading.Thread(target=group._send_heartbeats, daemon=True).start()
    try:
        if collectives:
            # gloo for tensors on the CPU, NCCL for those on GPUs
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, store=store, rank=process.rank, world_size=process.world)
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
