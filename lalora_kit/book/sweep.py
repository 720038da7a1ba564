"""Several notebooks at several parameters in one go: the whole of what is asked for is checked before anything runs.

`02 --epsilon 0.5 1 3 --rank 8` is three runs of notebook 02. A parameter that only some of the notebooks have moves
those; one that none of them has is refused.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from lalora_kit.book.execute import CELL_TIMEOUT, NotebookRun, run_notebook
from lalora_kit.book.notebooks import code_cells, notebooks_dir
from lalora_kit.book.parameters import check_parameters, parameters_of
from lalora_kit.book.progress import Part, Progress
from lalora_kit.book.templates import readable_size
from lalora_kit.settings import Settings

NOTEBOOK = "notebook"
MOST_BYTES = 200
"""Of a job's name: files get endings to it, and a file's name has 255 at most."""


@dataclass(frozen=True)
class Job:
    """One run to come: a notebook, what it is given, and a name of its own that is fit for a file."""

    notebook: Path
    parameters: Mapping[str, object]
    name: str

    @property
    def told(self) -> str:
        """The parameters given, as `epsilon = 0.5, rank = 8`."""
        return ", ".join(f"{name} = {value}" for name, value in self.parameters.items())


def read_words(words: Sequence[str]) -> dict[str, list[str]]:
    """`02 --epsilon 0.5 1 --rank=8` as `{"notebook": ["02"], "epsilon": ["0.5", "1"], "rank": ["8"]}`.

    Raises ValueError for a word such as `-p`, which is neither a value nor the name of a parameter.
    """
    name, found = NOTEBOOK, dict[str, list[str]]()
    for word in words:
        if word.startswith("--"):
            name, given, word = word[2:].partition("=")
            name = name.replace("-", "_")
            found.setdefault(name, [])
            if not given:
                continue
        elif word.startswith("-") and isinstance(read_value(word), str):
            raise ValueError(f"{word} is no option; a notebook's parameter is given as --name value")
        found.setdefault(name, []).append(word)
    return found


def read_value(text: str) -> object:
    """A number, `inf`, `true`, a list or mapping in brackets, or else the text itself."""
    for read in (ast.literal_eval, float):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def choose(words: Sequence[str]) -> list[Path]:
    """The notebooks meant: all of the kit's, or those named by number (`02`), by name, or by path (`mine.ipynb`)."""
    ours = {path.stem: path for path in sorted(notebooks_dir().glob("*.ipynb"))}
    chosen = []
    for word in words:
        if word.endswith(".ipynb"):
            chosen.append(Path(word))
            continue
        found = [path for stem, path in ours.items() if word == stem or (word and word.zfill(2) == stem.split("_")[0])]
        if not found:
            near = difflib.get_close_matches(word, ours, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"notebook {word!r} is unknown; {hint}The kit has {', '.join(ours)}; or give a path")
        chosen += found
    return list(dict.fromkeys(chosen)) if words else list(ours.values())


def plan(words: Sequence[str], options: Sequence[str] = ()) -> list[Job]:
    """Every run that the words ask for, each notebook at each combination of the values of its parameters.

    `options` are the command's own, for the hint at a misspelled one. Raises ValueError for anything that could not
    run: an unknown notebook or parameter, a value of another type, a setting that cannot be.
    """
    given = read_words(words)
    notebooks = choose(given.pop(NOTEBOOK, []))
    known = {path: parameters_of(path) for path in notebooks}
    check_names(given, known, options)
    values = {name: different(map(read_value, texts)) for name, texts in given.items()}
    jobs = [job for path in notebooks for job in jobs_of(path, {n: v for n, v in values.items() if n in known[path]})]
    if len({job.name for job in jobs}) < len(jobs):
        raise ValueError("two of the notebooks have the same name, so their pages would too; rename one of them")
    return jobs


def different(values: Iterable[object]) -> list[object]:
    """Each value once, as it is written: 1 is not True here, and a list has no hash."""
    return list({repr(value): value for value in values}.values())


