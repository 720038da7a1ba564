"""Files that someone else wrote, or a broken disk: data, never code; refused in one sentence, before any work."""

from __future__ import annotations

import ast
import json
import math
import os
import pickle
import random
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lalora_kit import local
from lalora_kit.methods import METHODS
from lalora_kit.privacy import Ledger
from lalora_kit.runs import adapterfile
from lalora_kit.runs.adapterfile import load_adapter
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.saved import load
from lalora_kit.runs.statefile import checksum, read_state
from tests.house.test_layout import FILES, PACKAGE, imported, parsed
from tests.tiny import FAST, identical, linear_task, random_adapter

TASK, METHOD = linear_task(), METHODS["la-lora"]
RUN = replace(FAST, rounds=3)
SEED = 20260219
CODE = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "code"}


class Bomb:
    """Unpickling it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


# ---- nothing is ever executed ------------------------------------------------------------------------------------


def executes(node: ast.AST) -> bool:
    """Whether a call could run what it loads."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id in {"eval", "exec", "compile", "__import__"}
    given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
    of = getattr(getattr(node.func, "value", None), "id", "")
    if (of, getattr(node.func, "attr", "")) == ("torch", "load"):
        return given.get("weights_only") is not True
    return bool(given.get("allow_pickle"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_in_the_package_can_execute_what_it_loads(path):
    tree = parsed(path)
    assert not CODE & {name.split(".")[0] for name in imported(tree)}
    assert not [node.lineno for node in ast.walk(tree) if executes(node)]


def test_the_rule_sees_what_it_forbids():
    bad = ("eval(x)", "exec(x)", "torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x, allow_pickle=True)")
    good = ("model.eval()", "torch.load(x, weights_only=True)", "np.load(x)", "re.compile(x)", "ast.literal_eval(x)")
    for code in (*bad, *good):
        assert executes(ast.parse(code).body[0].value) is (code in bad), code


# ---- adapters ----------------------------------------------------------------------------------------------------

ADAPTER = random_adapter(TASK, 2, 0.5, seed=1)
A = "base_model.model.body.lora_A.weight"


def header_announces_a_huge_tensor(folder: Path) -> None:
    text = json.dumps({A: {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


def header_is_longer_than_the_file(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")


def a_pickle_in_its_place(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps(Bomb(folder / "mark")))


def a_pickle_beside(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(folder / "mark")))


def larger_than_the_task(folder: Path) -> None:
    with open(folder / "adapter_model.safetensors", "r+b") as file:
        file.truncate(2**40)  # sparse: it takes no space


def with_tensors(change):
    def harm(folder: Path) -> None:
        tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
        change(tensors)
        safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")

    return harm


def with_config(**values):
    def harm(folder: Path) -> None:
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, **values}))

    return harm


BAD_ADAPTERS = {
    "huge tensor": (header_announces_a_huge_tensor, "is damaged"),
    "long header": (header_is_longer_than_the_file, "is damaged"),
    "pickle in its place": (a_pickle_in_its_place, "is damaged"),
    "pickle beside": (a_pickle_beside, r"adapter_model\.bin is not read.*can carry code"),
    "oversized": (larger_than_the_task, r"has 1099511627776 bytes, more than the"),
    "other shape": (with_tensors(lambda t: t.update({A: torch.zeros(2, 7)})), r"is \(2, 7\), not \(2, 6\)"),
    "other type": (with_tensors(lambda t: t.update({A: torch.zeros(2, 6, dtype=torch.float64)})), "is torch.float64"),
    "NaN": (with_tensors(lambda t: t[A].fill_(math.nan)), "holds NaN or an infinity"),
    "infinity": (with_tensors(lambda t: t[A][0, :1].fill_(math.inf)), "holds NaN or an infinity"),
    "unexpected": (with_tensors(lambda t: t.update({"../../escape": torch.zeros(1)})), r"\.\./\.\./escape'\] differ"),
    "missing": (with_tensors(lambda t: t.pop(A)), "does not fit the task"),
    "rank": (with_config(r=10**9), "rank=1000000000 is larger than the narrowest"),
    "rank of text": (with_config(r="2"), "r='2' is not possible"),
    "rank zero": (with_config(r=0), "r=0 is not possible"),
    "alpha of text": (with_config(lora_alpha="x"), "lora_alpha='x' is not possible"),
    "alpha nested": (with_config(lora_alpha={"a": [1]}), "lora_alpha={'a'.* is not possible"),
    "other maths": (with_config(use_rslora=True), "sets use_rslora"),
    "no configuration": (lambda folder: (folder / "adapter_config.json").unlink(), "does not exist"),
    "configuration of NaN": (with_config(r=math.nan), "is damaged.*NaN is not a JSON number"),
    "configuration nested": (
        lambda folder: (folder / "adapter_config.json").write_text("[" * 100_000),
        r"adapter_config\.json is damaged",
    ),
    "nothing": (lambda folder: shutil.rmtree(folder), "does not exist"),
}


@pytest.mark.parametrize("name", BAD_ADAPTERS)
def test_a_bad_adapter_is_refused(name, tmp_path):
    harm, said = BAD_ADAPTERS[name]
    folder = tmp_path / "adapter"
    adapterfile.save(ADAPTER, folder, TASK)
    assert identical(load_adapter(folder, TASK), ADAPTER)
    harm(folder)
    with pytest.raises(ValueError, match=said) as caught:
        load_adapter(folder, TASK)
    assert str(folder) in str(caught.value) and "; " in str(caught.value)  # the file, and what to do
    assert not (folder / "mark").exists()


# ---- run directories ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hostile") / "run"
    rounds = save_rounds(TASK, METHOD, RUN, directory)
    next(rounds), next(rounds)
    rounds.close()
    return directory


def content(directory: Path) -> dict[str, bytes]:
    """Every file but the lock."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file() and p.suffix}


def setting(**values):
    def harm(directory: Path) -> None:
        about = json.loads((directory / "settings.json").read_text())
        (directory / "settings.json").write_text(json.dumps({**about, "settings": {**about["settings"], **values}}))

    return harm


def about(text: str):
    return lambda directory: (directory / "settings.json").write_text(text)


def line(name: str, text: bytes):
    """A line put in the second place of a file."""

    def harm(directory: Path) -> None:
        first, *rest = (directory / name).read_bytes().splitlines(keepends=True)
        (directory / name).write_bytes(b"".join([first, text, *rest]))

    return harm


def charged(text: bytes):
    """A line at the end of the ledger: what stands before it is as the states know it."""

    def harm(directory: Path) -> None:
        with open(directory / "ledger.jsonl", "ab") as file:
            file.write(text)

    return harm


def release(**values):
    """The ledger's first line once more, changed, at its end."""

    def harm(directory: Path) -> None:
        first = json.loads((directory / "ledger.jsonl").read_text().splitlines()[0])
        charged(json.dumps({**first, **values}).encode() + b"\n")(directory)

    return harm


def state(change):
    """Both states rewritten by `change(tensors, description)`, each with the hash that then belongs to it."""

    def harm(directory: Path) -> None:
        for path in (directory / "state").iterdir():
            with safetensors.safe_open(path, framework="pt") as file:
                description = json.loads(file.metadata()["about"])
            tensors = safetensors.torch.load_file(path)
            change(tensors, description)
            text = json.dumps(description)
            metadata = {"about": text, "sha256": checksum(text, tensors)}
            path.write_bytes(safetensors.torch.save(tensors, metadata))

    return harm


DAMAGED = r"settings\.json is damaged"
NOT_STATE = "is not what this kit writes there|no state that can be read"
BAD_RUNS = {
    "rank 1e9": (setting(rank=10**9), "rank=1000000000|scale"),
    "rounds 1e12": (setting(rounds=10**12), DAMAGED + ".*must be at most 1000000000"),
    "rounds of many digits": (
        setting(rounds=10**4000),
        DAMAGED + ".*<integer of 13288 bits>|is damaged: it is not JSON",
    ),
    "clients 1e12": (setting(clients=10**6), "clients=1000000 is more than the 40 training samples"),
    "text": (setting(epsilon="3"), DAMAGED + ".*epsilon='3'"),
    "NaN": (setting(epsilon=math.nan), DAMAGED + ".*NaN is not a JSON number"),
    "nested": (setting(rank={"value": [2]}), DAMAGED + ".*rank="),
    "extra": (setting(__class__="os.system"), DAMAGED + ".*unknown names"),
    "settings are a list": (about('{"task": "t", "method": "la-lora", "settings": [1]}'), DAMAGED + ".*are a list"),
    "a list": (about("[1, 2]"), "is damaged: it holds a list"),
    "nested without end": (about("[" * 100_000), r"settings\.json is damaged"),
    "not text": (lambda d: (d / "settings.json").write_bytes(b"\xff\xfe\x00"), r"settings\.json is damaged"),
    "huge": (lambda d: (d / "settings.json").write_bytes(b" " * 2**23), "is longer than"),
    "empty": (about(""), r"settings\.json is damaged"),
    "method of a path": (about('{"task": "t", "method": "../../x", "settings": {}}'), "'../../x' is unknown"),
    "method of a list": (about('{"task": "t", "method": ["la-lora"], "settings": {}}'), DAMAGED),
    "another clip norm": (setting(clip_norm=2.0), "belongs to another run"),
    "record garbage": (line("rounds.jsonl", b"\x00\xff garbage\n"), r"rounds\.jsonl line 2 is damaged"),
    "record of 100 MB": (line("rounds.jsonl", b'{"round": "' + b"x" * 10**8 + b'"}\n'), "line 2 is longer than"),
    "record incomplete": (line("rounds.jsonl", b'{"round": 1}\n'), r"rounds\.jsonl line 2 is not the record"),
    "record nested": (line("rounds.jsonl", b'{"a":' * 100_000 + b"\n"), r"rounds\.jsonl line 2 is damaged"),
    "ledger garbage": (charged(b"\x00\xff garbage\n"), "line 17 is not a release"),
    "ledger of 100 MB": (charged(b'{"run": "' + b"x" * 10**8 + b'"}\n'), "line 17 is longer than"),
    "release of negative noise": (release(step=99, noise_multiplier=-1.0), "noise_multiplier=-1.0 is out of range"),
    "release of NaN": (release(step=99, noise_multiplier=math.nan), "NaN is not a JSON number"),
    "release above rate one": (release(step=99, sample_rate=1.5), "sample_rate=1.5 is out of range"),
    "release of text": (release(step="one"), "step='one' is out of range"),
    "release of truth": (release(client=True), "client=True is out of range"),
    "release of many digits": (release(step=99, clip_norm=10**400), "clip_norm=1000.* is out of range"),
    "release that contradicts": (release(noise_multiplier=99.0), "a second time with other numbers"),
    "release with more": (release(step=99, extra=1), r"names differ: \['extra'\]"),
    "a ledger with a line changed": (line("ledger.jsonl", b"{}\n"), "does not hold the releases that this state"),
    "a ledger cut back": (lambda d: (d / "ledger.jsonl").write_bytes(b""), "ε spent is unknown"),
    "state of another shape": (
        state(lambda t, a: t.update({"A/body": torch.zeros(3, 6)})),
        r"is torch.float32 \(3, 6\)",
    ),
    "state of NaN": (state(lambda t, a: t["A/body"].fill_(math.nan)), "A/body holds NaN"),
    "state with more": (state(lambda t, a: t.update({"../x": torch.zeros(1)})), r"holds \[\('\.\.', 'x'\)\] besides"),
    "state with less": (state(lambda t, a: t.pop("A/body")), "is missing"),
    "state of a later round": (state(lambda t, a: a.update(round=10**6)), "round 1000000 is none of 0 to 3"),
    "state of round true": (state(lambda t, a: a.update(round=True)), "round True is none of"),
    "state of other scale": (state(lambda t, a: a.update(scale=1e30)), NOT_STATE),
    "state moved by text": (state(lambda t, a: a.update(moves=[["x", 1]])), NOT_STATE),
    "state that says nothing": (state(lambda t, a: a.clear()), "no state that can be read"),
    "state without record": (state(lambda t, a: a.update(record=None)), NOT_STATE),
    "states are pickles": (
        lambda d: [p.write_bytes(pickle.dumps(Bomb(d / "mark.x"))) for p in (d / "state").iterdir()],
        "no state that can be read",
    ),
    "states are huge": (
        lambda d: [os.truncate(p, 2**41) for p in (d / "state").iterdir()],
        "more than any state has",
    ),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_a_bad_directory_is_refused_before_any_work(name, whole, tmp_path, monkeypatch):
    harm, said = BAD_RUNS[name]
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    harm(directory)
    sizes = {path: path.stat().st_size for path in directory.rglob("*") if path.suffix}
    monkeypatch.setattr(local, "poisson_draw", lambda *given: pytest.fail("a sample was drawn"))
    with pytest.raises(ValueError, match=said) as caught:
        saved = load(directory)
        list(save_rounds(TASK, saved.method, saved.settings, directory, resume=True))
    assert len(str(caught.value)) < 2000 and "; " in str(caught.value)
    assert {path: path.stat().st_size for path in directory.rglob("*") if path.suffix} == sizes
    assert not (directory / "mark.x").exists()


# ---- damaged states ----------------------------------------------------------------------------------------------


def test_cuts_and_flipped_bits_of_a_state_are_noticed(whole, tmp_path):
    """Every third byte of the file, one bit each (from a seed); a cut after every 97th byte."""
    directory, draw = tmp_path / "run", random.Random(SEED)
    shutil.copytree(whole, directory)
    path = directory / "state" / "round-000002.safetensors"
    data = path.read_bytes()
    assert read_state(path, directory, RUN)[0].round == 2
    for place in range(0, len(data), 97):
        path.write_bytes(data[:place])
        with pytest.raises(ValueError, match=r"round-000002\.safetensors is damaged"):
            read_state(path, directory, RUN)
    for place in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="is damaged"):
            read_state(path, directory, RUN)


@pytest.mark.parametrize("place", [0, 5, 700, -1])
def test_the_state_before_is_used_aloud_and_costs_nothing_more(whole, tmp_path, place):
    directory, straight = tmp_path / "run", tmp_path / "straight"
    shutil.copytree(whole, directory)
    path = directory / "state" / "round-000002.safetensors"
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"round-000002\.safetensors is damaged.*going on from round-000001"):
        rest = list(save_rounds(TASK, METHOD, RUN, directory, resume=True))
    assert [r.round for r in rest] == [2, 3]
    list(save_rounds(TASK, METHOD, RUN, straight))
    for name in ("ledger.jsonl", "adapter/adapter_model.safetensors", "adapter/privacy.json"):
        assert (directory / name).read_bytes() == (straight / name).read_bytes(), name
    assert Ledger(directory / "ledger.jsonl").epsilon(RUN.delta) == rest[-1].epsilon


def test_asking_what_a_directory_holds_changes_nothing(whole, tmp_path):
    """Another process may be writing there: half a line at the end is left alone."""
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    for name in ("ledger.jsonl", "rounds.jsonl"):
        with open(directory / name, "a") as file:
            file.write('{"round": 3, "cli')
    before = content(directory)
    assert load(directory).state.round == 2
    assert content(directory) == before
