"""Steps from pictures: one character is one event and one microsecond."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.capture.steps import Step, StepDetector


def play(events: str, *, has_optimizer: bool = True) -> tuple[list[Step], StepDetector]:
    """The steps of a block that lasts as long as the picture.

    F: a training forward; E: one in evaluation mode; n: one without gradients in training mode; a to d: an
    optimizer steps, "[" and "]" around what a does inside; X: ``run.step()``; anything else: time passes.
    """
    detector = StepDetector(0, has_optimizer=has_optimizer)
    steps = []
    for microsecond, event in enumerate(events):
        now_ns = 1000 * microsecond
        step = None
        if event in "FEn":
            step = detector.forward(now_ns, trains=event == "F", evaluates=event != "n")
        elif event == "[":
            detector.optimizer_begins(ord("a"))
        elif event in "abcd":
            detector.optimizer_begins(ord(event))
        if event in "abcd]":
            step = detector.optimizer_step(now_ns, ord("a" if event == "]" else event))
        elif event == "X":
            step = detector.explicit(now_ns)
        steps += [step] if step is not None else []
    last = detector.finish(1000 * len(events))
    return steps + ([last] if last is not None else []), detector


PICTURES = {
    "one optimizer": (
        "F.a.F.a.F.a",
        "  1   2   3",
    ),
    "gradient accumulation": (
        "FFFa.FFFa.FFFa",
        "   1    2    3",
    ),
    "two optimizers, the second every second time": (
        "F.ab.F.a.F.ab.F.a",
        "   1   2    3   4",
    ),
    "two optimizers, the first every second time": (
        "F.ba.F.a.F.ba.F.a",
        "   1   2    3   4",
    ),
    "accumulation with two optimizers": (
        "FF.ab.FF.ab",
        "    1     2",
    ),
    "a GAN's discriminator: also called for the generator's loss": (
        "FF.a.F....FF.a.F",
        "   1         2  ",
    ),
    "a GAN's generator: makes data for the discriminator first": (
        "n..F.a.n..F.a",
        "     1      2",
    ),
    "an optimizer in backward, one for each parameter": (
        "F.abcd.F.abcd",
        "     1      2",
    ),
    "in backward with accumulation: the first micro-batch steps too": (
        "F.ab.F.ab",
        "   1    2",
    ),
    "closures: the forwards are inside the optimizer": (
        "[FFF].[FF].[FFF]",
        "    1    2     3",
    ),
    "closures after a forward of the step": (
        "F.[FF].F.[FFF]",
        "     1       2",
    ),
    "evaluation between steps": (
        "F.a.EEE.F.a",
        "  1       2",
    ),
    "a forward for logging in the step": (
        "F.n.a.FEF.a",
        "    1     2",
    ),
    "evaluation before the training": (
        "EEE.F.a.F.a",
        "      1   2",
    ),
    "no forward is seen": (
        "..a..a..a",
        "  1  2  3",
    ),
    "no forward is seen, two optimizers": (
        "..ab..ab..a..ab",
        "   1   2  3   4",
    ),
    "no forward is seen, one optimizer for each parameter": (
        "..abcd..abcd",
        "     1     2",
    ),
    "a forward before everything was compiled": (
        "F.a..a..a..a",
        "     1  2  3",
    ),
    "twice after one forward": (
        "F.aa.F.aa.F",
        "   1    2  ",
    ),
    "the block ends in a step": (
        "F.a.F",
        "  1  ",
    ),
    "no step ends": (
        "F.F",
        "   ",
    ),
    "the user says": (
        "F.aXF.a.F.aX..F.a",
        "   1       2     ",
    ),
    "the user says it after some steps": (
        "F.a.F.aX.F.aX",
        "  1    2    3",
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_step_ends_at_the_last_optimizer_step_before_the_next_forward(name: str) -> None:
    events, ends = PICTURES[name]
    steps, _ = play(events)
    assert {step.number: step.end_ns for step in steps} == {
        int(number): 1000 * microsecond for microsecond, number in enumerate(ends) if number.isdigit()
    }


def test_each_forward_is_a_step_where_no_optimizer_exists() -> None:
    steps, detector = play("..E..E..E..", has_optimizer=False)
    assert [(step.start_ns, step.end_ns) for step in steps] == [(0, 5000), (5000, 8000), (8000, 11000)]
    assert all(step.evaluation_ns == 0 for step in steps)
    assert detector.mode == "inference"


def test_hand_written_updates_step_at_each_training_forward() -> None:
    steps, detector = play("F..F.EE.F..", has_optimizer=False)
    assert [(step.end_ns, step.evaluation_ns) for step in steps] == [(3000, 0), (8000, 3000), (11000, 0)]
    assert detector.mode == "training"


def test_an_optimizer_that_steps_ends_the_counting_of_forwards() -> None:
    steps, _ = play("E.E.F.a.FF.a.F", has_optimizer=False)
    assert [step.end_ns for step in steps] == [2000, 4000, 6000, 11000]


def test_a_step_counts_its_micro_batches() -> None:
    steps, _ = play("FFFa.F.a.FEF.ab.F.a")
    assert [step.micro_batches for step in steps] == [3, 1, 2, 1]


def test_a_forward_inside_the_optimizer_belongs_to_the_step_that_it_ends() -> None:
    steps, _ = play("[FFF].[F].[FF]")
    assert [step.micro_batches for step in steps] == [3, 1, 2]


EVALUATIONS = {
    "between two steps": ("F.a.EE.E.F.a", [0, 5000]),
    "before the training": ("..EE..F.a", [4000]),
    "a forward without gradients is none": ("F.a.nn.n.F.a", [0, 0]),
    "nor is one between micro-batches": ("F.a.F.E.F.a", [0, 0]),
    "nor one before the optimizer": ("F.E.a.F.E.a", [0, 0]),
    "to the last of them where no training forward is seen": ("..a.EEE..a", [0, 2000]),
    "in two parts, if the user ends a step meanwhile": ("F.a.E.X.F.aX", [2000, 2000]),
    "after the user's end": ("F.aX.E..F.aX", [0, 3000]),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluation_lasts_from_its_first_forward_to_the_next_training_forward(name: str) -> None:
    events, expected_ns = EVALUATIONS[name]
    steps, _ = play(events)
    assert [step.evaluation_ns for step in steps] == expected_ns


def test_inference_with_the_users_own_steps_is_no_evaluation() -> None:
    steps, _ = play("E.E.X.E.E.X")
    assert [step.evaluation_ns for step in steps] == [0, 0]


def test_an_end_is_pending_until_the_next_forward() -> None:
    detector = StepDetector(0)
    assert detector.forward(10, trains=True) is None and detector.pending_end_ns is None
    assert detector.optimizer_step(20, 1) is None and detector.pending_end_ns == 20
    assert detector.optimizer_step(30, 2) is None and detector.pending_end_ns == 30
    assert detector.forward(40, trains=True) == Step(1, 0, 30, evaluation_ns=0, micro_batches=1)
    assert detector.pending_end_ns is None and detector.start_ns == 30


def test_the_mode_is_unknown_until_something_tells() -> None:
    assert play("")[1].mode is None
    assert play("E.E")[1].mode is None  # an optimizer exists: this may be an evaluation before the training
    assert play("E.F")[1].mode == "training"
    assert play("..a")[1].mode == "training"
    assert play("F.aX")[1].mode == "explicit"


def test_the_boundary_is_named_after_what_ends_a_step() -> None:
    detector = StepDetector(0, model="Gpt")
    assert detector.boundary_text is None
    detector.optimizer_step(10, 1)
    assert detector.boundary_text == "optimizer steps"
    for optimizer, name in ((1, "Muon"), (2, "AdamW"), (3, "AdamW")):
        detector.optimizer_step(20, optimizer, name)
    assert detector.boundary_text == "optimizer steps of Muon and AdamW"
    detector.explicit(30)
    assert detector.boundary_text == "run.step()"
    inference = StepDetector(0, has_optimizer=False, model="Gpt")
    inference.forward(10, trains=False)
    assert inference.boundary_text == "calls of Gpt.forward"


def test_a_clock_that_is_set_back_makes_no_negative_step() -> None:
    detector = StepDetector(100)
    detector.optimizer_step(50, 1)
    step = detector.forward(40, trains=True)
    assert step is not None and (step.start_ns, step.end_ns) == (100, 100)


@given(st.text(alphabet="FEnab[]X.", max_size=60), st.booleans())
def test_steps_are_contiguous_and_sum_to_the_span(events: str, has_optimizer: bool) -> None:
    steps, detector = play(events, has_optimizer=has_optimizer)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [step.start_ns for step in steps] == [0, *(step.end_ns for step in steps)][: len(steps)]
    assert sum(step.end_ns - step.start_ns for step in steps) == (steps[-1].end_ns if steps else 0)
    assert detector.start_ns == (steps[-1].end_ns if steps else 0)


@given(st.text(alphabet="FEnab[]X.", max_size=60), st.booleans())
def test_evaluation_is_part_of_its_step_and_no_forward_counts_twice(events: str, has_optimizer: bool) -> None:
    steps, _ = play(events, has_optimizer=has_optimizer)
    assert all(0 <= step.evaluation_ns <= step.end_ns - step.start_ns for step in steps)
    assert sum(step.micro_batches for step in steps) <= events.count("F")


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["", "a", "b", "ab", "aab", "abba"]))))
def test_there_are_as_many_steps_as_forwards_that_an_optimizer_follows(rounds: list[tuple[int, str]]) -> None:
    steps, _ = play("".join("F" * forwards + optimizers for forwards, optimizers in rounds))
    assert len(steps) == sum(optimizers != "" for _, optimizers in rounds)
