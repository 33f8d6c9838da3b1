"""A cluster whose topics are made by others is used as it is; everything that is missing or wrong is said at once."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from metroline.agents.kafka.topic_admin import DEFAULT_MESSAGE_BYTES, TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_survey import why_absent
from metroline.agents.kafka.topic_tail import ReadRefused, TopicTail
from metroline.app.local.ports import HOST, free_port
from metroline.app.local.worker_process import WorkerProcess
from metroline.app.settings import Settings
from tests.support.brokers import HERE, Broker, kafka_jars, running_kafka
from tests.support.cli import metroline
from tests.support.depot import Depot, check_ways, numbered
from tests.support.health import Health, health

USER, PASSWORD = "limited", "open-sesame"
STOPS = ("weigh", "crane", "shelf")
USING = (AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE_CONFIGS)


@dataclass(frozen=True, slots=True)
class Owned:
    """A Kafka with an authorizer; tests create topics and grant rights through the listener without a login."""

    broker: Broker
    login_port: int
    admin: AdminClient

    def grant(self, name: str, *operations: AclOperation, kind: ResourceType = ResourceType.TOPIC) -> None:
        """Allow the user operations on the topics, or the groups, whose names begin with `name`."""
        self._set([_rule(name, one, kind, ResourcePatternType.PREFIXED, AclPermissionType.ALLOW) for one in operations])

    def deny(self, name: str, operation: AclOperation, kind: ResourceType = ResourceType.TOPIC) -> None:
        """Deny the user an operation on a topic or a group."""
        self._set([_denial(name, operation, kind)])

    def end_denial(self, name: str, operation: AclOperation, kind: ResourceType = ResourceType.TOPIC) -> None:
        """Take a denial back."""
        denial = _denial(name, operation, kind)
        for future in self.admin.delete_acls([_matching(denial)]).values():
            future.result(20)
        self._until(lambda: not self._holds(denial))

    def _set(self, rules: list[AclBinding]) -> None:
        """Set rules and wait until the broker goes by them: the controller answers as soon as it has written them."""
        for future in self.admin.create_acls(rules).values():
            future.result(20)
        self._until(lambda: all(self._holds(rule) for rule in rules))

    def _holds(self, rule: AclBinding) -> bool:
        return bool(self.admin.describe_acls(_matching(rule)).result(20))

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the broker's authorizer has not heard of the change"
            time.sleep(0.05)

    @property
    def login(self) -> dict[str, str]:
        """Return the variables of a worker that logs in."""
        return {
            "BROKER_URL": f"kafka://{HOST}:{self.login_port}",
            "BROKER_SECURITY": "SASL_PLAINTEXT",
            "BROKER_USERNAME": USER,
            "BROKER_PASSWORD": PASSWORD,
        }


def _rule(
    name: str, operation: AclOperation, kind: ResourceType, pattern: ResourcePatternType, permission: AclPermissionType
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{USER}", "*", operation, permission)


def _denial(name: str, operation: AclOperation, kind: ResourceType) -> AclBinding:
    return _rule(name, operation, kind, ResourcePatternType.LITERAL, AclPermissionType.DENY)


def _matching(rule: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        rule.restype,
        rule.name,
        rule.resource_pattern_type,
        rule.principal,
        rule.host,
        rule.operation,
        rule.permission_type,
    )


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    """Run an Apache Kafka with an authorizer, one for this module."""
    kafka_jars()  # skips the tests if Java or Maven is missing
    login_port = free_port()
    more = (HERE / "kafka" / "authorized.properties").read_text("utf-8")
    folder = tmp_path_factory.mktemp("owned")
    with running_kafka(folder, more, login_port=login_port, user=USER, password=PASSWORD) as broker:
        yield Owned(broker, login_port, AdminClient({"bootstrap.servers": broker.bootstrap}))


@pytest.fixture
async def depot(owned: Owned, prefix: str, tmp_path: Path) -> AsyncIterator[Depot]:
    """Yield a line on that Kafka, whose workers log in."""
    depot = Depot(owned.broker, prefix, tmp_path / "depot", tmp_path, variables=owned.login)
    try:
        yield depot
    finally:
        depot.end()
        await depot.delete_topics()


def grant_use(owned: Owned, depot: Depot) -> None:
    """Allow the user what a worker needs of topics that exist."""
    owned.grant(depot.prefix, *USING)
    owned.grant(depot.prefix, AclOperation.READ, kind=ResourceType.GROUP)


def plans(depot: Depot) -> dict[str, TopicPlan]:
    """Return the topics of the line as they should be, by address."""
    source = TopicPlan(depot.topics.source, depot.partitions)
    others = depot.topics.plans(depot.partitions, STOPS, DEFAULT_MESSAGE_BYTES)
    return {depot.topics.address(plan.name): plan for plan in (source, *others)}


def check(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `metroline check --broker` with the settings of the line's workers."""
    return metroline("check", "routes.toml", "--broker", *words, cwd=depot.folder, **depot.environment())


