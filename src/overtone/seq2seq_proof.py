"""The proof of a recurrent model that answers: its exam beside the answer of the nearest question."""

from __future__ import annotations

from overtone import exam, seq2seq_system
from overtone.data.conversations import Conversations
from overtone.evaluation import exam_report, plots_attention
from overtone.evaluation.exam_report import ExamReport
from overtone.evaluation.findings import Licence, Origin, Training
from overtone.run import Run
from overtone.seq2seq_recipe import Seq2SeqRecipe


def prove(recipe: Seq2SeqRecipe, prepared: Conversations, run: Run) -> None:
    """Ask the exam of the run and of ``exam.NEAREST``; write answers, scores, attention and report.

    Raises:
        RunError: a file of the run is missing or damaged.
        WeightsError: the weights of the cosine's encoder are not at hand.
    """
    system = seq2seq_system.load(run, recipe)
    asked = exam.asked(recipe.exam, recipe.rows_seed, prepared)
    found, pace = exam.sit(
        {
            run.name: lambda questions: [each.text for each in system.answer(questions)],
            exam.NEAREST: exam.nearest(prepared.splits.train),
        },
        asked,
        recipe.exam,
    )
    exam.write(run.evaluation, found)
    shown = [question for each in asked if each.column == "held_out" for question in each.questions]
    looked = {
        question: plots_attention.attention(each.attention, each.asked, each.said)
        for question in shown[: recipe.exam.shown]
        for each in system.answer([question])
    }
    facts = run.facts()
    exam_report.write(
        ExamReport(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            model=run.name,
            base=exam.NEAREST,
            columns=found,
            questions={
                id_: text for each in asked for id_, text in zip(each.ids, each.questions, strict=True)
            },
            pace=pace,
            likely={},
            training=Training.of(facts, run.history(), recipe.train.early_stopping.metric),
            licence=Licence(**facts["licence"]),
            data=prepared.report,
            sizes=[["pieces of the vocabulary", f"{facts['pieces']:,}"]],
            resamples=recipe.exam.resamples,
            looked=looked,
        ),
        run.folder,
    )
