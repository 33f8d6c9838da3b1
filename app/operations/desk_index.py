"""An index of dead letters: their groups, and where each stands on the topic, in about 45 bytes a dead letter.

Each dead letter is looked at once when it is read, and again only when the block of offsets that it belongs to has
changed: then it may have been replayed or discarded. A page looks at nothing but its own dead letters.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from pyroaring import BitMap

from metroline.agents.kafka.topic_tail import Place
from metroline.app.operations.letter import Group, Letter
from metroline.routing.journeys.replay_job_messages import Tally
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, EMPTY, block_key, mark_of, offset_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin, id_of, id_text

MAX_LETTERS = 1_000_000
"""Number of dead letters that an index holds. Further ones are counted, and listed once others are gone."""


class Reference(NamedTuple):
    """A dead letter as the index knows it: id, place and size of its message, and the time when it was settled."""

    id: str
    place: Place
    size: int
    settled: float


MAX_GROUPS = 10_000
"""Number of groups. The dead letters of further ones are counted, too."""


MAX_GENERATION = 2**32 - 1
"""Highest generation that the index has room for. Nobody restarts a record as often."""


@dataclass(frozen=True, slots=True)
class BlockMarks:
    """The marks of the dead letters in a block, and of the records that were restarted by their present generation."""

    dead: BitMap = EMPTY
    generations: Mapping[int, BitMap] = field(default_factory=dict)
    ended: BitMap = EMPTY
    """The restarted records that have an outcome again."""

    def tally(self, marks: BitMap, generation: int) -> Tally:
        """Return what has become of dead letters of this generation."""
        anew = marks & self.generations.get(generation + 1, EMPTY)
        later = [marks & others for number, others in self.generations.items() if number > generation + 1]
        dead_again = len(anew & self.dead) + sum(map(len, later))  # each has died again before it was restarted again
        ended = len((anew & self.ended) - self.dead)
        replayed = len(anew) + sum(map(len, later))
        return Tally(len(marks), replayed, ended, dead_again, replayed - ended - dead_again)

    def is_dead(self, mark: int, generation: int) -> bool:
        """Return whether a dead letter of this generation was neither replayed nor discarded."""
        return mark in self.dead and self._generation(mark) == generation

    def is_past(self, mark: int, generation: int) -> bool:
        """Return whether a dead letter of this generation was replayed or discarded."""
        return self._generation(mark) > generation

    def _generation(self, mark: int) -> int:
        return next((generation for generation, marks in self.generations.items() if mark in marks), 0)


UNTOUCHED = BlockMarks()


class Mark(NamedTuple):
    """A dead letter in the bitmaps: the key of its block, its generation, and its mark."""

    block: bytes
    generation: int
    mark: int


Marks = dict[tuple[bytes, int], BitMap]
"""The marks of dead letters, by the key of their block and their generation."""


@dataclass(slots=True)
class _Block:
    """The dead letters of one block of offsets."""

    key: bytes
    origin: Origin
    first_offset: int
    number: int
    """Its place in the list of blocks."""
    letters: array[int] = field(default_factory=lambda: array("I"))
    marks: array[int] = field(default_factory=lambda: array("I"))
    """The mark of each of them."""
    seen: dict[int, BitMap] = field(default_factory=dict)
    """The marks of the dead letters that the index holds, by their generation."""


@dataclass(slots=True)
class _Group:
    """The dead letters of one cause."""

    id: str
    cause: tuple[str, ...]
    reason: str
    letters: array[int] = field(default_factory=lambda: array("I"))
    """In the order of their settlement if `is_sorted`."""
    count: int = 0
    """Number of those that are dead now."""
    is_sorted: bool = True

    def append(self, number: int, settled: Sequence[float]) -> None:
        """Add a dead letter by its number; `settled` has the times of all of them."""
        self.is_sorted = self.is_sorted and (not self.letters or settled[self.letters[-1]] <= settled[number])
        self.letters.append(number)


class DeskIndex:
    """The dead letters of a line by group and by id."""

    def __init__(self, max_letters: int = MAX_LETTERS, max_groups: int = MAX_GROUPS) -> None:
        self._max_letters, self._max_groups = max_letters, max_groups
        self._marks_of: dict[bytes, BlockMarks] = {}
        """The state of each block that has or had dead letters, by its key."""
        self.foreign = 0
        """Number of messages that are no dead letters."""
        self.examined = 0
        """Number of dead letters that were looked at so far, however often: the cost of the index."""
        self.clear()

    def clear(self) -> None:
        """Forget the dead letters, but not which blocks hold dead letters."""
        self._blocks: dict[bytes, _Block] = {}
        self._block_list: list[_Block] = []
        self._groups: list[_Group] = []
        self._group_numbers: dict[tuple[str, ...], int] = {}
        self._settled, self._partitions, self._offsets = array("d"), array("I"), array("q")
        self._sizes, self._marks, self._generations = array("I"), array("I"), array("I")
        self._in_block, self._in_group = array("I"), array("I")
        self._alive = bytearray()
        self.left_out = 0
        """Number of dead letters for which there was no room."""

    def __len__(self) -> int:
        return len(self._settled)

    def add(self, place: Place, size: int, envelope: Envelope, settled: float) -> None:
        """Add the dead letters in a message of `size` bytes, settled at a time in seconds since the epoch.

        Raise ValueError for a generation that no record reaches.
        """
        for segment in envelope.segments:
            if segment.generation > MAX_GENERATION:  # before anything is added: the columns are of one length
                raise ValueError(f"a record cannot have been restarted {segment.generation} times")
            letter = Letter(Envelope(envelope.strategy, envelope.origin, (segment,)), settled)
            for record in segment.ids:
                mark = mark_of(record)
                if mark is not None:  # without one, it can be neither replayed nor discarded
                    self._add(place, size, letter, offset_of(record), mark)

    def _add(self, place: Place, size: int, letter: Letter, offset: int, mark: int) -> None:
        self.examined += 1
        generation = letter.envelope.segments[0].generation
        block = self._block(letter.envelope.origin, offset // BLOCK_OFFSETS)
        marks = self._marks_of.get(block.key, UNTOUCHED)
        if mark in block.seen.get(generation, ()) or marks.is_past(mark, generation):
            return
        if len(self) >= self._max_letters or (group := self._group(letter)) is None:
            self.left_out += 1
            return
        block.seen.setdefault(generation, BitMap()).add(mark)
        number = len(self)
        is_dead = marks.is_dead(mark, generation)
        self._settled.append(letter.settled)
        self._partitions.append(place[0])
        self._offsets.append(place[1])
        self._sizes.append(size)
        self._marks.append(mark)
        self._generations.append(generation)
        self._in_block.append(block.number)
        self._in_group.append(group)
        self._alive.append(is_dead)
        block.letters.append(number)
        block.marks.append(mark)
        self._groups[group].append(number, self._settled)
        self._groups[group].count += is_dead

    def _block(self, origin: Origin, number: int) -> _Block:
        key = block_key(origin, number)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _Block(key, origin, number * BLOCK_OFFSETS, len(self._block_list))
            self._block_list.append(block)
        return block

    def _group(self, letter: Letter) -> int | None:
        cause = letter.cause
        number = self._group_numbers.get(cause)
        if number is None and len(self._groups) < self._max_groups:
            number = self._group_numbers[cause] = len(self._groups)
            self._groups.append(_Group(letter.group, cause, letter.reason))
        return number

    def settle(self, blocks: Mapping[bytes, BlockMarks]) -> None:
        """Note which dead letters are dead now, from the blocks that have changed."""
        for key, marks in blocks.items():
            if marks == self._marks_of.get(key, UNTOUCHED):
                continue
            self._marks_of[key] = marks
            block = self._blocks.get(key)
            for number in () if block is None else block.letters:
                self.examined += 1
                is_dead = marks.is_dead(self._marks[number], self._generations[number])
                self._groups[self._in_group[number]].count += is_dead - self._alive[number]
                self._alive[number] = is_dead

    @property
    def is_full(self) -> bool:
        """True if there was no room for a dead letter."""
        return self.left_out > 0

    @property
    def gone(self) -> int:
        """The number of dead letters that take room though they were replayed or discarded since."""
        return len(self) - sum(group.count for group in self._groups)

    def groups(self) -> list[Group]:
        """Return the groups with dead letters, the largest one first."""
        found = [self._summary(group) for group in self._groups if group.count]
        return sorted(found, key=lambda group: (-group.count, group.id))

    def references(self, name: str, after: str | None) -> Iterator[Reference]:
        """Yield the dead letters of a group, in the order in which they were settled.

        With `after`, the id of a dead letter that was in the group, begin behind it. Raise `LookupError` for another.
        """
        for group in self._groups:
            if group.id == name:
                for number in self._from(group, after):
                    self.examined += 1
                    if self._alive[number]:
                        yield self._reference(number)

    def reference(self, name: str) -> Reference | None:
        """Return a dead letter by its id; None if it is not dead now. Raise `UsageError` for what is no id."""
        return next((self._reference(number) for number in self._numbers(name) if self._alive[number]), None)

    def marked(self, name: str, after: str | None) -> Iterator[tuple[Reference, Mark]]:
        """Yield the dead letters of a group as `references` does, each with its mark."""
        for group in self._groups:
            if group.id == name:
                for number in self._from(group, after):
                    if self._alive[number]:
                        yield self._reference(number), self._mark(number)

    def mark(self, name: str) -> tuple[Reference, Mark] | None:
        """Return a dead letter by its id, with its mark; None if it is not dead now. Raise `UsageError` for no id."""
        found = (number for number in self._numbers(name) if self._alive[number])
        return next(((self._reference(number), self._mark(number)) for number in found), None)

    def tally(self, marks: Marks) -> Tally:
        """Return what has become of dead letters, by their marks."""
        parts = [
            self._marks_of.get(block, UNTOUCHED).tally(bitmap, generation)
            for (block, generation), bitmap in marks.items()
        ]
        return Tally(
            sum(part.total for part in parts),
            sum(part.replayed for part in parts),
            sum(part.ended for part in parts),
            sum(part.dead_again for part in parts),
            sum(part.under_way for part in parts),
        )

    def is_waiting(self, mark: Mark) -> bool:
        """Return whether a dead letter was neither replayed nor discarded so far."""
        return not self._marks_of.get(mark.block, UNTOUCHED).is_past(mark.mark, mark.generation)

    def _mark(self, number: int) -> Mark:
        block = self._block_list[self._in_block[number]]
        return Mark(block.key, self._generations[number], self._marks[number])

    def _summary(self, group: _Group) -> Group:
        alive = self._alive
        ordered = self._sorted(group)
        first = next(number for number in ordered if alive[number])
        last = next(number for number in reversed(ordered) if alive[number])
        return Group(
            group.id, group.cause, group.reason, group.count, self._settled[first], self._settled[last], self._id(first)
        )

    def _sorted(self, group: _Group) -> array[int]:
        if not group.is_sorted:
            group.letters = array("I", sorted(group.letters, key=self._order))
            group.is_sorted = True
        return group.letters

    def _from(self, group: _Group, after: str | None) -> Iterator[int]:
        ordered = self._sorted(group)
        begin = 0
        if after is not None:
            number = next((one for one in self._numbers(after) if self._groups[self._in_group[one]] is group), None)
            if number is None:
                raise LookupError(after)
            begin = bisect_right(ordered, self._order(number), key=self._order)
        return (ordered[index] for index in range(begin, len(ordered)))

    def _order(self, number: int) -> tuple[float, int]:
        return self._settled[number], number

    def _numbers(self, name: str) -> Iterator[int]:
        """Yield the dead letters with this id, of whatever generation."""
        key, marks = block_and_marks(name)
        block = self._blocks.get(key)
        if block is None:
            return
        for mark in marks:
            begin = 0
            with suppress(ValueError):  # there are no more
                while True:
                    found = block.marks.index(mark, begin)
                    self.examined += 1
                    yield block.letters[found]
                    begin = found + 1

    def _id(self, number: int) -> str:
        block = self._block_list[self._in_block[number]]
        return _id_at(block.origin, block.first_offset, self._marks[number])

    def _reference(self, number: int) -> Reference:
        place = self._partitions[number], self._offsets[number]
        return Reference(self._id(number), place, self._sizes[number], self._settled[number])


def block_and_marks(name: str) -> tuple[bytes, tuple[int, ...]]:
    """Return the key of the block of a letter, by its id, and the marks that it may have there; raise `UsageError`."""
    origin, offset, index = id_of(name)
    alone = offset % BLOCK_OFFSETS
    marks = (alone,) if index is None else (alone + (index + 1) * BLOCK_OFFSETS, *((alone,) if index == 0 else ()))
    return block_key(origin, offset // BLOCK_OFFSETS), marks


def id_of_mark(block: str, mark: int) -> str:
    """Return the id of the letter with a mark in the block with this key; raise ValueError for the key of none."""
    partition, _, rest = block.partition("/")
    name, _, number = rest.rpartition("/")
    return _id_at(Origin(name, int(partition)), int(number) * BLOCK_OFFSETS, mark)


def _id_at(origin: Origin, first_offset: int, mark: int) -> str:
    line, place = divmod(mark, BLOCK_OFFSETS)
    offset = first_offset + place
    return id_text(origin, (offset, line - 1, line + 1) if line else offset)
