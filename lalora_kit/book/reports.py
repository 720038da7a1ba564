"""What a run of notebooks leaves for machines: JUnit XML, which every CI server reads, and JSON with all numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from lalora_kit.base.files import dumps, finite_or_null
from lalora_kit.book.execute import NotebookRun
from lalora_kit.book.sweep import Job

# Control characters, which XML 1.0 cannot hold at all.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")

Done = Sequence[tuple[Job, NotebookRun]]


def junit(done: Done, made_with: Mapping[str, str]) -> str:
    """A suite with a case a run: its seconds, its parameters and peak memory, its result or what went wrong."""
    seconds = f"{sum(run.seconds for _, run in done):.3f}"
    counts = {"tests": str(len(done)), "failures": str(sum(not run.ok for _, run in done)), "errors": "0"}
    totals = {"name": "lalora notebooks", "time": seconds, **counts}
    suites = ET.Element("testsuites", totals)
    suite = ET.SubElement(suites, "testsuite", totals)
    properties(suite, made_with)
    for job, run in done:
        case = ET.SubElement(suite, "testcase", classname=job.notebook.stem, name=run.name, time=f"{run.seconds:.3f}")
        properties(case, {**job.parameters, "peak_memory_bytes": run.peak_memory_bytes})
        if run.error is not None:
            ET.SubElement(case, "failure", message=clean(run.error)).text = clean(run.error)
        elif run.result:
            ET.SubElement(case, "system-out").text = clean(run.result)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def properties(parent: ET.Element, named: Mapping[str, object]) -> None:
    """Names and values, as JUnit has them."""
    kept = ET.SubElement(parent, "properties")
    for name, value in named.items():
        ET.SubElement(kept, "property", name=name, value=clean(str(value)))


def clean(text: str) -> str:
    """The text without what XML cannot hold."""
    return _NOT_XML.sub("�", text)


def to_json(done: Done, made_with: Mapping[str, str]) -> str:
    """All that is known of each run, the notebook's own result record included; infinities are null."""
    notebooks = [
        {
            "name": run.name,
            "notebook": job.notebook.name,
            "parameters": job.parameters,
            "ok": run.ok,
            "seconds": round(run.seconds, 3),
            "peak_memory_bytes": run.peak_memory_bytes,
            "size_bytes": run.size_bytes,
            "error": run.error,
            "result": run.result,
            "record": run.record,
        }
        for job, run in done
    ]
    told = {
        "ok": all(run.ok for _, run in done),
        "seconds": round(sum(run.seconds for _, run in done), 3),
        "peak_memory_bytes": max((run.peak_memory_bytes for _, run in done), default=0),
        "made_with": made_with,
        "notebooks": notebooks,
    }
    return dumps(finite_or_null(told)) + "\n"
