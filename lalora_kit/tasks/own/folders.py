"""Folders of images: which folder is a class, which a split, and what is neither and so must be named.

Links are followed, every entry is looked at once, and what a system or a program has put beside the images is passed
over and counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lalora_kit.tasks.own.persons import folded, person_in
from lalora_kit.tasks.own.spelling import composed

METADATA = "metadata.csv"
#: Passed over and counted, with all they hold, as what is hidden is (a name that begins with a dot): by who makes them.
SYSTEM = {
    "Windows": ("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    "macOS": ("__macosx", "icon\r", "network trash folder", "temporary items"),
    "Linux": ("lost+found",),
    "Synology and QNAP storage": ("@eadir", "@recycle", "#recycle", "#snapshot", "@tmp"),
    "Python": ("__pycache__",),
}
PASSED = frozenset(name for names in SYSTEM.values() for name in names)

#: What splits are called; words such as `set`, `data` and `images`, and years, may follow or precede.
SPLITS = {
    "train": "train training trn entrainement apprentissage entrenamiento addestramento treino",
    "validation": "val valid validation dev development eval evaluation validierung validacion",
    "test": "test testing tst holdout heldout unseen prueba teste",
}
AROUND = "(?:set|sets|split|data|dataset|images?|imgs?|pictures?|photos?|folder|dir|seg|my|the|new|all)*"


@dataclass
class Walk:
    """What a walk through `root` has met: what is wrong, a line each, what was passed over, and folders in classes."""

    root: Path
    bad: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    nested: list[Path] = field(default_factory=list)

    def entries(self, folder: Path) -> list[Path]:
        """What `folder` holds, in order, but for what is passed over; dangling links and devices are bad."""
        found = []
        try:
            inside = sorted(folder.iterdir())
        except OSError as error:
            self.bad.append(f"{self.name(folder)} cannot be opened ({error.strerror})")
            return []
        for path in inside:
            if path.name.startswith(".") or path.name.casefold() in PASSED:
                self.passed.append(path.name)
            elif path.is_symlink() and not path.exists():
                self.bad.append(f"{self.name(path)} is a link to {os.readlink(path)}, which leads nowhere")
            elif not (path.is_file() or path.is_dir()):
                self.bad.append(f"{self.name(path)} is neither a file nor a folder")
            else:
                found.append(path)
        return found

    def files(self, folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
        """Every file below `folder`, links followed; folders on the way are noted."""
        above = (*above, folder.resolve())
        for path in self.entries(folder):
            if path.is_file():
                yield path
            elif path.resolve() in above:
                self.bad.append(f"{self.name(path)} is a link to a folder that it lies in")
            else:
                self.nested.append(path)
                inside = list(self.files(path, above))
                self.bad += [] if inside else [f"{self.name(path)} is a folder without images"]
                yield from inside

    def name(self, path: Path) -> str:
        """`path` as the owner of the folder would look it up."""
        return str(path.relative_to(self.root))

    def told(self) -> list[str]:
        """Lines about folders inside classes, and about what was passed over; none may be needed."""
        inner = ", ".join(map(self.name, self.nested[:5])) + (", ..." if len(self.nested) > 5 else "")
        kinds = sorted({repr(name)[1:-1] for name in self.passed})
        more = ", ..." if len(kinds) > 5 else ""
        count = f"{len(self.passed)} hidden or system {'entry' if len(self.passed) == 1 else 'entries'}"
        return [
            f"{len(self.nested)} folders inside class folders are read with their class ({inner})" if inner else "",
            f"passed over: {count} ({', '.join(kinds[:5])}{more})" if kinds else "",
        ]


def split_of(name: str) -> str:
    """ "train", "validation" or "test" where a folder's name says so, else nothing.

    >>> [split_of(name) for name in ("Training", "test_set", "VAL", "train2017", "trains", "cats")]
    ['train', 'test', 'validation', 'train', '', '']
    """
    joined = re.sub(r"[\W\d_]+", "", folded(name))
    for split, words in SPLITS.items():
        if re.fullmatch(f"{AROUND}(?:{'|'.join(words.split())}){AROUND}", joined):
            return split
    return ""


def parts_of(walk: Walk) -> list[Path]:
    """The folders that hold the classes: the root alone, or one for training and one for testing.

    Raises:
        ValueError: naming the folders, where they are some splits, or sites, or one folder around all.
    """
    root, top = walk.root, Walk(walk.root)
    entries = top.entries(root)
    folders = {path: [inside for inside in Walk(root).entries(path) if inside.is_dir()]
               for path in entries if path.is_dir()}  # fmt: skip
    named = ", ".join(f"{path.name}/" for path in folders)
    splits = {path: split_of(path.name) for path in folders}
    if sorted(splits.values()) in (["test", "train"], ["train", "validation"]):
        walk.passed += top.passed
        walk.bad += [*top.bad, *(f"{path.name} lies in no class folder" for path in entries
                                 if path.is_file() and path != root / METADATA)]  # fmt: skip
        return sorted(folders, key=lambda path: splits[path] != "train")
    if len(folders) == 1 and any(folders.values()):
        inner = next(iter(folders))
        raise ValueError(f"{root} holds one folder, {named} with the folders inside it; give --images {inner}")
    if any(splits[path] and (inside or all(splits.values())) for path, inside in folders.items()):
        raise ValueError(
            f"{root} holds {named} of which some are called as splits are; there must be one for training and one for "
            "testing, such as train/ and test/, or folders of classes alone; move or merge the others"
        )
    return [root]


def listed(walk: Walk, folder: Path) -> list[tuple[Path, str]]:
    """Every image and its class; what lies in no class folder, and a class without images, is added to `walk.bad`."""
    found: list[tuple[Path, str]] = []
    first: dict[str, Path] = {}
    for place in walk.entries(folder):
        if place.is_dir():
            inside = sorted(walk.files(place))
            label = composed(place.name)
            if first.setdefault(label, place) != place:
                walk.bad.append(f"{walk.name(place)} and {walk.name(first[label])} are folders of one name to the eye")
            walk.bad += [] if inside else [f"{walk.name(place)} is a class without images"]
            found += [(path, label) for path in inside]
        elif place != walk.root / METADATA:
            walk.bad.append(f"{walk.name(place)} lies in no class folder")
    return found


def check_known(walk: Walk, found: Sequence[Sequence[tuple[Path, str]]]) -> None:
    """Test images of a class that no training image has, added to `walk.bad`."""
    known = {label for _, label in found[0]}
    walk.bad += [f"{walk.name(path)} is of class {label!r}, which no training image has"
                 for part in found[1:] for path, label in part if label not in known]  # fmt: skip


def check_nested(walk: Walk, parts: Sequence[Path], unit: str | None) -> None:
    """`ValueError` where folders inside class folders may be the true classes, or persons of whom nobody has spoken."""
    inner: dict[str, set[str]] = {}
    for path in walk.nested:
        part = next(part for part in parts if part in path.parents)
        outer, *rest = path.relative_to(part).parts
        inner.setdefault(composed(rest[0]).casefold(), set()).add(outer)
    shared = sorted(name for name, outer in inner.items() if len(outer) > 1)
    if shared:
        around = sorted(set().union(*inner.values()))
        raise ValueError(
            f"{walk.root} holds folders of one name ({', '.join(shared[:10])}) in {', '.join(around[:10])}: either may "
            "be the classes; make the classes the outer folders, with their images directly inside, and name sites or "
            f"persons in {METADATA}, for --owner and --unit"
        )
    if walk.nested and unit is None:
        raise ValueError(
            f"{walk.root} holds folders inside class folders ({', '.join(map(walk.name, walk.nested[:10]))}), and what "
            "they tell apart is not said; put the images directly in their class folder; or, if they are persons, name "
            f"each image's person in {METADATA}, for --unit; --unit row says that every image is a person of its own"
        )


def check_names(places: Sequence[str], depth: int, unit: str | None) -> None:
    """`ValueError` where the names of files count persons who come twice, and no unit of privacy is named."""
    first: dict[str, str] = {}
    for place in places if unit is None else ():
        person = person_in("/".join(Path(place).parts[depth:]))
        if person and first.setdefault(person, place) != place:
            raise ValueError(
                f"{first[person]} and {place} are named after one person ({person}), and no unit of privacy is named: "
                f"ε would hold for one image, not for a person with several; name each image's person in {METADATA} "
                "and give --unit with its column, or --unit row where every image is a person of its own"
            )
