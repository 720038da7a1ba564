"""What a user can do to the command line, the notebooks' runner and saved adapters, without a traceback."""

from __future__ import annotations

import json

import pytest

# ---- T15: configurations of adapters that ask for more than plain LoRA -------------------------------------------


@pytest.fixture
def adapter(tmp_path):
    """An adapter of the tiny task, its folder, and how to rewrite its configuration."""
    from lalora_kit.runs import adapterfile
    from tests.tiny import linear_task, random_adapter

    task = linear_task()
    folder = tmp_path / "adapter"
    adapterfile.save(random_adapter(task, 2, 0.5, seed=1), folder, task)
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
QUICK = ["--task", "digits", "--epsilon", "inf", "--rounds", "1", "--local-steps", "2", "--clients", "2"]
QUICK += ["--max-samples", "128"]


def run(*arguments):
    """Exit code, and what stands on standard error."""
    from tests import mistakes

    return mistakes.run(list(map(str, arguments)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of a method of one's own, stopped after its first of two rounds."""
    from lalora_kit import Settings
    from lalora_kit.methods import find_method
    from lalora_kit.runs.checkpoint import save_rounds
    from lalora_kit.tasks.own.sources import load_source

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
    assert run("report", own / "run", "--method", f"{own / 'moved.py'}:MINE") == (0, "")
    assert run("train", "--resume", own / "run", "--method", f"{own / 'moved.py'}:MINE") == (0, "")
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
    from lalora_kit.methods import find_method
    from lalora_kit.privacy.identity import code_of

    seen = set()
    for text in (MINE, MINE + "# changed\n", MINE.replace("B\n\ndef", "A as B\n\ndef")):
        (tmp_path / "mine.py").write_text(text, "utf-8")
        seen.add(code_of(find_method(f"{tmp_path}/mine.py:MINE").trains))
    assert len(seen) == 3


def test_p12_a_comparison_runs_another_content_anew(tmp_path):
    """The runs of what a file said before do not count, nor those of a content that was not kept."""
    from lalora_kit.base.files import append_line
    from lalora_kit.trial import study as trials

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
    from lalora_kit.runs.checkpoint import save_rounds
    from lalora_kit.runs.saved import load
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
    "that trains nonsense": (MINE.replace("return B", "return 'AB'"), r"trains\(1, 1\) gives 'AB'"),
    "that fails at a later step": (MINE.replace("return B", "return {1: B}[step]"), "at line 6.*KeyError"),
}


@pytest.mark.parametrize("name", BROKEN_METHODS)
def test_p12_a_file_that_cannot_be_run_is_named(name, tmp_path):
    import re

    text, words = BROKEN_METHODS[name]
    (tmp_path / "mine.py").write_text(text, "utf-8")
    code, said = run("audit", "--method", f"{tmp_path}/mine.py:MINE", "--trials", "100")
    assert code == 2 and str(tmp_path / "mine.py") in said and re.search(words, said), said


def test_p12_a_smooth_that_fails_is_refused_before_a_release(tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace("only_b)", "only_b, lambda g, f: g / g.x)"), "utf-8")
    code, said = run("audit", "--method", f"{tmp_path}/mine.py:MINE", "--trials", "100")
    assert code == 2 and "mine cannot post-process a gradient" in said and "AttributeError" in said


# ---- T6: relative paths ------------------------------------------------------------------------------------------


def test_t6_paths_are_kept_absolute(tmp_path, monkeypatch):
    from lalora_kit.tasks.own.sources import placed

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


# ---- T9 to T13: notebooks ----------------------------------------------------------------------------------------


def write(folder, name, *sources, parameters="x = 1", tags=(), spec=True, language="python"):
    """A notebook with a parameters cell and code cells; `tags` are those of the first of them."""
    import nbformat
    from nbformat import v4

    first, *rest = map(v4.new_code_cell, sources or ("x",))
    first.metadata["tags"] = list(tags)
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}), first, *rest],
        metadata={"kernelspec": {"name": "k", "display_name": "K", "language": language}} if spec else {},
    )
    nbformat.write(notebook, folder / name)
    return folder / name


