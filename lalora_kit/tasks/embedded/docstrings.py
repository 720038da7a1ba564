"""English sentences from the docstrings of the running Python's own standard library: read, never imported.

The sources are parsed with `ast`. Modules of four subjects are the private side of task `stdlib-docs`; every other
module, the test suite and the language reference (`pydoc_data.topics`) are public, and the backbone is pretrained
on them. The sentences differ a little between Python versions, and where a distribution leaves modules out.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: Top-level modules of each subject, none of which a later Python is known to drop; one that is missing adds nothing.
MODULES = {
    "network": """
        asyncio base64 email ftplib html http imaplib ipaddress mailbox poplib quopri selectors smtplib socket
        socketserver ssl urllib uuid webbrowser wsgiref xmlrpc
    """,
    "files": """
        _compression _pyio bz2 codecs compression configparser csv dbm filecmp fileinput fnmatch genericpath glob gzip
        io json linecache lzma mimetypes netrc ntpath os pathlib pickle pickletools plistlib posixpath shelve shutil
        sqlite3 stat tarfile tempfile tomllib wave xml zipapp zipfile
    """,
    "numbers": """
        _collections_abc _pydatetime _pydecimal _pylong _strptime bisect calendar collections colorsys copy datetime
        enum fractions functools graphlib hashlib heapq hmac numbers operator queue random sched secrets statistics
        turtle weakref zoneinfo
    """,
    "tools": """
        argparse ast bdb cmd code codeop compileall contextlib difflib dis doctest importlib inspect logging
        modulefinder optparse pdb pkgutil pprint profile pstats py_compile pyclbr pydoc rlcompleter runpy site symtable
        sysconfig tabnanny timeit tokenize trace traceback tracemalloc typing unittest venv warnings zipimport
    """,
}
SUBJECTS = tuple(MODULES)
SUBJECT_OF = {module: subject for subject, names in MODULES.items() for module in names.split()}
#: Outside packages, and tests that lie inside a module's own folder: they speak about that subject, so they are none.
SKIPPED = {"site-packages", "dist-packages", "__pycache__"}
TOPICS = "pydoc_data/topics.py"
#: No subject has more sentences than this: subjects of like size, and a run that takes seconds.
MOST = 2500
LEAST_WORDS, MOST_CHARACTERS, LETTERS = 5, 400, 0.8


class Sentence(NamedTuple):
    """One private sentence: its subject, the module that owns it, and a hash of the docstring that it stands in."""

    text: str
    subject: str
    module: str
    docstring: int


def number_of(text: str) -> int:
    """A number in [0, 2⁶⁴) that depends on the text alone, whatever the process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def sentences(text: str) -> Iterator[str]:
    """The English sentences of a docstring: five words or more, mostly letters, no interactive session."""
    for paragraph in re.split(r"\n\s*\n", text):
        if ">>>" in paragraph:
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'`(*])", " ".join(paragraph.split())):
            words = re.findall(r"[A-Za-z]{2,}|\b[aI]\b", sentence)
            letters = sum(character.isalpha() or character == " " for character in sentence)
            if len(words) >= LEAST_WORDS and LETTERS * len(sentence) <= letters and len(sentence) <= MOST_CHARACTERS:
                yield sentence


def docstrings(source: bytes) -> Iterator[str]:
    """Every docstring of a source file; none of one that this Python cannot parse (the test suite has such)."""
    try:
        pending: list[ast.AST] = [ast.parse(source)]
    except (SyntaxError, ValueError):
        return
    while pending:  # only into statements that hold others: a walk over every expression takes three times as long
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text
        pending += [child for name in ("body", "orelse", "handlers") for child in getattr(node, name, ())]


def topics(source: bytes) -> Iterator[str]:
    """The language reference as `help()` shows it: the longest strings of one big dictionary."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
            yield node.value


@cache
def library(private: bool) -> tuple[tuple[str, str, str], ...]:
    """`(module, docstring, sentence)` of the subjects' modules, or of all others, in the order of the files' names.

    Raises:
        ValueError: if the library's sources are not there.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    found = []
    for name in sorted(files):
        parts = name.split("/")
        module = parts[0].removesuffix(".py")
        if (module in SUBJECT_OF) != private or SKIPPED & set(parts) or ("tests" in parts and private):
            continue
        for text in (topics if name == TOPICS else docstrings)(files[name].read_bytes()):
            found += [(module, text, sentence) for sentence in sentences(text)]
    if not found:
        raise ValueError(
            f"{root} holds no docstrings of the standard library; task stdlib-docs reads them from its sources; "
            "use a Python that was installed with its sources, or task digits"
        )
    return tuple(found)


def private_sentences() -> list[Sentence]:
    """Unique sentences of the four subjects, sorted by text; none that stands in two subjects.

    A sentence of several modules of one subject belongs to the first. At most `MOST` a subject, those with the
    smallest hashes.
    """
    kept: dict[str, Sentence] = {}
    subjects: dict[str, set[str]] = {}
    for module, docstring, text in library(private=True):
        subject = SUBJECT_OF[module]
        subjects.setdefault(text, set()).add(subject)
        kept.setdefault(text, Sentence(text, subject, module, number_of(docstring)))
    unique = [sentence for text, sentence in kept.items() if len(subjects[text]) == 1]
    groups = ([s for s in unique if s.subject == subject] for subject in SUBJECTS)
    return sorted(s for group in groups for s in sorted(group, key=lambda s: number_of(s.text))[:MOST])


def public_sentences() -> list[tuple[str, str]]:
    """Unique `(sentence, module)` of everything else, sorted; none that any module of a subject holds too."""
    private = {text for _, _, text in library(private=True)}
    public: dict[str, str] = {}
    for module, _, text in library(private=False):
        if text not in private:
            public.setdefault(text, module)
    return sorted(public.items())


def reference() -> list[str]:
    """Unique sentences of the language reference, sorted; none that a module of a subject holds: public inputs."""
    private = {text for _, _, text in library(private=True)}
    source = (Path(sysconfig.get_paths()["stdlib"]) / TOPICS).read_bytes()
    return sorted({sentence for text in topics(source) for sentence in sentences(text)} - private)
