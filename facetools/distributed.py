"""One job of many processes, on one machine or several: who this process is, and the few things they do together.

Processes are started by torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) or as the tasks of a job step
by srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID and the step's hosts and job number); nothing is configured.
A process that was started otherwise is alone, and does not even import torch, whose network connects the others.
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

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

#: Seconds between signs of life of a process, of silence after which it counts as dead, and that it may take to start.
BEAT, SILENCE, START = 2.0, 60.0, 600.0


class PeerError(RuntimeError):
    """Another process of the job has failed; the message is its own."""


@dataclass(frozen=True)
class Place:
    """This process among the `world` ones of a job: its `rank` among all and `local_rank` on its machine, where there
    are at most `local_world`."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    address: str = ""
    port: int = 0
    local_world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0


def place(environment: dict[str, str] | None = None) -> Place:
    """Where the environment says that this process stands; a ValueError where it contradicts itself."""
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
        return Place()
    try:
        rank, world, local = (int(given.get(name, "0")) for name in names)
        found = Place(rank, world, local, address, int(port), _most_tasks(given.get(tasks, "1")))
    except ValueError:
        raise ValueError(f"{', '.join((*names, 'MASTER_PORT', tasks))} must be numbers") from None
    if not 0 <= rank < world:
        raise ValueError(f"{names[0]} is {rank}; it must be from 0 to {world - 1}, one less than {names[1]}")
    return found if world > 1 else Place()


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


class Group:
    """The processes of a job, connected. Alone, all of this is done at once and without a network."""

    def __init__(self, here: Place, store: Store | None) -> None:
        self.place = here
        self._store = store
        self._done = threading.Event()

    def share(self, count: int) -> range:
        """The items of this process out of `count`: every world-th from its rank on."""
        return range(self.place.rank, count, self.place.world)

    def check(self) -> None:
        """Raises a PeerError if another process has failed."""
        if self._store is None:
            return
        with _gone():
            if message := self._value("failed"):
                self._store.set(f"heard/{self.place.rank}", "")
                raise PeerError(message)

    def arrive(self, name: str) -> None:
        """Says that this process has come to `name`; the first one waits there for all others. A PeerError if one of
        them fails, or falls silent, before."""
        if self._store is None:
            return
        with _gone():
            self._store.set(f"{name}/{self.place.rank}", "here")
        waiting = {rank: ("", time.monotonic()) for rank in range(1, self.place.world)} if self.place.first else {}
        while waiting:
            self.check()
            for rank, (before, since) in list(waiting.items()):
                beat = self._value(f"beat/{rank}")
                if self._store.check([f"{name}/{rank}"]):
                    del waiting[rank]
                elif beat != before:
                    waiting[rank] = (beat, time.monotonic())
                elif time.monotonic() - since > (SILENCE if beat else START):
                    raise PeerError(f"process {rank} of {self.place.world} has fallen silent")
            time.sleep(0.02)

    def follow(self, name: str) -> None:
        """Returns when the first process has come to `name`."""
        if self._store is None:
            return
        if self.place.first:
            self._store.set(name, "here")
        while not self._value(name):
            self.check()
            time.sleep(0.02)

    def gathered(self, value: Any) -> list[Any]:
        """The `value` of every process, by rank, in every process."""
        if self.place.world == 1:
            return [value]
        from torch import distributed as dist

        values: list[Any] = [None] * self.place.world
        dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        if self.place.world == 1:
            return flag
        import torch
        from torch import distributed as dist

        raised = torch.tensor([flag], dtype=torch.int32)
        dist.all_reduce(raised)
        return bool(raised.item())

    def total(self, value: float) -> float:
        """The sum of every process's `value`."""
        if self.place.world == 1:
            return value
        import torch
        from torch import distributed as dist

        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total.item())

    def share_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites `tensors` in every process by the first one's."""
        if self.place.world == 1:
            return
        from torch import distributed as dist

        for tensor in tensors:
            dist.broadcast(tensor, 0)

    def _value(self, key: str) -> str:
        """What is kept under a key, if anything: to get what is not there would wait for it."""
        assert self._store is not None
        return self._store.get(key).decode() if self._store.check([key]) else ""

    def _beat(self) -> None:
        assert self._store is not None
        count = 0
        while not self._done.wait(BEAT):
            count += 1
            try:
                self._store.set(f"beat/{self.place.rank}", str(count))
            except RuntimeError:
                return

    def _fail(self, error: BaseException) -> PeerError | None:
        """Tells all of a failure, or finds that it follows from another process's."""
        assert self._store is not None
        message = f"process {self.place.rank} of {self.place.world}: {str(error) or type(error).__name__}"
        try:
            if isinstance(error, RuntimeError):  # torch's, where a peer is gone, whose own word may be on its way
                self._await(["failed"])
            found = self._store.compare_set("failed", "", message).decode()
            self._store.set(f"heard/{self.place.rank}", "")
            self._last()
        except RuntimeError:
            return PeerError("the first process of the job has gone")
        return PeerError(found) if found != message else None

    def _last(self) -> None:
        """Lets the first process, with which the store goes, leave only when all have heard of a failure."""
        if self.place.first:
            self._await([f"heard/{rank}" for rank in range(1, self.place.world)])

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
def joined(here: Place, *, collectives: bool = False) -> Iterator[Group]:
    """The group of the job's processes for as long as the block runs; with `collectives` they can also add up tensors.

    What fails in the block is told to all, who then stop with a PeerError of that message.
    """
    if here.world == 1:
        yield Group(here, None)
        return
    import torch
    from torch import distributed as dist
    from torch.distributed.rendezvous import rendezvous

    os.environ |= {"MASTER_ADDR": here.address, "MASTER_PORT": str(here.port)}
    store, _, _ = next(rendezvous("env://", here.rank, here.world, timeout=timedelta(seconds=START)))
    group = Group(here, store)
    threading.Thread(target=group._beat, daemon=True).start()
    try:
        if collectives:
            # gloo for values in memory, NCCL for what lies on GPUs
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, store=store, rank=here.rank, world_size=here.world)
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
