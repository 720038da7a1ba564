"""A task's usual settings hold where nobody says otherwise, and nowhere else."""

from lalora_kit import Settings, settings_for
from lalora_kit.cli.intent import intent, usual_of
from lalora_kit.runs.usual import USUAL
from lalora_kit.tasks import TASKS


def test_what_is_given_wins():
    assert settings_for("mnist").clients == 4 and settings_for("mnist", clients=7).clients == 7
    sized = settings_for("mnist", batch_size=16)
    assert sized.batch_size == 16 and sized.sample_rate is None


def test_a_task_without_has_the_settings_of_all():
    assert settings_for("digits", epsilon=1.0) == Settings(epsilon=1.0)
    assert set(USUAL) <= set(TASKS)


def test_the_command_line_takes_them_and_says_so():
    assert "4 clients" in intent({"task": "mnist"}, None)
    assert "6 clients" in intent({"task": "mnist", "clients": 6}, None)
    assert usual_of({"csv": "a.csv", "text": "t"}) == usual_of({"task": "mnist", "backbone": "x"}) == ""
