"""The synthetic catalogue that answers are timed on: its licences follow from its edges, and questions are answered."""

from __future__ import annotations

from itertools import pairwise

import psycopg

from benchmarks.answers import QUESTIONS, SUMMARIES, milliseconds
from benchmarks.answers_catalogue import write
from benchmarks.answers_names import name_of
from benchmarks.answers_synthetic import synthetic


def test_findings_follow_the_decided_edges_and_every_question_is_answered(database_url: str) -> None:
    made = synthetic(2_000, seed=3)
    with psycopg.connect(database_url) as connection:
        write(connection, made, 4_000)
        found = connection.execute("SELECT model, path, confidence, kind FROM hublineage.licence_findings").fetchall()
        assert 500 < len(found) < 6_000
        assert len({kind for *_, kind in found}) > 4
        number = {name_of(n): n for n in range(made.models)}
        for model, path, confidence, _ in found:
            assert path[-1] == model
            product = 1.0
            for above, below in pairwise(path):
                assert made.parent[number[below]] == number[above]
                assert made.decided[number[below]]
                product *= made.confidence[number[below]]
            assert abs(confidence - product) < 1e-9
        ((licences,),) = connection.execute("SELECT count(*) FROM hublineage.licences").fetchall()
        assert licences == made.models
        for question in QUESTIONS:
            waited, worked = milliseconds(connection, question, [name_of(7), name_of(1_500)])
            assert len(waited) == len(worked) == 2
            connection.rollback()
        for query in SUMMARIES.values():
            assert connection.execute(query).fetchall()