def doctor(depot: Depot, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `metroline doctor` with the settings of the line's workers, and these."""
    return metroline("doctor", cwd=depot.folder, **depot.environment(**variables))


async def test_topics_that_others_made_are_used_as_they_are(owned: Owned, depot: Depot) -> None:
    grant_use(owned, depot)
    await TopicAdmin(depot.cluster).create(plans(depot).values())

    checked = await asyncio.to_thread(check, depot)
    worker = depot.start()
    await depot.push(numbered(range(40)))
    await depot.settled(40)

    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "topics: usable")
    check_ways((await depot.journeys()).values(), range(40))
    assert await depot.stop(worker) == 0
    said = worker.child.log.read_text()
    assert "AUTHORIZATION" not in said.upper()


async def test_everything_that_is_missing_or_wrong_is_said_in_the_last_line(owned: Owned, depot: Depot) -> None:
    grant_use(owned, depot)
    made = plans(depot)
    missing = made.pop("service.crane")
    made["conductor"] = replace(made["conductor"], partitions=2)
    made["table.outcomes"] = replace(made["table.outcomes"], config={"max.message.bytes": "20000000"})
    made["arrivals"] = replace(made["arrivals"], config={"retention.ms": "-1"})
    made["waiting.5s"] = replace(made["waiting.5s"], config=made["waiting.5s"].config | {"retention.ms": "60000"})
    await TopicAdmin(depot.cluster).create(made.values())

    told = await depot.refused()
    checked = await asyncio.to_thread(check, depot)
    as_json = await asyncio.to_thread(check, depot, "--json", "-")

    for words in (
        f"the topic {missing.name} does not exist and could not be created (TopicAuthorizationFailedError",
        f"create it with 4 partitions, max.message.bytes={2 * DEFAULT_MESSAGE_BYTES}",
        f"the topic {depot.topics.at('conductor')} has 2 partitions, its source has 4, and none could be added (",
        f"the topic {depot.topics.changelog('outcomes')} has cleanup.policy=delete instead of compact:",
        f"the topic {depot.topics.at('arrivals')} has max.message.bytes={DEFAULT_MESSAGE_BYTES} instead of ",
        f"the topic {depot.topics.at('waiting.5s')} has retention.ms=60000 instead of -1:",
        f"the topics {depot.topics.at('arrivals')}, {depot.topics.changelog('outcomes')} have a larger segment.bytes",
    ):
        assert words in told
        assert words in checked.stdout
    assert told.startswith("error: ")
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (1, "topics: a worker cannot start")
    assert checked.stdout.count("error: ") == 3
    listed = orjson.loads(as_json.stdout)["topics"]
    assert [one["fatal"] for one in listed["problems"]] == [True] * 3 + [False] * 3
    assert await depot_lacks(depot, missing.name), "the check creates nothing"


