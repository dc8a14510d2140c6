"""A job of several processes, on one machine or several: who this process is, and how the processes communicate.

Processes are started by torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) or as the tasks of a job step
by srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID and the step's hosts and job number). There is nothing to
configure. A process that was started otherwise is alone and does not import torch, whose network connects the others.
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

#: Seconds between heartbeats of a process, without a heartbeat until it counts as dead, and until it must have started.
HEARTBEAT_SECONDS, SILENCE_SECONDS, START_SECONDS = 2.0, 60.0, 600.0


class PeerError(RuntimeError):
    """Another process of the job has failed; the message is that process's own."""


@dataclass(frozen=True)
class ProcessInfo:
    """This process among the `world` processes of a job: its `rank` among all, and its `local_rank` on its machine,
    which runs at most `local_world` of them."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    address: str = ""
    port: int = 0
    local_world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0


def process_info(environment: dict[str, str] | None = None) -> ProcessInfo:
    """This process according to the environment; a ValueError if the environment contradicts itself."""
    given = dict(os.environ) if environment is None else environment
    if "RANK" in given and "WORLD_SIZE" in given:
        names, tasks = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), "LOCAL_WORLD_SIZE"
        address, port = given.get("MASTER_ADDR", "127.0.0.1"), given.get("MASTER_PORT", "29500")
    elif "SLURM_STEP_NUM_TASKS" in given and "SLURM_PROCID" in given:
        # A batch script itself has SLURM_NTASKS and SLURM_PROCID too, though it runs once.
        names, tasks = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"), "SLURM_STEP_TASKS_PER_NODE"
        address = first_host(given.get("SLURM_STEP_NODELIST", "127.0.0.1"))
        port = given.get("MASTER_PORT") or str(_port(given))
    else:
        return ProcessInfo()
    try:
        rank, world, local = (int(given.get(name, "0")) for name in names)
        found = ProcessInfo(rank, world, local, address, int(port), _most_tasks(given.get(tasks, "1")))
    except ValueError:
        raise ValueError(f"{', '.join((*names, 'MASTER_PORT', tasks))} must be numbers") from None
    if not 0 <= rank < world:
        raise ValueError(f"{names[0]} is {rank}; it must be from 0 to {world - 1}, one less than {names[1]}")
    return found if world > 1 else ProcessInfo()


def first_host(hosts: str) -> str:
    """The first of Slurm's list of hosts: `gpu[03-05,9],cpu1` begins with `gpu03`."""
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", hosts)
    return "".join(part or "" for part in found.groups()) if found else hosts


def _most_tasks(tasks: str) -> int:
    """The largest of the numbers of tasks of each machine: of Slurm's `4(x2),3` it is 4."""
    return max(int(part.partition("(")[0]) for part in tasks.split(","))


def _port(given: dict[str, str]) -> int:
    """A port that the steps of a job, and jobs that share a machine, are unlikely to have in common."""
    return 20000 + (int(given.get("SLURM_JOB_ID", "0")) * 16 + int(given.get("SLURM_STEP_ID", "0"))) % 40000


