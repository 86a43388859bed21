"""To a cluster: a scheduler that runs already, or one of our own with some worker processes on this machine."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ivimsc.cluster.worker import About, about
from ivimsc.device.launch import usable_cores
from ivimsc.errors import InputError, IvimscError

__all__ = ["Cluster", "opened_cluster"]

PATIENCE = 20  # s for a scheduler to answer, and then for its first worker
SCHEDULER = "the scheduler"  # it computes nothing
MOST_LOCAL = 256  # worker processes on one machine
SETTINGS = {"distributed.admin.large-graph-warning-threshold": "4GiB", "distributed.comm.retry.count": 3}
_LOCAL, _ADDRESS = re.compile(r"local:(\d{1,4})"), re.compile(r"(?:\w+://)?[^\s/:]+:\d{1,5}|\w+://\S+|\S+\.json")


class Cluster:
    """A connection to a scheduler and its workers.

    Attributes
    ----------
    address : as the user names it
    client : of Dask
    threads : CPU threads of one job; a worker does as many jobs at once as it has threads of its own
    say : tells the user something
    """

    def __init__(self, address: str, client: Any, threads: int, say: Callable[[str], None]) -> None:
        self.address, self.client, self.threads, self.say = address, client, threads, say

    def slots(self) -> dict[str, int]:
        """Worker -> number of jobs that it does at once."""
        return self.client.nthreads()

    def most_under_way(self) -> int:
        """Most jobs that are under way at once: every worker has one, and one waiting."""
        return 2 * max(sum(self.slots().values()), 1) + 2

    def __reduce__(self) -> Any:
        raise TypeError("a cluster is the client's own, and is not sent to workers")


@contextmanager
def opened_cluster(
    cluster: "str | Cluster | None", threads: int | None = None, say: Callable[[str], None] = lambda _: None
) -> Iterator[Cluster | None]:
    """Connect to a cluster, and leave it at the end; use as a context manager.

    Parameters
    ----------
    cluster : ``local:N`` starts N worker processes here; ``tcp://host:8786``, ``host:8786`` or a scheduler file (.json)
        is a scheduler that runs; None, or one that is open already, is given back as it is
    threads : CPU threads of one job; default: 1 on a scheduler's workers, and a worker's share of the cores for ``local:N``
    say : called with each thing that the user should know

    Raises
    ------
    InputError
        for an address of another form, without Dask, for a scheduler that does not answer or has no workers, and for
        another version of ivimsc on a worker or on the scheduler
    """
    if cluster is None or isinstance(cluster, Cluster):
        yield cluster
        return
    local = _LOCAL.fullmatch(cluster)
    if (local is None and not _ADDRESS.fullmatch(cluster)) or (local and not 1 <= int(local[1]) <= MOST_LOCAL):
        raise InputError(f"cluster: found {cluster!r}, expected local:N (N workers here, 1 to {MOST_LOCAL}), or the address of a Dask scheduler such as tcp://host:8786")  # fmt: skip
    dask, distributed = _dask()
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(dask.config.set(SETTINGS))
        if local:
            count = int(local[1])
            threads = threads or max(usable_cores() // count, 1)
            where = stack.enter_context(_local(distributed, count))
        else:
            threads, where = threads or 1, cluster
        client = stack.enter_context(_client(distributed, where, cluster))
        _require_workers(client, cluster)
        _require_same_version(client, say)
        made = Cluster(cluster, client, threads, say)
        slots = made.slots()
        each = f"{threads} thread{'s' if threads > 1 else ''} a job"
        say(f"cluster: {cluster}, {len(slots)} worker{'s' if len(slots) > 1 else ''}, {sum(slots.values())} jobs at once, {each}")  # fmt: skip
        yield made


def _dask() -> tuple[Any, Any]:
    try:
        import dask
        import distributed
    except ImportError as error:
        raise InputError(f"cluster: found no {error.name}, expected the extra [cluster]: pip install 'ivimsc[cluster]'") from None  # fmt: skip
    return dask, distributed


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own log lines are left out: what matters of them is told in our words."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _local(distributed: Any, count: int) -> Iterator[Any]:
    """A scheduler and `count` worker processes on this machine, for as long as the block takes."""
    made = distributed.LocalCluster(
        n_workers=count, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit=0,
        silence_logs=logging.CRITICAL + 1, host="127.0.0.1",
    )  # fmt: skip
    try:
        yield made
    finally:
        made.close(timeout=10)


@contextmanager
def _client(distributed: Any, where: Any, name: str) -> Iterator[Any]:
    if isinstance(where, str):
        where = _address_in(Path(where)) if where.endswith(".json") else where
        _require_answer(distributed, where, name)
    client = distributed.Client(where, timeout=PATIENCE, set_as_default=False)
    try:
        yield client
    finally:
        client.close(timeout=5)


def _address_in(file: Path) -> str:
    """The address in a scheduler file."""
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except FileNotFoundError:
        raise InputError(f"cluster: found no file {file}, expected the scheduler file of a running Dask scheduler") from None  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"cluster: found {file}, expected the scheduler file of a running Dask scheduler") from None


def _require_answer(distributed: Any, address: str, name: str) -> None:
    """Ask a scheduler who it is: Dask's own client waits for ever where somebody listens who never says a word."""

    async def ask() -> None:
        arguments = distributed.security.Security().get_connection_args("client")
        peer = distributed.core.rpc(address, timeout=PATIENCE, connection_args=arguments)
        try:
            await asyncio.wait_for(peer.identity(), PATIENCE)
        finally:
            with suppress(Exception):
                await asyncio.wait_for(peer.close_rpc(), 1)

    try:
        with ThreadPoolExecutor(1) as pool:  # in a thread of its own: notebooks have a loop already
            pool.submit(lambda: asyncio.run(ask())).result()
    except (OSError, ValueError, TimeoutError, RuntimeError) as error:
        reason = f" ({str(error).splitlines()[0][:120]})" if str(error) else ""
        raise InputError(f"cluster: found no scheduler that answers at {name} within {PATIENCE} s{reason}, expected a running Dask scheduler") from None  # fmt: skip