@pytest.mark.parametrize("command", ["ci", "handout"])
def test_t9_a_list_or_a_mapping_is_a_value_like_any_other(command, tmp_path):
    """Two lists, and a value that is a tuple: three runs, each given what was written."""
    path = write(tmp_path, "n.ipynb", "print(type(x).__name__, x)", parameters="x = [1]")
    code, said = run(command, path, "--x", "[1, 2]", "(3, [4])", "--out", tmp_path / "out")
    assert (code, said) == (0, "")


def test_t9_values_are_told_apart_by_how_they_are_written(tmp_path):
    from lalora_kit.book import sweep

    path = write(tmp_path, "n.ipynb", parameters="x = None")
    words = ["1", "true", "[1]", "[1]", "{'a': [1]}", "{[1]: 2}", "1.0", "nan", "nan"]
    jobs = sweep.plan([str(path), "--x", *words])
    assert [repr(job.parameters["x"]) for job in jobs] == [
        "1", "True", "[1]", "{'a': [1]}", "'{[1]: 2}'", "1.0", "nan",
    ]  # fmt: skip
    assert len({job.name for job in jobs}) == len(jobs)


@pytest.mark.parametrize("word", ["{1, 2}", "b'a'", "[1, 2j]", "{(1, 2): 3}", "..."])
def test_t9_what_no_report_could_hold_is_refused_first(word, tmp_path):
    code, said = run("ci", write(tmp_path, "n.ipynb", parameters="x = None"), "--x", word)
    assert code == 2 and "cannot be given to a notebook" in said


@pytest.mark.parametrize("word", ["(" * 5000, "-" * 100_000 + "1", "9" * 5000, "[" * 90 + "]" * 90, "a\0b", "x" * 3000])
def test_t9_no_value_is_too_odd_to_be_read(word, tmp_path):
    from lalora_kit.book import sweep

    jobs = sweep.plan([str(write(tmp_path, "n.ipynb", parameters="x = None")), "--x=" + word, "--x=1"])
    assert len(jobs) == 2 and all(len(f"{job.name}.ipynb".encode()) < 250 for job in jobs)


def test_t10_a_notebook_without_a_kernelspec_is_run_by_this_python(tmp_path):
    from lalora_kit.book.execute import run_notebook

    path = write(tmp_path, "na{m}e.ipynb", "print(x)", spec=False)
    done = run_notebook(path, tmp_path / "out.ipynb", {"x": 5}, timeout=60)
    assert (done.ok, done.result) == (True, "5")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"cells": 3}', "no notebook", "\0", '{"cells": [3]}'])
@pytest.mark.parametrize("command", ["ci", "handout"])
def test_t10_what_is_no_notebook_is_named(command, text, tmp_path):
    (tmp_path / "odd.ipynb").write_text(text, "utf-8")
    code, said = run(command, tmp_path / "odd.ipynb", "--x", "1")
    assert code == 2 and "odd" in said


def test_t10_another_language_is_named(tmp_path):
    code, said = run("ci", write(tmp_path, "r.ipynb", language="R"))
    assert code == 2 and "r.ipynb" in said and "written in R" in said


def test_t11_a_long_line_takes_no_time_and_the_limit_holds(tmp_path):
    import time

    from lalora_kit.book.execute import run_notebook

    path = write(tmp_path, "n.ipynb", "print('x' * 200_000)", "print('\\ra' * 200_000)", "'q' * 300_000")
    start = time.perf_counter()
    done = run_notebook(path, tmp_path / "out.ipynb", timeout=30)
    assert done.ok and time.perf_counter() - start < 30


def test_t11_streams_are_joined_as_a_terminal_shows_them():
    """Against nbclient's own expression, on made-up pieces."""
    import itertools
    import re

    from nbformat import v4

    from lalora_kit.book.execute import _joined

    for pieces in itertools.product(("a", "\r", "\n", "b\r", "\r\n", ""), repeat=5):
        [output] = _joined([v4.new_output("stream", name="stdout", text=piece) for piece in pieces])
        assert output.text == re.sub(r".*\r(?=[^\n])", "", "".join(pieces))
    both = [v4.new_output("stream", name=name, text=name) for name in ("stderr", "stdout", "stderr")]
    assert [output.text for output in _joined(both)] == ["stdout", "stderrstderr"]