async def depot_lacks(depot: Depot, topic: str) -> bool:
    return topic not in await TopicAdmin(depot.cluster).partitions([topic])


async def test_a_right_that_is_missing_is_named_in_the_last_line(owned: Owned, depot: Depot) -> None:
    owned.grant(f"{depot.prefix}.", AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
    owned.grant(f"{depot.prefix}.service", AclOperation.WRITE)
    await TopicAdmin(depot.cluster).create(plans(depot).values())

    told = await depot.refused()

    assert f"the user lacks the right Write on the topic {depot.topics.delivered}: grant it (kafka-acls.sh " in told
    assert f"the user lacks the right Read on the group {depot.topics.waiting_group}: " in told
    assert f"the topic {depot.topics.rules} holds no rules yet, and the user lacks the right Write on it" in told
    assert f"right Write on the topic {depot.topics.at('service.weigh')}" not in told


async def test_a_source_that_is_missing_hides_no_other_problem(owned: Owned, depot: Depot) -> None:
    grant_use(owned, depot)

    told = await depot.refused()
    checked = await asyncio.to_thread(check, depot)
    examined = await asyncio.to_thread(doctor, depot)

    for plan in plans(depot).values():
        refused = f"the topic {plan.name} does not exist and could not be created (TopicAuthorizationFailedError"
        assert refused in told
        assert refused in checked.stdout
        assert refused in examined.stdout
    assert (checked.returncode, examined.returncode) == (1, 1)


async def test_topics_without_any_right_are_named_one_by_one(owned: Owned, depot: Depot) -> None:
    told = await depot.refused()

    for plan in plans(depot).values():
        assert f"the user has no right on the topic {plan.name}, or it does not exist: " in told


async def test_what_the_user_may_not_see_is_not_said_to_be_missing(depot: Depot) -> None:
    examined = await asyncio.to_thread(doctor, depot)

    for name in (depot.topics.rules, depot.topics.workers):
        assert f"cannot be examined without a right on the topic {name}" in examined.stdout
    assert examined.returncode == 1


async def test_an_address_at_which_no_broker_answers_is_warned_of_though_others_answer(
    owned: Owned, depot: Depot
) -> None:
    away = f"{HOST}:{free_port()}"

    examined = await asyncio.to_thread(doctor, depot, BROKER_URL=f"{owned.login['BROKER_URL']};kafka://{away}")

    assert examined.stdout.count("no broker answers at ") == 1
    assert f"no broker answers at {away} (" in examined.stdout


async def test_a_retention_by_time_that_the_cluster_forces_is_warned_of(owned: Owned, depot: Depot) -> None:
    grant_use(owned, depot)
    made = plans(depot)
    for address in ("service.weigh", "dead-letters"):
        made[address] = replace(made[address], config=made[address].config | {"retention.ms": "60000"})
    await TopicAdmin(depot.cluster).create(made.values())

    worker = depot.start()
    await depot.ready()

    said = worker.child.log.read_text()
    assert f"the topic {depot.topics.dead_letters} has retention.ms=60000 instead of -1:" in said
    assert await depot.stop(worker) == 0


@pytest.mark.long
async def test_a_source_that_grows_is_read_whole_once_others_have_grown_the_topics(owned: Owned, depot: Depot) -> None:
    grant_use(owned, depot)
    made = plans(depot)
    await TopicAdmin(depot.cluster).create(made.values())
    worker = depot.start()
    await depot.push(numbered(range(20)))
    await depot.settled(20)

    await TopicAdmin(depot.cluster).add_partitions({depot.topics.source: 6})
    depot.partitions = 6
    await depot.push(numbered(range(20, 50)))
    await depot.until(lambda: "has 6 partitions, and its new records wait" in worker.child.log.read_text(), 60)
    await depot.settled(40)
    inner = [plan.name for plan in made.values() if plan.partitions == 4 and plan.name != depot.topics.source]
    await TopicAdmin(depot.cluster).add_partitions(dict.fromkeys(inner, 6))
    await depot.settled(50)

    check_ways((await depot.journeys()).values(), range(50))
    assert await depot.stop(worker) == 0


async def test_a_right_to_write_that_is_revoked_makes_a_worker_not_ready_and_names_the_topic(
    owned: Owned, depot: Depot
) -> None:
    grant_use(owned, depot)
    await TopicAdmin(depot.cluster).create(plans(depot).values())
    worker = depot.start(CHAINING="on")
    ready = partial(answers, worker, "/health/ready", 200)
    await depot.until(ready)

    owned.deny(depot.topics.delivered, AclOperation.WRITE)
    await depot.push(numbered(range(20)))
    await depot.until(partial(answers, worker, "/health/ready", 503), 30)
    said = await asyncio.to_thread(health, worker, "/health/ready")
    assert said is not None
    assert said.conditions["broker"] == f"messages could not be written to {depot.topics.delivered}, and are sent again"
    assert await answers(worker, "/health/live", 200), "a restart does not help"

    owned.end_denial(depot.topics.delivered, AclOperation.WRITE)
    await depot.settled(20)
    await depot.until(ready, 30)
    assert await depot.stop(worker) == 0


@pytest.mark.parametrize(
    ("lost", "kind", "told"),
    [
        ("@all", ResourceType.GROUP, "the worker cannot stay in the consumer group {}: the user lacks the right Read"),
        (".arrivals", ResourceType.TOPIC, "bus cannot read {} any more: the user lacks the right Read on the topic"),
        (".source", ResourceType.TOPIC, "on-ramp cannot read {} any more: the user lacks the right Read on the topic"),
    ],
    ids=["group", "inner", "source"],
)
async def test_a_worker_whose_right_to_read_is_revoked_ends_with_a_line_that_names_it(
    owned: Owned, depot: Depot, lost: str, kind: ResourceType, told: str
) -> None:
    grant_use(owned, depot)
    await TopicAdmin(depot.cluster).create(plans(depot).values())
    worker = depot.start()
    await depot.until(partial(answers, worker, "/health/ready", 200))

    await depot.push(numbered(range(20)))  # there is something to commit as the worker ends
    owned.deny(f"{depot.prefix}{lost}", AclOperation.READ, kind)
    await depot.push(numbered(range(20, 40)))
    await depot.until(lambda: worker.child.exit_code is not None, 60, watch=False)

    assert await depot.stop(worker) == 1
    said = worker.child.log.read_text().strip().splitlines()[-1]
    assert said.startswith(f"error: {told.format(depot.prefix + lost)}")


async def answers(worker: WorkerProcess, path: str, status: int) -> bool:
    """Return whether the worker answers with this status."""
    answer: Health | None = await asyncio.to_thread(health, worker, path)
    return answer is not None and answer.status == status


async def test_a_topic_that_the_user_may_not_read_is_told_from_one_that_is_missing(owned: Owned, depot: Depot) -> None:
    closed, shown = (f"{depot.prefix}.{name}" for name in ("closed", "shown"))
    await TopicAdmin(depot.cluster).create([TopicPlan(closed, 1), TopicPlan(shown, 1)])
    owned.grant(shown, AclOperation.DESCRIBE)
    login: dict[str, Any] = {name.lower(): value for name, value in owned.login.items()}
    cluster = Settings(**login).cluster()
    assert await why_absent(cluster, closed) == f"the user has no right on the topic {closed}, or it does not exist"
    assert await why_absent(cluster, f"{shown}.gone") == f"there is no topic {shown}.gone"
    with pytest.raises(ReadRefused, match=f"{shown} cannot be read: the user lacks the right Read on it"):
        await asyncio.to_thread(list, TopicTail(cluster, shown).read())