class ProcessGroup:
    """The connected processes of a job. A single process returns at once from all methods and uses no network."""

    def __init__(self, process: ProcessInfo, store: Store | None) -> None:
        self.process = process
        self._store = store
        self._done = threading.Event()

    def share(self, count: int) -> range:
        """This process's items of `count`: every world-th, starting at its rank."""
        return range(self.process.rank, count, self.process.world)

    def check_peers(self) -> None:
        """Raises a PeerError if another process has failed."""
        if self._store is None:
            return
        with _gone():
            if message := self._value("failed"):
                self._store.set(f"heard/{self.process.rank}", "")
                raise PeerError(message)

    def arrive(self, name: str) -> None:
        """Reports that this process has reached `name`; the first process waits for all others. Raises PeerError if
        one of them fails or falls silent before."""
        if self._store is None:
            return
        with _gone():
            self._store.set(f"{name}/{self.process.rank}", "here")
        waiting = (
            {rank: ("", time.monotonic()) for rank in range(1, self.process.world)} if self.process.is_first else {}
        )
        while waiting:
            self.check_peers()
            for rank, (before, since) in list(waiting.items()):
                beat = self._value(f"beat/{rank}")
                if self._store.check([f"{name}/{rank}"]):
                    del waiting[rank]
                elif beat != before:
                    waiting[rank] = (beat, time.monotonic())
                elif time.monotonic() - since > (SILENCE_SECONDS if beat else START_SECONDS):
                    raise PeerError(f"process {rank} of {self.process.world} has fallen silent")
            time.sleep(0.02)

    def follow(self, name: str) -> None:
        """Waits until the first process has reached `name`."""
        if self._store is None:
            return
        if self.process.is_first:
            self._store.set(name, "here")
        while not self._value(name):
            self.check_peers()
            time.sleep(0.02)

    def all_gather(self, value: Any) -> list[Any]:
        """The `value` of every process, by rank, in every process."""
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

        raised = torch.tensor([flag], dtype=torch.int32)
        dist.all_reduce(raised)
        return bool(raised.item())

    def sum_all(self, value: float) -> float:
        """The sum of every process's `value`."""
        if self.process.world == 1:
            return value
        import torch
        from torch import distributed as dist

        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total.item())

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites `tensors` in every process with those of the first process."""
        if self.process.world == 1:
            return
        from torch import distributed as dist

        for tensor in tensors:
            dist.broadcast(tensor, 0)

    def _value(self, key: str) -> str:
        """The value of `key`, or an empty string: the store's own `get` would wait for a missing key."""
        assert self._store is not None
        return self._store.get(key).decode() if self._store.check([key]) else ""

    def _beat(self) -> None:
        assert self._store is not None
        count = 0
        while not self._done.wait(HEARTBEAT_SECONDS):
            count += 1
            try:
                self._store.set(f"beat/{self.process.rank}", str(count))
            except RuntimeError:
                return

    def _fail(self, error: BaseException) -> PeerError | None:
        """Reports a failure to all processes, or returns the error of another process that caused it."""
        assert self._store is not None
        message = f"process {self.process.rank} of {self.process.world}: {str(error) or type(error).__name__}"
        try:
            if isinstance(error, RuntimeError):  # torch's, where a peer is gone, whose own word may be on its way
                self._await(["failed"])
            found = self._store.compare_set("failed", "", message).decode()
            self._store.set(f"heard/{self.process.rank}", "")
            self._last()
        except RuntimeError:
            return PeerError("the first process of the job has gone")
        return PeerError(found) if found != message else None

    def _last(self) -> None:
        """Makes the first process, which hosts the store, wait until all have heard of a failure."""
        if self.process.is_first:
            self._await([f"heard/{rank}" for rank in range(1, self.process.world)])

    def _await(self, keys: list[str], seconds: float = 5.0) -> None:
        assert self._store is not None
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and not self._store.check(keys):
            time.sleep(0.05)


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except PeerError:
        raise
    except RuntimeError:  # torch's DistNetworkError and its kin
        raise PeerError("the first process of the job has gone") from None


@contextmanager
def join_processes(process: ProcessInfo, *, collectives: bool = False) -> Iterator[ProcessGroup]:
    """The group of the job's processes while the block runs; `collectives` allows operations on tensors.

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
    threading.Thread(target=group._beat, daemon=True).start()
    try:
        if collectives:
            # gloo for values in memory, NCCL for what lies on GPUs
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, store=store, rank=process.rank, world_size=process.world)
        yield group
        group.arrive("end")
    except PeerError:
        group._last()
        raise
    except BaseException as error:
        if (other := group._fail(error)) is not None:
            raise other from None
        raise
    finally:
        group._done.set()
        if dist.is_initialized():
            dist.destroy_process_group()