def _require_workers(client: Any, name: str) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise InputError(f"cluster: found a scheduler at {name} without workers for {PATIENCE} s, expected at least one: start them first") from None  # fmt: skip


def _require_same_version(client: Any, say: Callable[[str], None]) -> None:
    """Refuse workers, and a scheduler, of another version of ivimsc; tell of other compilers and processors."""
    found = client.run(about, on_error="return")
    try:
        found[SCHEDULER] = client.run_on_scheduler(about)
    except Exception as error:  # whatever keeps it from importing ivimsc
        found[SCHEDULER] = error
    require_same(about(), found, say)


def require_same(here: About, found: dict[str, Any], say: Callable[[str], None]) -> None:
    """Compare what runs here with what was found elsewhere: place -> `About`, or the error that kept it from telling."""
    for place, one in found.items():
        if not isinstance(one, About):
            what = (
                "no ivimsc"
                if isinstance(one, ImportError)
                else f"no ivimsc that starts ({type(one).__name__}: {str(one)[:100]})"
            )
            raise InputError(f"cluster: found {what} on {place}, expected ivimsc {here.ivimsc} as here")
        if one.ivimsc != here.ivimsc:
            raise InputError(f"cluster: found ivimsc {one.ivimsc} on {place}, expected {here.ivimsc} as here")
    for field, what in (("compilers", "versions"), ("processor", "processors")):
        others = {getattr(one, field) for place, one in found.items() if place != SCHEDULER} - {getattr(here, field)}
        if others:
            say(f"warning: the workers have other {what} ({'; '.join(sorted(others))}) than this machine ({getattr(here, field)}): the last digits of results may differ from those of one machine")  # fmt: skip


def lost(cluster: Cluster, why: str) -> IvimscError:
    """The error of a cluster that is gone while jobs were under way."""
    return IvimscError(f"cluster: found {why} ({cluster.address}), expected it to stay until the end")
