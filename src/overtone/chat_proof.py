"""The proof of a tuned decoder: its exam, how likely right answers are to it, what it forgot, the report."""

from __future__ import annotations

from overtone import chat_likelihood, chat_system, exam
from overtone.chat_likelihood import BASE
from overtone.chat_recipe import ChatRecipe
from overtone.chat_system import ChatSystem
from overtone.data.conversations import Conversations
from overtone.evaluation import exam_report
from overtone.evaluation.exam_report import ExamReport
from overtone.evaluation.findings import Licence, Origin, Training
from overtone.exam import Sit
from overtone.run import Run


def prove(recipe: ChatRecipe, prepared: Conversations, run: Run) -> None:
    """Ask the exam of the base, the run and, where it looks up, the grounded run; write scores and report.

    Raises:
        RunError: a file of the run is missing or damaged.
        WeightsError: the weights of the cosine's encoder are not at hand.
    """
    system = chat_system.load(run, recipe)
    asked = exam.asked(recipe.exam, recipe.rows_seed, prepared)
    found, pace = exam.sit(_sitting(recipe, system, prepared), asked, recipe.exam)
    exam.write(run.evaluation, found)
    settings = {"seed": recipe.seed, "resamples": recipe.exam.resamples}
    standings = {
        likely.text: chat_likelihood.keep(run, likely, **settings)
        for likely in chat_likelihood.measured(system, prepared, recipe.exam)
    }
    facts = run.facts()
    exam_report.write(
        ExamReport(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            model=run.name,
            base=BASE,
            columns=found,
            questions={
                id_: text for each in asked for id_, text in zip(each.ids, each.questions, strict=True)
            },
            pace=pace,
            likely=standings,
            training=Training.of(facts, run.history(), recipe.train.early_stopping.metric),
            licence=Licence(**facts["licence"]),
            data=prepared.report,
            mask=facts["mask"]["train"],
            sizes=[["tokens a second", f"{facts['tokens']['per_second']:,.0f}"]],
            resamples=recipe.exam.resamples,
        ),
        run.folder,
    )


def _sitting(recipe: ChatRecipe, system: ChatSystem, prepared: Conversations) -> dict[str, Sit]:
    """Who sits the exam: the run, the base, ``exam.NEAREST``, and the run that looks facts up."""
    settings = recipe.exam.sampling.model_dump()

    def sits(*, tuned: bool, grounded: bool) -> Sit:
        return lambda questions: [
            each.text for each in system.answer(questions, tuned=tuned, grounded=grounded, **settings)
        ]

    found = {
        system.run.name: sits(tuned=True, grounded=False),
        BASE: sits(tuned=False, grounded=False),
        exam.NEAREST: exam.nearest(prepared.splits.train),
    }
    if system.lookup is not None:
        found[f"{system.run.name} grounded"] = sits(tuned=True, grounded=True)
    return found
