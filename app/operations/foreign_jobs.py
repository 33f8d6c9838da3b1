"""Jobs with the dead letters of another system: which they have, what became of these, and the next ones to send."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from pyroaring import BitMap, BitMap64

from metroline.agents.kafka.topic_tail import Place
from metroline.app.operations.desk_index import Mark, Marks
from metroline.app.operations.foreign_index import NONE, ForeignIndex, Offsets
from metroline.app.operations.foreign_letters import PORTION, ForeignDesk, ForeignNote, parse_place
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.permission import Permission
from metroline.routing.errors import UsageError
from metroline.routing.journeys.replay_job_board import Jobs, TakenEntry, TakenLetters
from metroline.routing.journeys.replay_job_messages import StartForeign, Tally
from metroline.routing.journeys.settlement import EMPTY

BLOCK = 1 << 20
"""Offsets whose letters are in one bitmap of a job."""

DELETED = "the topic of dead letters does not hold it any more"
NOT_THERE = "not dead when the job began"
TAKEN = "replayed or discarded by somebody else meanwhile"


def mark_at(topic: str, place: Place) -> Mark:
    """Return the mark of the letter at a place of a topic; no topic's name has a colon, so no other letter has it."""
    return Mark(f"{place[0]}/foreign:{topic}/{place[1] // BLOCK}".encode(), 0, place[1] % BLOCK)


def offsets_of(marks: Marks) -> Offsets:
    """Return letters by their marks as offsets by partition."""
    found: dict[int, BitMap64] = {}
    for (block, _), bitmap in marks.items():
        partition, _, number = block.decode().split("/")
        offsets = BitMap64(int(number) * BLOCK + one for one in bitmap)
        found[int(partition)] = found.get(int(partition), NONE) | offsets
    return found


class ForeignJobs:
    """The letters of jobs on the topics of other systems that the line reads."""

    def __init__(self, desks: Mapping[str, ForeignDesk]) -> None:
        """Take the desks by their topics."""
        self._desks = desks

    def problem(self, start: StartForeign) -> str | None:
        """Return why no job may be about the topic of this one; None if it may."""
        if start.topic in self._desks:
            return None
        return f"{start.topic} is not among the topics of [dead_letters] in line.toml"

    async def past(self, jobs: Jobs) -> list[str]:
        """Return the keys of notes about letters that their topics do not hold any more."""
        return [
            key
            for topic, desk in self._desks.items()
            if topic in jobs.taken
            for key in jobs.past(topic, await desk.begins())
        ]

    async def found(self, start: StartForeign, others: Mapping[str, Marks], jobs: Jobs) -> tuple[Marks, dict[str, int]]:
        """Return the letters of a new job, and how many are left out, by reason."""
        index, taken = await self._desks[start.topic].look(jobs)
        marks: Marks = {}
        left_out: Counter[str] = Counter()
        for place in _asked(index, taken, start, left_out):
            block, generation, one = mark_at(start.topic, place)
            key = block, generation
            other = next((job for job, theirs in others.items() if one in theirs.get(key, EMPTY)), None)
            if other is None:
                marks.setdefault(key, BitMap()).add(one)
            else:
                left_out[f"in the replay job {other}"] += 1
        return marks, dict(left_out)

    async def tally(
        self, start: StartForeign, places: Offsets, skipped: Collection[Mark], jobs: Jobs
    ) -> tuple[Tally, int]:
        """Return what became of the letters of a job, and how many were taken by others.

        Nobody announces that a letter was handled at last: one that has not come back in `patience` seconds counts as
        ended.
        """
        index, taken = await self._desks[start.topic].look(jobs)
        own = [entry for entry in taken.entries.values() if entry.job == start.job]
        total = sum(map(len, places.values()))
        gone = sum(len(offsets & taken.places.get(partition, NONE)) for partition, offsets in places.items())
        replayed = min(gone, sum(entry.size for entry in own))
        dead_again = min(replayed, sum(index.come_back(topic, sent) for topic, sent in _sent(own).items()))
        late = time.time() - start.patience
        under_way = min(sum(entry.size for entry in own if entry.at > late), replayed - dead_again)
        ended = replayed - dead_again - under_way
        left_out = len(skipped) + gone - replayed
        return Tally(total, replayed, ended, dead_again, under_way, left_out), gone - replayed

    async def send(self, start: StartForeign, places: Offsets, count: int, skipped: dict[Mark, str], jobs: Jobs) -> int:
        """Send the next letters of a job, `count` at most; return their number. `skipped` gets those that cannot be.

        `jobs` must have been read since the last call: they say which letters were sent.
        """
        desk = self._desks[start.topic]
        _, taken = await desk.look(jobs)
        left = (
            (partition, offset)
            for partition in sorted(places)
            for offset in places[partition] - taken.places.get(partition, NONE)
        )
        due = list(islice((one for one in left if mark_at(start.topic, one) not in skipped), min(count, PORTION)))
        if not due:
            return 0
        letters = await desk.fetched(due)
        last = letters[-1].place if letters else due[-1]
        there = {found.place for found in letters}
        skipped |= {mark_at(start.topic, one): DELETED for one in due if one <= last and one not in there}
        refused = await desk.refusals({found.letter.topic for found in letters})
        skipped |= {
            mark_at(start.topic, one.place): refused[one.letter.topic] for one in letters if one.letter.topic in refused
        }
        good = [found for found in letters if found.letter.topic not in refused]
        if good:
            problems = await desk.send(good, Permission.of_job(start.by), ForeignNote(uuid.uuid4().hex, job=start.job))
            skipped |= {mark_at(start.topic, place): reason for place, reason in problems.items()}
        return len(good)


def _asked(index: ForeignIndex, taken: TakenLetters, start: StartForeign, left_out: Counter[str]) -> Iterator[Place]:
    groups = index.groups(taken.places)
    if start.group is not None:
        for group in groups:
            if group.id == start.group:
                yield from group.listed()
        return
    for name in dict.fromkeys(start.ids):
        try:
            partition, offset = parse_place(name)
        except UsageError:
            left_out[NOT_THERE] += 1
            continue
        if any(offset in group.places.get(partition, NONE) for group in groups):
            yield partition, offset
        else:
            left_out[NOT_THERE] += 1


def _sent(entries: Sequence[TakenEntry]) -> dict[str, dict[int, BitMap64]]:
    """Return where letters stand since, by topic and partition."""
    found: dict[str, dict[int, BitMap64]] = {}
    for entry in entries:
        for (topic, partition), offsets in entry.sent.items():
            partitions = found.setdefault(topic, {})
            partitions[partition] = partitions.get(partition, NONE) | offsets
    return found


async def check_foreign(desk: ForeignDesk, start: StartForeign) -> None:
    """Raise `DeadLetterError` unless a job has letters, of which one of the first may be replayed to its topic."""
    places = (await desk.chosen(start.ids, start.group))[:PORTION]
    letters = await desk.fetched(places)
    refused = await desk.refusals({found.letter.topic for found in letters})
    if letters and all(found.letter.topic in refused for found in letters):
        raise DeadLetterError(refused[letters[0].letter.topic])
