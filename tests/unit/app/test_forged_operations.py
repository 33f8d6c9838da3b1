"""Garbage and forgeries on the topics of jobs, of the journal and of comparisons: what they tell can still be shown."""

from __future__ import annotations

import time
from random import Random

import msgspec
import pytest

from metroline.app.operations.comparison_runs import MAX_KNOWN, KeptRuns
from metroline.app.operations.journal import MAX_ENTRIES, entries_of
from metroline.app.operations.journal_notes import NotANote, Note
from metroline.app.operations.letter_journal import letter_journal
from metroline.app.operations.replay_jobs import job_as_json, journal_of
from metroline.app.views.comparisons.views import answer_of, network_of
from metroline.routing.journeys.replay_job_board import MAX_JOBS, Jobs
from tests.support.forgeries.operations import forged_comparison, forged_job, forged_note

SEEDS = range(4)
FORGERIES = 500


@pytest.mark.parametrize("seed", SEEDS)
def test_jobs_and_the_journal_are_shown_whatever_is_on_their_topics(seed: int) -> None:
    random, jobs, notes = Random(seed), Jobs(), list[Note]()
    for offset in range(FORGERIES):
        forged = forged_job(random)
        jobs.add(offset, forged.key, forged.value)
        try:
            notes.append(Note.decode(forged_note(random).value))
        except NotANote:
            jobs.foreign += 1
    assert jobs.by_id
    assert jobs.done
    assert jobs.taken
    assert jobs.foreign > FORGERIES / 4
    assert len(jobs.by_id) <= MAX_JOBS
    entries = entries_of(notes, jobs)
    assert 0 < len(entries) <= MAX_ENTRIES
    shown = [entries, letter_journal(jobs, "source-0-1"), *map(job_as_json, jobs.by_id.values())]
    assert msgspec.json.decode(msgspec.json.encode(shown))
    assert all(journal_of(job) for job in jobs.by_id.values())
    for whole, others in list(jobs.folds(time.time())):
        assert others
        assert jobs.taken[whole.topic].entries.keys() >= set(others)
    assert jobs.past("dlq", {0: 2**53, 9: 2**53})


@pytest.mark.parametrize("seed", SEEDS)
def test_comparisons_are_shown_whatever_is_on_their_topic(seed: int) -> None:
    random, runs = Random(seed), KeptRuns()
    problems = []
    for _ in range(FORGERIES):
        forged = forged_comparison(random)
        problems.append(runs.add(forged.key, forged.value))
    assert 0 < len(runs.by_id) <= MAX_KNOWN
    assert None in problems
    assert any(problems)
    assert runs.open() is None, "none keeps others from being started"
    for run in runs.newest():
        assert msgspec.json.encode(answer_of(run))
        network_of(run)
