"""Services that misbehave: whatever one does with a record, that record ends with a cause and the others go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, NoReturn, cast

import pytest

from metroline import Drop, Retry, Wait
from metroline.agents.services.service import Record
from metroline.agents.stops import bounded_calls, calls, stuck_calls
from metroline.agents.stops.containment import TaskExited
from metroline.agents.stops.stop import Stop
from metroline.agents.stops.stuck_calls import ServiceStuck, StuckCalls
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.outcome import Ending
from metroline.routing.strategies import STRATEGIES
from tests.support.bench import Bench, carrying, endings_of, envelope, segments_of, until

ONCE = RetryPolicy(attempts=1, timeout=5.0)

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain with reads": {"reads": frozenset({"size"})},
    "plain, ordered": {"ordered": True},
    "async": {"is_async": True},
    "async, concurrent": {"is_async": True, "concurrency": 8},
    "async, ordered": {"is_async": True, "ordered": "size"},
    "blocking": {"is_blocking": True},
    "blocking, concurrent with reads": {"is_blocking": True, "concurrency": 8, "reads": frozenset({"size"})},
    "blocking, ordered": {"is_blocking": True, "ordered": True},
}
"""Every kind of service."""


def fail(*_: Any) -> NoReturn:
    raise RuntimeError("not even this")


class Unspeakable(Exception):
    """An exception that cannot be shown, nor asked for its class."""

    __str__ = __repr__ = fail
    args = property(fail)
    __traceback__ = property(fail)
    __class__ = property(fail)


class Mute:
    __str__ = __repr__ = fail
    __class__ = property(fail)


class Locked(dict[str, Any]):
    """A dict whose content is there, and whose methods raise."""

    keys = items = values = get = __iter__ = __len__ = __contains__ = __getitem__ = fail


class BadText(str):
    __getitem__ = encode = __hash__ = __eq__ = __str__ = cast(Any, fail)


class OddDrop(Drop):
    reason = property(fail)


class OddRetry(Retry):
    after = property(fail)

    def __init__(self) -> None:
        pass


class OddWait(Wait):
    seconds = record = property(fail)

    def __init__(self) -> None:
        pass


def odd_drop() -> Drop:
    return cast(Drop, object.__new__(OddDrop))


def raising(make: Callable[[], BaseException]) -> Callable[[Record], Any]:
    def service(record: Record) -> Any:
        raise make()

    return service


def returning(make: Callable[[], Any]) -> Callable[[Record], Any]:
    return lambda record: make()


def spoilt(make: Callable[[], Any]) -> Callable[[Record], Any]:
    return lambda record: {**record, "odd": make()}


def nested() -> list[Any]:
    tree: list[Any] = []
    for _ in range(10_000):
        tree = [tree]
    return tree


HUGE = 10**5000
"""An integer that Python refuses to write."""

MISDEEDS: dict[str, tuple[Callable[[Record], Any], str]] = {
    "an exception that cannot be shown": (raising(Unspeakable), "service_error: Unspeakable: "),
    "KeyboardInterrupt": (raising(KeyboardInterrupt), "service_error: KeyboardInterrupt"),
    "GeneratorExit": (raising(GeneratorExit), "service_error: GeneratorExit"),
    "SystemExit": (raising(lambda: SystemExit(3)), "service_error: SystemExit: 3"),
    "StopIteration": (raising(StopIteration), "service_error: "),
    "CancelledError": (raising(asyncio.CancelledError), "service_error: CancelledError"),
    "MemoryError": (raising(MemoryError), "service_error: MemoryError"),
    "a value that cannot be shown": (returning(Mute), "bad_return: Mute, not a dict"),
    "Drop with a huge integer": (returning(lambda: Drop(cast(str, HUGE))), "bad_return: Drop(<int>)"),
    "Drop with a value that cannot be shown": (returning(lambda: Drop(cast(str, Mute()))), "bad_return: Drop(<Mute>)"),
    "Drop with a long list": (returning(lambda: Drop(cast(str, [0] * 10**6))), "bad_return: Drop(<list>)"),
    "Drop that raises": (returning(odd_drop), "bad_return: OddDrop cannot be read: RuntimeError: not even this"),
    "Retry that raises": (returning(OddRetry), "bad_return: OddRetry cannot be read: RuntimeError: not even this"),
    "Retry after a huge integer": (returning(lambda: Retry(after=HUGE)), "bad_return: Retry(after=<int>)"),
    "Retry after a negative integer": (returning(lambda: Retry(after=-HUGE)), "bad_return: Retry(after=<int>)"),
    "Retry after NaN": (returning(lambda: Retry(after=float("nan"))), "bad_return: Retry(after=nan)"),
    "Retry after minus infinity": (returning(lambda: Retry(after=-float("inf"))), "bad_return: Retry(after=-inf)"),
    "Retry after a text": (returning(lambda: Retry(after=cast(float, "5"))), "bad_return: Retry(after='5')"),
    "Retry after what cannot be shown": (
        returning(lambda: Retry(after=cast(float, Mute()))),
        "bad_return: Retry(after=<Mute>)",
    ),
    "Retry for a reason that cannot be shown": (
        returning(lambda: Retry(cast(str, Mute()))),
        "retries_exhausted: a Mute, whose text cannot be read: RuntimeError",
    ),
    "Retry for a huge reason": (returning(lambda: Retry("x" * 10**7)), "retries_exhausted: xxx"),
    "Wait that raises": (returning(OddWait), "bad_return: OddWait cannot be read: RuntimeError: not even this"),
    "Wait for what cannot be shown": (
        returning(lambda: Wait(seconds=cast(float, Mute()))),
        "bad_return: Wait(seconds=",
    ),
    "Wait until what cannot be shown": (returning(lambda: Wait(until=cast(float, Mute()))), "bad_return: Wait(until="),
    "Wait with what cannot be shown then": (
        returning(lambda: Wait(seconds=1, then=cast(Any, Mute()))),
        "bad_return: Wait(then=<Mute>)",
    ),
    "Wait with a record that is none": (
        returning(lambda: Wait(seconds=1, record=cast(Record, Mute()))),
        "bad_return: Wait(record=<Mute>)",
    ),
    "Wait with a record that no JSON holds": (
        returning(lambda: Wait(seconds=1, record={"odd": Mute()})),
        "not_encodable: ",
    ),
    "a huge integer": (spoilt(lambda: HUGE), "not_encodable: "),
    "a nested list": (spoilt(nested), "not_encodable: "),
    "a value of a strange type": (spoilt(Mute), "not_encodable: "),
    "a lone surrogate": (spoilt(lambda: "\ud800"), "not_encodable: "),
}


def as_async(service: Callable[[Record], Any]) -> Callable[[Record], Any]:
    async def call(record: Record) -> Any:
        await asyncio.sleep(0)
        return service(record)

    return call


def stop_of(bench: Bench, service: Callable[[Record], Any], kind: dict[str, Any]) -> Stop:
    """Return a stop whose service misbehaves with a record of size 2 and leaves all others as they are."""

    def only_two(record: Record) -> Any:
        return service(record) if record["size"] == 2 else record

    options = {"retry_policy": ONCE} | {key: value for key, value in kind.items() if key != "is_async"}
    return bench.stop(as_async(only_two) if kind.get("is_async") else only_two, **options)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_calls, "CANCEL_SECONDS", 0.01)


@pytest.mark.parametrize("misdeed", MISDEEDS)
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
async def test_one_record_ends_and_its_neighbours_go_on(strategy: str, misdeed: str) -> None:
    service, reason = MISDEEDS[misdeed]
    bench = Bench.make(strategy=strategy)
    for name, kind in KINDS.items():
        for chained in (False, True):
            bench.producer.sent.clear()
            own = stop_of(bench, service, kind)
            handle = own.handle_at_once if chained and not kind.get("ordered") else own.handle
            await bench.complete(handle, envelope({"size": 1}, {"size": 2}, {"size": 3}, strategy=strategy))

            ended = {
                record: (segment.outcome.ending, segment.outcome.reason)
                for segment in segments_of(bench.producer.sent)
                for record in segment.ids
                if segment.outcome is not None
            }
            assert list(ended) == [1], name
            assert (ended[1][0], str(ended[1][1])[: len(reason)]) == (Ending.DEAD, reason), name
            assert sorted(one for segment in segments_of(bench.producer.sent) for one in segment.ids) == [0, 1, 2], name


async def test_a_dict_whose_methods_raise_goes_on_with_what_it_holds(bench: Bench) -> None:
    for kind in KINDS.values():
        bench.producer.sent.clear()
        await bench.complete(stop_of(bench, Locked, kind).handle, envelope({"size": 2}))
        [sent] = bench.producer.sent
        assert (sent.topic, sent.records) == ("test.service.c", [{"size": 2}])


async def test_a_text_whose_methods_raise_is_a_reason(bench: Bench) -> None:
    await bench.complete(bench.stop(lambda record: Drop(BadText("gift"))).handle, envelope({"size": 1}))
    assert endings_of(bench.producer.sent) == {0: (Ending.DROPPED, "gift")}


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_service_that_cancels_its_own_task_cancels_nothing_else(bench: Bench, ordered: bool) -> None:
    def cancel(record: Record) -> Record:
        task = asyncio.current_task()
        if task is not None:
            task.cancel()
        return record

    async def cancel_and_wait(record: Record) -> Record:
        if record["size"] == 2:
            cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            await asyncio.sleep(1)
        return record

    mailbox = bench.mailbox("service.a")
    mailbox.put(envelope({"size": 2}, {"size": 3}).encode())
    own = bench.stop(cancel_and_wait, retry_policy=ONCE, ordered=ordered)
    async with carrying(bench, mailbox, own.handle, own.cancel):
        await until(lambda: mailbox.acknowledged == {0: [0]})
    assert str(endings_of(bench.producer.to("test.arrivals"))[0][1]).startswith("service_error: CancelledError: ")
    assert [one.records for one in bench.producer.to("test.service.c")] == [[{"size": 3}]]

    plain, mailbox = bench.stop(cancel, ordered=ordered), bench.mailbox("service.a")
    mailbox.put(envelope({"size": 2}).encode())
    async with carrying(bench, mailbox, plain.handle, plain.cancel):
        await until(lambda: mailbox.acknowledged == {0: [0]})


async def test_a_cancellation_that_is_swallowed_ends_its_call_and_no_other(
    bench: Bench, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    free = asyncio.Event()

    async def stay(record: Record) -> Record:
        while record["size"] == 2 and not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return record

    own = bench.stop(stay, retry_policy=RetryPolicy(attempts=1, timeout=0.01))
    await bench.complete(own.handle, envelope({"size": 1}, {"size": 2}, {"size": 3}))

    assert endings_of(bench.producer.to("test.arrivals")) == {1: (Ending.DEAD, "timeout: no answer within 0.01 s")}
    assert own.bounded_calls is not None
    [place] = own.bounded_calls.standing()
    assert "stay (test_hostile_services.py:" in place
    assert "was given up after 0.01 s and still runs" in caplog.text
    free.set()
    await until(lambda: own.bounded_calls is not None and not own.bounded_calls.standing())


@pytest.mark.parametrize("how", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["plain", "async", "blocking"])
async def test_a_task_of_the_services_own_that_exits_does_not_end_the_worker(
    bench: Bench, kind: str, how: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[asyncio.Future[Any]] = []
    loop = asyncio.get_running_loop()

    async def leave() -> None:
        await asyncio.sleep(0)
        raise how("bye")

    def start(record: Record) -> Record:
        if kind == "blocking":
            tasks.append(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(leave(), loop), loop=loop))
        else:
            tasks.append(loop.create_task(leave()))
        return record

    await bench.complete(stop_of(bench, start, KINDS[kind]).handle, envelope({"size": 2}))
    [ended] = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(ended, TaskExited)
    assert f"a task that the service 'a' started ended with {how.__name__}: bye; the worker goes on" in caplog.text
    assert [one.topic for one in bench.producer.sent] == ["test.service.c"]


REGISTERED: dict[str, Callable[[asyncio.AbstractEventLoop, Callable[..., Any]], Any]] = {
    "call_soon_threadsafe": lambda loop, callback: loop.call_soon_threadsafe(callback),
    "call_later": lambda loop, callback: loop.call_later(0.001, callback),
    "call_at": lambda loop, callback: loop.call_at(loop.time(), callback),
}
"""Ways to have the event loop call a function later."""


@pytest.mark.parametrize("way", REGISTERED)
@pytest.mark.parametrize("kind", ["plain", "async", "async, concurrent"])
async def test_a_callback_of_a_service_that_exits_does_not_end_the_worker(
    bench: Bench, kind: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    called = asyncio.Event()

    def leave(*_: object) -> None:
        called.set()
        raise SystemExit("bye")

    def start(record: Record) -> Record:
        REGISTERED[way](asyncio.get_running_loop(), leave)
        return record

    await bench.complete(stop_of(bench, start, KINDS[kind]).handle, envelope({"size": 2}))
    await asyncio.wait_for(called.wait(), 5)
    await asyncio.sleep(0)

    said = "a callback that the service 'a' registered ended with SystemExit: bye; the worker goes on"
    assert said in caplog.messages
    assert [one.topic for one in bench.producer.sent] == ["test.service.c"]


async def test_a_task_that_is_cancelled_before_it_begins_leaves_no_warning(bench: Bench) -> None:
    async def rest() -> None:
        await asyncio.sleep(1)

    async def start(record: Record) -> Record:
        asyncio.create_task(rest()).cancel()
        return record

    await bench.complete(bench.stop(start).handle, envelope({"size": 1}))
    assert [one.topic for one in bench.producer.sent] == ["test.service.c"]


async def test_threads_that_never_return_end_the_worker_once_no_call_can_begin(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calls, "MAX_GIVEN_UP", 2)
    monkeypatch.setattr(calls, "MAX_GIVEN_UP_EACH", 2)
    gate = threading.Event()

    def hang(record: Record) -> Record:
        if record["size"]:
            gate.wait(20)
        return record

    own = bench.stop(hang, is_blocking=True, retry_policy=RetryPolicy(attempts=1, timeout=0.01))
    watch = StuckCalls()
    crashed: list[BaseException] = []

    async def crash(error: BaseException) -> None:
        crashed.append(error)

    monkeypatch.setattr(watch, "crash", crash)
    assert own.bounded_calls is not None
    watch.calls.append(own.bounded_calls)
    handling = asyncio.create_task(bench.complete(own.handle, envelope({"size": 1}, {"size": 1}, {"size": 0})))
    async with asyncio.timeout(30):
        while own.bounded_calls.stuck_since is None:
            await asyncio.sleep(0.01)
    await watch.check()
    assert "the service 'a' cannot be called: 2 calls that were given up still run: 2 in" in caplog.text
    assert "hang (test_hostile_services.py:" in caplog.text
    assert not crashed
    monkeypatch.setattr(stuck_calls, "STUCK_SECONDS", 0.0)
    await watch.check()
    assert [type(error) for error in crashed] == [ServiceStuck]
    gate.set()
    await handling
    assert [one.records for one in bench.producer.to("test.service.c")] == [[{"size": 0}]]
    await watch.check()
    assert len(crashed) == 1, "once a thread has ended, the service is called again"
