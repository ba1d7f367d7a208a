"""Questions in the form of EQ-Bench, written for the tests: nothing of them stands in the benchmark."""

from __future__ import annotations

from overtone.data.sources.eq_bench import Question

NAMES = ("Glad", "Uneasy", "Envious", "Calm")


def prompt(names: tuple[str, ...] = NAMES) -> str:
    """A prompt with two passes."""
    form = "".join(f"{name}: <score>\n" for name in names)
    return (
        "\nWhat is felt?\n\nOla: The boat is gone.\n[End dialogue]\n\nAt the end, Ola would feel...\n"
        + "\n".join(names)
        + "\n\nRate each. Then critique it, and give your revised scores.\n\nLike this:\n\n"
        f"First pass scores:\n{form}\nCritique: <your critique>\n\nRevised scores:\n{form}\n"
        "[End of answer]\n\nOne of them is felt.\n"
    )


def question(
    name: str = "1",
    full: tuple[float, ...] = (0, 8, 2, 5),
    relative: tuple[float, ...] = (0, 6, 1, 3),
    names: tuple[str, ...] = NAMES,
) -> Question:
    """A question with these references."""
    return Question(name, prompt(names), names, relative, full)


def one_pass(*ratings: float, names: tuple[str, ...] = NAMES) -> str:
    """What a decoder writes that rates them so."""
    return "".join(f"{name}: {rating}\n" for name, rating in zip(names, ratings, strict=True))


def two_passes(first: str, revised: str, critique: str = "I rated Calm too low.") -> str:
    """What a decoder writes that was asked for two passes."""
    return f"First pass scores:\n{first}\nCritique: {critique}\n\nRevised scores:\n{revised}\n[End of answer]"
