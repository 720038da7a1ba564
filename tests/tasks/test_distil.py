"""MiniLM-pico: files, teacher and licences are those of the record, and its text is not the private one."""

import hashlib
import json
from importlib.resources import files

import pytest
import torch
from safetensors.torch import load_file

from lalora_kit.tasks import load_task, logits
from lalora_kit.tasks.assets.language import corpus, distil, teacher, vectors
from lalora_kit.tasks.embedded import docstrings
from lalora_kit.tasks.embedded.minilm_pico import ASSETS, LONGEST, SPECIAL, VOCABULARY, WEIGHTS, WIDTH, tokenizer

FOLDER = files(ASSETS)
RECORD = json.loads((FOLDER / distil.RECORD).read_text(encoding="utf-8"))
OPEN = ("Apache", "BSD", "MIT", "ISC", "Public Domain")


@pytest.fixture(scope="module")
def task():
    return load_task("stdlib-docs-distilled")


def test_the_shipped_files_are_the_ones_in_the_record_and_small():
    for name, label in ((WEIGHTS, "sha256"), (VOCABULARY, "vocabulary sha256")):
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == RECORD[label]
    weights = load_file(str(FOLDER / WEIGHTS))
    assert len((FOLDER / WEIGHTS).read_bytes()) <= 8e6
    assert {value.dtype for value in weights.values()} == {torch.float16}


def test_the_record_names_the_teacher_and_every_package_under_an_open_licence():
    assert RECORD["teacher"] == {"name": teacher.NAME, "licence": teacher.LICENCE, "sha256": teacher.SHA256}
    assert {row["package"] for row in RECORD["packages"]} == set(corpus.PACKAGES)
    assert all(row["licence"].startswith(OPEN) and row["sentences"] > 0 for row in RECORD["packages"])
    assert not set(RECORD["Python's own modules"]["modules"]) & set(docstrings.SUBJECT_OF)


def test_the_public_text_holds_no_private_sentence_nor_one_but_for_signs(tmp_path, monkeypatch):
    private = docstrings.private_sentences()[0].text
    source = f'"""{private}\n\n{private.upper()}\n\nThis one of the package is nobody\'s secret."""'
    for folder, text in (("anyio", source), ("anyio/_vendor", '"""A copy of another package lies in here."""')):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "a.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(corpus, "PACKAGES", {"anyio": "anyio"})
    monkeypatch.setattr(corpus, "places", lambda: [tmp_path])
    lines = dict(corpus.corpus())
    assert [text for text, name in lines.items() if name == "anyio"] == ["This one of the package is nobody's secret."]
    held = {corpus.bare(text) for _, _, text in docstrings.library(private=True)}
    assert not {corpus.bare(text) for text in lines} & held
    assert not set(lines.values()) & set(docstrings.SUBJECT_OF)


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "places", lambda: [tmp_path])
    with pytest.raises(ValueError, match="anyio is not installed, and the public text has its docstrings; install"):
        corpus.corpus()


def test_kept_vectors_are_taken_again_and_those_of_other_sentences_are_refused(tmp_path, monkeypatch):
    asked = []

    def said(length, texts):
        asked.extend(texts)
        return {"mean": torch.tensor([[float(length(text))] for text in texts])}

    monkeypatch.setattr(vectors, "PART", 2)
    monkeypatch.setattr(vectors, "load_teacher", lambda: (len,))
    monkeypatch.setattr(vectors, "said", said)
    texts = ["a", "bb", "ccc"]
    for _ in range(2):
        assert torch.cat([part["mean"] for part in vectors.parts(texts, tmp_path)]).flatten().tolist() == [1, 2, 3]
    assert asked == texts, "a second call asks nobody"
    with pytest.raises(ValueError, match=r"000002\.safetensors holds the vectors of other sentences .* another folder"):
        list(vectors.parts(["a", "bb", "dd"], tmp_path))


def test_a_word_starts_where_the_teacher_has_it_and_a_single_sighting_counts_little():
    counts = torch.full((len(SPECIAL) + 200,), 1000.0)
    counts[-1], counts[-2] = 0, 1
    means = torch.randn(len(counts), 384, generator=torch.Generator().manual_seed(0))
    start = distil.start_of(means * counts[:, None], counts)
    assert start.shape == (len(counts), WIDTH) and not start[: len(SPECIAL)].any() and not start[-1].any()
    sizes = start.norm(dim=1)
    assert float(sizes[-2]) < 0.2 * float(sizes[len(SPECIAL) : -2].mean())


def test_distilling_lowers_the_loss_and_is_the_same_each_time():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(len(SPECIAL), 60, (256, LONGEST), generator=generator)
    table = torch.randn(60, 384, generator=generator)
    targets, start = distil.standard(table[ids].mean(1)), torch.zeros(60, WIDTH)
    (model, reader), (again, _) = (distil.distil(start, ids, targets, 40) for _ in range(2))
    assert all(map(torch.equal, model.bert.parameters(), again.bert.parameters()))
    untrained, blank = distil.distil(start, ids, targets, 1)
    before, after = (distil.agreement(m, r, ids, targets) for m, r in ((untrained, blank), (model, reader)))
    assert before < 0.2 and after > before + 0.2


def test_the_task_has_the_sentences_of_stdlib_docs_and_public_inputs_of_the_reference(task):
    other = load_task("stdlib-docs")
    assert torch.equal(task.train.labels, other.train.labels) and torch.equal(task.test.labels, other.test.labels)
    assert len(task.targets) == 7 and task.statistics is not None and "public" in task.notes
    assert not logits(task.backbone, task.test.select(torch.arange(3)).inputs).any()
    assert tokenizer().encode("CAPITALS do not matter.").ids == tokenizer().encode("capitals do not matter.").ids
