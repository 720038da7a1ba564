"""What a user can do to the command line, the notebooks' runner and saved adapters, without a traceback."""

from __future__ import annotations

import json

import pytest

# ---- T15: configurations of adapters that ask for more than plain LoRA -------------------------------------------


@pytest.fixture
def adapter(tmp_path):
    """An adapter of the tiny task, its folder, and how to rewrite its configuration."""
    from lalora_kit import adapters
    from tests.tiny import linear_task, random_adapter

    task = linear_task()
    folder = tmp_path / "adapter"
    adapters.save(random_adapter(task, 2, 0.5, seed=1), folder, task.backbone, task.targets, task.head)
    path = folder / "adapter_config.json"

    def rewrite(**values):
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}), "utf-8")
        return folder, task

    return rewrite


REFUSED_FIELDS = {
    "peft_type": "IA3",
    "layers_to_transform": [0],
    "use_rslora": True,
    "use_dora": True,
    "rank_pattern": {"body": 1},
    "alpha_pattern": {"body": 1},
    "bias": "lora_only",
    "modules_to_save": None,
    "fan_in_fan_out": True,
    "init_lora_weights": "pissa_niter_4",
    "loftq_config": {"loftq_bits": 4},
    "layers_pattern": "layers",
    "exclude_modules": ["body"],
    "target_parameters": ["body.weight"],
    "target_modules": ["head"],
    "lora_bias": True,
    "alora_invocation_tokens": [1, 2],
    "trainable_token_indices": [0],
    "a_field_of_tomorrow": "on",
}


@pytest.mark.parametrize("name", REFUSED_FIELDS)
def test_t15_a_field_that_is_not_honoured_is_refused_by_name(name, adapter):
    from lalora_kit import load_adapter

    folder, task = adapter(**{name: REFUSED_FIELDS[name]})
    with pytest.raises(ValueError, match=name) as caught:
        load_adapter(folder, task)
    assert str(folder) in str(caught.value) and "; " in str(caught.value)


@pytest.mark.parametrize("value", ["pissa", "olora", "loftq", "corda", "eva", "lora_ga", 7])
def test_t15_an_initialisation_that_changes_the_base_is_refused(value, adapter):
    from lalora_kit import load_adapter

    with pytest.raises(ValueError, match="init_lora_weights"):
        load_adapter(*adapter(init_lora_weights=value))


def test_t15_a_first_layer_is_not_taken_for_nothing(adapter):
    """`layers_to_transform` may be a bare number, and 0 equals False."""
    from lalora_kit import load_adapter

    with pytest.raises(ValueError, match="layers_to_transform=0"):
        load_adapter(*adapter(layers_to_transform=0))


@pytest.mark.parametrize(
    "values",
    [
        {"lora_dropout": 0.1, "task_type": "SEQ_CLS", "inference_mode": True, "revision": "main"},
        {"init_lora_weights": "gaussian", "bias": "none", "qalora_group_size": 16, "loftq_config": {}},
        {"a_field_of_tomorrow": None, "another": False, "a_third": [], "a_fourth": 0},
        {"modules_to_save": ["head", "score"], "target_modules": "bo.*"},
    ],
)
def test_t15_what_asks_for_nothing_more_is_read(values, adapter):
    from lalora_kit import load_adapter

    load_adapter(*adapter(**values))


# ---- P12: methods of one's own -----------------------------------------------------------------------------------

MINE = """
from lalora_kit.methods import Method
from lalora_kit.methods.method import B

def only_b(round, step):
    return B

MINE = Method("mine", "unpublished", only_b)
"""
QUICK = ["--epsilon", "inf", "--rounds", "1", "--local-steps", "2", "--clients", "2", "--max-samples", "128"]