@pytest.mark.parametrize(
    ("cell", "known"),
    [
        ("x = 'a=b'", {"x": "'a=b'"}),
        ("x: str = 'a == b'  # if a=b", {"x": "'a == b'"}),
        ("x = dict(a=1)", {"x": "dict(a=1)"}),
        ("x = [1,\n     2]\ny = 3", {"x": "[1,\n     2]", "y": "3"}),
        ("%time\nx = y = 3", {"x": "3", "y": "3"}),
        ("x, y = 1, 2", {"x": "", "y": ""}),
        ("x: int", {"x": ""}),
        ("d = {}\nd['a'] = 1\nd.b = 2", {"d": "{}"}),
        ("", {}),
    ],
)
def test_t12_a_parameter_is_seen_whatever_its_default(cell, known, tmp_path):
    from lalora_kit.book.parameters import parameters_of

    assert parameters_of(write(tmp_path, "n.ipynb", parameters=cell)) == known


def test_t12_a_value_with_a_sign_reaches_the_notebook_as_it_is(tmp_path):
    from lalora_kit.book.execute import run_notebook

    path = write(tmp_path, "n.ipynb", "print([x, y])", parameters="x = 'a=b'\ny = (1, 2)")
    given = {"x": 'c = "d"\n\'é\\', "y": ({1: float("inf")}, "=")}
    done = run_notebook(path, tmp_path / "out.ipynb", given, timeout=60)
    assert done.result == repr([given["x"], given["y"]])


def test_t12_a_parameters_cell_that_is_no_python_is_named(tmp_path):
    code, said = run("ci", write(tmp_path, "n.ipynb", parameters="x = = 3"), "--x", "1")
    assert code == 2 and "n.ipynb" in said and "no Python" in said


def test_t13_a_cell_that_is_meant_to_raise_may(tmp_path):
    from lalora_kit.book.execute import run_notebook

    announced = {"tags": ["raises-exception"]}
    good = write(tmp_path, "good.ipynb", "1 / 0", "print('went on')", **announced)
    bad = write(tmp_path, "bad.ipynb", "1 / 0", "raise KeyError('not announced')", **announced)
    done = [run_notebook(path, tmp_path / "out" / path.name, timeout=60) for path in (good, bad)]
    assert (done[0].ok, done[0].result) == (True, "went on")
    assert done[1].error == "In [3]: KeyError: 'not announced'"


# ---- T8, T16: streams, help and version --------------------------------------------------------------------------


def shell(command, **variables):
    """Exit code, standard output and standard error of a line of the shell, in which `lalora` is the command."""
    import os
    import subprocess
    import sys

    line = f'lalora() {{ {sys.executable} -m lalora_kit "$@"; }}; {command}'
    done = subprocess.run(["bash", "-c", line], capture_output=True, env={**os.environ, **variables})
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii:strict", "latin-1", "utf-16:strict"])
def test_t8_anything_is_said_in_any_encoding(encoding):
    code, out, err = shell(
        "lalora --help && lalora presets && lalora plan --sizes 3 --sample-rate 2", PYTHONIOENCODING=encoding
    )
    assert code == 2 and "Traceback" not in err and "codec" not in err
    assert encoding.startswith("utf") or ("paper/" in out and "lalora: sample_rate=2.0" in err)