def check_names(given: Mapping[str, list[str]], known: Mapping[Path, Iterable[str]], options: Sequence[str]) -> None:
    """Refuse what no chosen notebook has, naming the nearest, and a name without a value."""
    names = list(dict.fromkeys(name for own in known.values() for name in own))
    for name, texts in given.items():
        if name not in names:
            near = difflib.get_close_matches(name.replace("_", "-"), [*names, *options, NOTEBOOK], n=1, cutoff=0.5)
            hint = f"did you mean --{near[0]}? " if near else ""
            told = f"--{name} is neither an option nor a parameter of {', '.join(path.stem for path in known)}"
            raise ValueError(f"{told}; {hint}The parameters are {', '.join(names) or 'none'}")
        if not texts:
            raise ValueError(f"--{name} has no value; give it one or more, such as --{name} 1 2")


def jobs_of(path: Path, values: Mapping[str, Sequence[object]]) -> Iterator[Job]:
    """The runs of one notebook; what varies is in the name, and a number where that is not enough."""
    taken = Counter[str]()
    for combination in itertools.product(*values.values()):
        parameters = dict(zip(values, combination, strict=True))
        check_parameters(path, parameters)
        if path.parent == notebooks_dir():
            check_settings(parameters)
        varied = [f"{name}-{value}" for name, value in parameters.items() if len(values[name]) > 1]
        name = re.sub(r"[^\w.-]+", "-", "_".join([path.stem, *varied])).encode()[:MOST_BYTES].decode(errors="ignore")
        taken[name] += 1
        yield Job(path, parameters, name if taken[name] == 1 else f"{name}_{taken[name]}")


def check_settings(parameters: Mapping[str, object]) -> None:
    """Refuse what no run of the kit could be set to; a notebook would only say so once it runs."""
    names = {field.name for field in fields(Settings)}
    Settings(**{name: value for name, value in parameters.items() if name in names})  # type: ignore[arg-type]
    if "task" in parameters:
        from lalora_kit.tasks import TASKS

        if parameters["task"] not in TASKS:
            raise ValueError(f"task={parameters['task']!r} is unknown; the tasks are {', '.join(TASKS)}; choose one")


def run(
    jobs: Sequence[Job], out_dir: Path, echo: Callable[[str], object] = print,
    *, timeout: int = CELL_TIMEOUT, kept: Path | None = None,
) -> Iterator[tuple[Job, NotebookRun]]:  # fmt: skip
    """Run one after another and yield each as it ends, under its job's name; one that fails does not stop the rest.

    `kept` is the file of durations by which the rest is estimated.
    """
    parts = [Part(job.name, code_cells(job.notebook) + bool(job.parameters), job.parameters) for job in jobs]
    with contextlib.closing(Progress(parts, echo, kept)) as progress:
        for place, job in enumerate(jobs):
            with progress.running(place) as on_cell:
                out = out_dir / f"{job.name}.ipynb"
                done = run_notebook(job.notebook, out, job.parameters, timeout=timeout, on_cell=on_cell)
            said = "passed" if done.ok else f"FAILED: {done.error}"
            told = f"{done.seconds:.0f} s, {readable_size(done.peak_memory_bytes)}, {said}"
            progress.ended(done.seconds, done.ok, told)
            yield job, replace(done, name=job.name)


def ran(jobs: Sequence[Job], folder: Path) -> list[Path]:
    """Where the notebooks of the jobs lie, executed, in a folder that a walkthrough wrote.

    Raises:
        ValueError: for one that is not there, and for parameters, which such a folder was not run with.
    """
    if any(job.parameters for job in jobs):
        raise ValueError(
            f"{folder} was run already, so parameters change nothing; leave them out, or leave the folder out"
        )
    places = [folder / job.notebook.name for job in jobs]
    missing = [place.name for place in places if not place.is_file()]
    if missing:
        raise ValueError(
            f"{folder} holds no {', '.join(missing)}; run `lalora walkthrough --out {folder}`, or name others"
        )
    return places