def run(*arguments):
    """Exit code, and what stands on standard error."""
    from tests import mistakes

    return mistakes.run(list(map(str, arguments)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of a method of one's own, stopped after its first of two rounds."""
    from lalora_kit import Settings
    from lalora_kit.checkpoint import save_rounds
    from lalora_kit.methods import find_method
    from lalora_kit.tasks import load_source

    place = tmp_path_factory.mktemp("own")
    (place / "mine.py").write_text(MINE, "utf-8")
    settings = Settings(epsilon=float("inf"), rounds=2, local_steps=2, clients=2, seed=0, max_samples=128)
    rounds = save_rounds(
        load_source({"task": "digits"}), find_method(f"{place / 'mine.py'}:MINE"), settings, place / "run"
    )
    next(rounds)
    rounds.close()
    return place


@pytest.fixture
def own(trained, tmp_path, monkeypatch):
    """A copy of the run to harm, with its file beside it, seen from another folder."""
    import shutil

    place = tmp_path / "place"
    shutil.copytree(trained, place)
    about = json.loads((place / "run" / "settings.json").read_text("utf-8"))
    assert about["method_source"]["file"] == str(trained / "mine.py")
    about["method_source"]["file"] = str(place / "mine.py")
    (place / "run" / "settings.json").write_text(json.dumps(about), "utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return place


def test_p12_a_method_of_ones_own_is_found_again_from_another_folder(own):
    for command in (["report"], ["train", "--resume"], ["statement"]):
        assert run(*command, own / "run") == (0, "")
    assert len((own / "run" / "rounds.jsonl").read_text("utf-8").splitlines()) == 2


def test_p12_train_takes_it_by_file_and_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    assert run("train", *QUICK, "--seed", "0", "--method", "mine.py:MINE", "--out", "run")[0] == 0
    about = json.loads((tmp_path / "run" / "settings.json").read_text("utf-8"))
    assert about["method"] == "mine" and about["method_source"]["file"] == str(tmp_path / "mine.py")


def test_p12_another_content_is_another_method(own):
    """Told by the file's name and both hashes; a statement runs no method, and is given all the same."""
    (own / "mine.py").write_text(MINE + "# changed\n", "utf-8")
    for command in (["report"], ["train", "--resume"]):
        code, said = run(*command, own / "run")
        assert code == 2 and str(own / "mine.py") in said and "another now" in said and "settings.json" not in said
    assert run("statement", own / "run")[0] == 0


def test_p12_a_file_that_is_gone_may_lie_elsewhere(own):
    (own / "mine.py").rename(own / "moved.py")
    code, said = run("report", own / "run")
    assert code == 2 and "that file is gone" in said and "--method" in said
    assert run("report", own / "run", "--method", f"{own / 'moved.py'}:MINE")[0] == 0
    assert run("train", "--resume", own / "run", "--method", f"{own / 'moved.py'}:MINE")[0] == 0
    (own / "moved.py").write_text(MINE.replace("return B", "return B | B"), "utf-8")
    assert "another now" in run("report", own / "run", "--method", f"{own / 'moved.py'}:MINE")[1]


def test_p12_code_that_comes_with_a_run_is_not_run_unasked(own):
    """Whoever hands over a directory could name a file of it."""
    import hashlib

    bomb = MINE + f"open({str(own / 'mark')!r}, 'w').close()\n"
    (own / "run" / "mine.py").write_text(bomb, "utf-8")
    path = own / "run" / "settings.json"
    about = json.loads(path.read_text("utf-8"))
    sha256 = hashlib.sha256(bomb.encode()).hexdigest()
    about["method_source"] = {"file": str(own / "run" / "mine.py"), "name": "MINE", "sha256": sha256}
    path.write_text(json.dumps(about), "utf-8")
    code, said = run("report", own / "run")
    assert code == 2 and "not run unasked" in said and not (own / "mark").exists()


def test_p12_the_identity_differs_wherever_the_content_does(tmp_path):
    from lalora_kit.identity import code_of
    from lalora_kit.methods import find_method

    seen = set()
    for text in (MINE, MINE + "# changed\n", MINE.replace("B\n\ndef", "A as B\n\ndef")):
        (tmp_path / "mine.py").write_text(text, "utf-8")
        seen.add(code_of(find_method(f"{tmp_path}/mine.py:MINE").trains))
    assert len(seen) == 3


def test_p12_a_comparison_runs_another_content_anew(tmp_path):
    """The runs of what a file said before do not count, nor those of a content that was not kept."""
    from lalora_kit import trials
    from lalora_kit.files import append_line

    file = tmp_path / "mine.py"
    file.write_text(MINE, "utf-8")
    cell = trials.Cell(f"{file}:MINE", 1.0, 3.0, 4, 8, 0)
    sha256 = trials.find(cell.method).source["sha256"]
    append_line(tmp_path / "runs.jsonl", {**cell.to_json(), "curve": [0.5], "method_sha256": sha256})
    append_line(tmp_path / "runs.jsonl", {**cell.to_json(), "seed": 1, "curve": [0.5]})  # of a content not kept
    assert list(trials.lines(tmp_path / "runs.jsonl")) == [cell]
    file.write_text(MINE + "# changed\n", "utf-8")
    assert not trials.lines(tmp_path / "runs.jsonl")


def test_p12_a_method_made_in_python_is_resumed_there_and_nothing_else_is_blamed(tmp_path):
    from dataclasses import replace

    from lalora_kit import METHODS
    from lalora_kit.checkpoint import load, save_rounds
    from tests.tiny import FAST, linear_task

    mine = replace(METHODS["rolora"], name="mine")
    rounds = save_rounds(linear_task(), mine, FAST, tmp_path / "run")
    next(rounds)
    rounds.close()
    with pytest.raises(ValueError, match=r"'mine' is unknown.*go on in Python") as caught:
        load(tmp_path / "run")
    assert "damaged" not in str(caught.value)
    assert [r.round for r in save_rounds(linear_task(), mine, FAST, tmp_path / "run", resume=True)] == [2]


BROKEN_METHODS = {
    "no Python": ("def (", "at line 1"),
    "that raises": ("\nraise KeyError('x')", "at line 2.*KeyError"),
    "that leaves": ("import sys\nsys.exit(3)", "SystemExit"),
    "with nothing": ("x = 1", "no Method named 'MINE'"),
    "in bytes": ("\0", "cannot be run"),
}


@pytest.mark.parametrize("name", BROKEN_METHODS)
def test_p12_a_file_that_cannot_be_run_is_named(name, tmp_path):
    import re

    text, words = BROKEN_METHODS[name]
    (tmp_path / "mine.py").write_text(text, "utf-8")
    code, said = run("audit", "--method", f"{tmp_path}/mine.py:MINE", "--trials", "100")
    assert code == 2 and str(tmp_path / "mine.py") in said and re.search(words, said), said


# ---- T6: relative paths ------------------------------------------------------------------------------------------


def test_t6_paths_are_kept_absolute(tmp_path, monkeypatch):
    from lalora_kit.tasks import placed

    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "vit_tiny_patch16_224").mkdir()
    (tmp_path / "org" / "model").mkdir(parents=True)
    here = str(tmp_path)
    for given, kept in {
        "model": f"{here}/model",
        "./model": f"{here}/model",
        "org/model": f"{here}/org/model",
        "local-dir:model": f"local-dir:{here}/model",
        "vit_tiny_patch16_224": "vit_tiny_patch16_224",
        "FacebookAI/roberta-base": "FacebookAI/roberta-base",
    }.items():
        assert placed({"backbone": given}) == {"backbone": kept}
        assert placed(placed({"backbone": given})) == {"backbone": kept}
    assert placed({"csv": "a/../b.csv", "text": "a"}) == {"csv": f"{here}/b.csv", "text": "a"}
    assert placed({"images": "model"}) == {"images": f"{here}/model"}