def test_t8_a_run_is_whole_where_its_words_cannot_be_said(tmp_path):
    arguments = " ".join(QUICK)
    code, out, err = shell(f"lalora train {arguments} --out {tmp_path}/o", PYTHONIOENCODING="ascii:strict")
    assert (code, err.count("Traceback")) == (0, 0) and "\\u03b5" in out and "kept in" in out
    assert (tmp_path / "o" / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("lalora presets | true; exit ${PIPESTATUS[0]}", (0, 1)),
        ("lalora presets >&-", (0,)),
        ("lalora presets >&- 2>&- <&-", (0,)),
        ("lalora trian 2>&-", (2,)),
        ("lalora presets > /dev/full", (1,)),
        ("lalora trian 2> /dev/full", (1, 2)),
    ],
)
def test_t8_nobody_need_listen(command, code):
    ended, _, err = shell(command)
    assert ended in code and "Traceback" not in err and "Exception ignored" not in err


def test_t8_every_file_is_opened_with_its_encoding_named():
    """Text that is read or written by the locale's encoding is another text on another machine."""
    import ast
    from pathlib import Path

    import lalora_kit

    for path in Path(lalora_kit.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            said = {str(value.value) for value in node.args if isinstance(value, ast.Constant)}
            named = any(key.arg == "encoding" for key in node.keywords) or {"utf-8", "rb", "wb", "a+b"} & said
            if name in ("read_text", "write_text") or (name == "open" and isinstance(node.func, ast.Name)):
                assert named, f"{path}:{node.lineno}"


def test_t16_lalora_alone_prints_its_help_and_nothing_else():
    code, out, err = shell("lalora")
    assert (code, err) == (2, "") and "Usage" in out and "train" in out


def test_t16_the_version_is_told():
    import lalora_kit

    assert shell("lalora --version") == (0, f"lalora-kit {lalora_kit.__version__}\n", "")


def test_t16_no_help_speaks_of_pythons_none(capsys, monkeypatch):
    import sys

    from lalora_kit.cli import app as cli
    from tests.house.test_workflows import COMMANDS

    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["lalora", command, "--help"])
        with pytest.raises(SystemExit):
            cli.main()
        assert "none)" not in capsys.readouterr().out.lower(), command


# ---- nonsense of every kind, met on a walk through the commands --------------------------------------------------

NONSENSE = {
    "a link to itself": (["train", "--images", "loop"], "loop is no folder"),
    "a table that is a link to itself": (["train", "--csv", "loop", "--text", "a", "--label", "b"], "loop is no file"),
    "a backbone that is a link to itself": (["plan", "--sizes", "30", "--backbone", "loop"], "unknown"),
    "a very long name": (["plan", "--sizes", "30", "--backbone", "x" * 5000], "unknown"),
    "more classes than there are": (["plan", "--sizes", "30,40", "--classes", "9" * 400], "at most 1000000"),
    "seeds without end": (["claims", "--seeds", "9" * 400], "less than or equal to 1000"),
    "workers without end": (["claims", "--workers", "9" * 400], "less than or equal to 256"),
    "a notebook of no name": (["ci", ""], "notebook '' is unknown"),
    "pages where a file is": (["handout", "00", "--out", "file"], "file cannot be a folder"),
    "pages below a file": (["walkthrough", "--out", "file/pages"], "pages cannot be a folder"),
    "copies where a file is": (["notebooks", "file"], "file cannot be a folder"),
    "a report below a file": (["ci", "00", "--json", "file/x.json"], "file cannot be a folder"),
    "half a letter": (["ci", "00", "--task", "\udce9"], "cannot be given to a notebook"),
    "a file without a name in it": (["train", "--method", "mine.py"], "file.py:NAME"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_one_sentence(name, tmp_path, monkeypatch):
    arguments, words = NONSENSE[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("in the way", "utf-8")
    code, said = run(*arguments)
    last = said.strip().splitlines()[-1]
    assert code == 2 and words in last and last.startswith("lalora: ") and len(last) < 700


def test_what_is_named_and_is_no_file_is_written_into_not_replaced(tmp_path):
    """`--json /dev/stdout`: a rename would put a file in the device's place."""
    import os
    import threading

    from lalora_kit.base.files import write_named

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("target")
    heard = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text("utf-8")))
    reader.start()
    write_named(tmp_path / "pipe", "ε")
    reader.join()
    write_named(tmp_path / "link", "ε")
    assert heard == ["ε"] and (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text("utf-8") == "ε"
