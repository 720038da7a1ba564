"""Real notebooks, small ones, run by real kernels: what comes out, and what is left when they break."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat import v4

from lalora_kit.book import notebooks as book
from lalora_kit.book.pages import markdown_html

CHROMIUM = Path("/usr/bin/chromium")
PARAMETERS = "epsilon: float = 3.0  # privacy budget\nrank: int = 4  # LoRA rank\ntask: str = 'digits'  # data"
TITLE = r"""# Noise, seen

What ε *does*, in $e^\varepsilon$ steps. Go on with [the next](02_fails.ipynb#top).

[![Open it elsewhere](https://example.org/badge.svg)](https://example.org/open)

$$\begin{aligned} \Delta W &= \frac{\alpha}{r} B A \\ &= 0 \end{aligned}$$"""
FIGURE = """import plotly.graph_objects as go
go.Figure(go.Scatter(x=[1, 2, 3], y=[rank, 2, 3]), dict(title=dict(text="Accuracy <b>per</b> round")))"""
RESULT = """from IPython.display import display
record = {"notebook": "n", "parameters": {"epsilon": epsilon}, "result": f"rank {rank} at ε = {epsilon}",
          "figures": {"accuracy": 0.81}, "seen": {"noise hurts": True}}
display({"application/vnd.lalora.result+json": record, "text/plain": "one line"}, raw=True)"""
HANG = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\nwhile True: time.sleep(1)"


def write(folder, name, *sources, title="# Title\n\nA line of prose."):
    """A notebook with a title, a parameters cell and code cells of the given sources."""
    cells = [v4.new_markdown_cell(title), v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    notebook = v4.new_notebook(cells=[*cells, *map(v4.new_code_cell, sources)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / name
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A walkthrough of three notebooks of which the second fails and the last is not even one."""
    folder, said = tmp_path_factory.mktemp("notebooks"), []
    paths = [
        write(folder, "01_good.ipynb", "held = bytearray(200_000_000)", FIGURE, RESULT, title=TITLE),
        write(folder, "02_fails.ipynb", "print('before')", "raise ValueError('rank=96 is too much <&>')", "1"),
        write(folder, "03_good.ipynb", "print('first'); print('last line')"),
        folder / "04_broken.ipynb",
    ]
    paths[-1].write_text("no notebook")
    out = tmp_path_factory.mktemp("walkthrough")
    return book.walkthrough(out, paths, said.append), out, "\n".join(said)


def test_a_failure_does_not_stop_the_others(walk):
    runs, out, said = walk
    assert [run.ok for run in runs] == [True, False, True, False]
    assert runs[1].error == "In [3]: ValueError: rank=96 is too much <&>"
    assert runs[2].result == "last line" and runs[2].record is None
    assert "[2/4] 02_fails: failed" in said
    assert "2 of 4 passed" in book.table(runs) and "FAILED: In [3]: ValueError" in book.table(runs)
    assert all((out / f"{run.name}.html").exists() for run in runs)
    assert all(run.path.exists() for run in runs[:3])


def test_the_result_is_the_json_that_the_notebook_displayed(walk):
    run = walk[0][0]
    assert run.result == "rank 4 at ε = 3.0"
    assert run.record is not None and run.record["figures"] == {"accuracy": 0.81}


def test_time_memory_and_size_are_measured(walk):
    run = walk[0][0]
    assert run.seconds > 0
    assert 200e6 < run.peak_memory_bytes < 1.5e9
    assert run.size_bytes == run.path.stat().st_size < 2e6


def test_pages_show_figures_results_and_errors(walk):
    _, out, _ = walk
    good, bad = (out / "01_good.html").read_text(), (out / "02_fails.html").read_text()
    embedded = re.search(r'<script type="application/json">(.*?)</script>', good, re.DOTALL)
    assert embedded and json.loads(embedded[1])["data"][0]["type"] == "scatter"
    assert 'aria-label="Accuracy per round"' in good and "Plotly.newPlot" in good
    assert (out / "plotly.min.js").stat().st_size > 1e6
    assert "rank 4 at ε = 3.0" in good and "noise hurts: yes" in good
    assert "rank=96 is too much &lt;&amp;&gt;" in bad and "This notebook failed" in bad


def test_the_index_is_a_map(walk):
    index = (walk[1] / "index.html").read_text()
    assert "2 of 4 notebooks failed" in index and "rank=96 is too much &lt;&amp;&gt;" in index
    assert '<a href="01_good.html">Noise, seen</a>' in index and "A line of prose." in index
    assert sys.version.split()[0] in index and "cores" in index


class Loads(HTMLParser):
    """Collects what a page would load by itself (links to click are no loads)."""

    def __init__(self):
        super().__init__()
        self.addresses, self.in_style = [], False

    def handle_starttag(self, tag, attrs):
        self.in_style = tag == "style"
        named = dict(attrs)
        wanted = ("src", "srcset", "data", "poster") if tag != "link" else ("href",)
        self.addresses += [named[name] for name in wanted if named.get(name)]

    def handle_data(self, data):
        if self.in_style:
            self.addresses += re.findall(r"url\(([^)]*)\)|@import ([^;]*)", data)


def test_no_page_loads_anything_from_the_network(walk):
    pages = list(walk[1].glob("*.html"))
    assert len(pages) == 6
    for path in pages:
        loads = Loads()
        loads.feed(path.read_text())
        assert set(loads.addresses) <= {"plotly.min.js"}, path.name
        assert "Content-Security-Policy" in path.read_text()


def test_a_handout_is_one_file(walk, tmp_path):
    html = book.page(walk[0][0], tmp_path / "handout.html", self_contained=True).read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["handout.html"]
    assert len(html) > 1e6 and 'src="plotly.min.js"' not in html


def test_markdown_needs_no_network():
    html = markdown_html(TITLE)
    assert html.count("<math") == 2 and "<mtable" in html and "failed" not in html
    assert 'href="02_fails.html#top"' in html
    assert "<img" not in html and ">Open it elsewhere</a>" in html


def test_a_formula_that_cannot_be_drawn_is_marked():
    assert '<code class="failed">\\foo x</code>' in markdown_html(r"See $\foo x$ and $\frac{a}{$.")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epsilonn": 1.0}, "did you mean epsilon.*It has: epsilon, rank, task"),
        ({"epsilon": "abc"}, "type str.*epsilon = 3.0.*type float"),
        ({"epsilon": True}, "type bool"),
        ({"rank": 2.5}, "type float.*rank = 4.*type int"),
        ({"task": 3}, "type int.*type str"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(tmp_path, parameters, message):
    path = write(tmp_path, "n.ipynb", RESULT)
    with pytest.raises(ValueError, match=message):
        book.run_notebook(path, tmp_path / "out.ipynb", parameters)
    assert not (tmp_path / "out.ipynb").exists()


def test_parameters_reach_the_notebook_in_this_very_interpreter(tmp_path, monkeypatch):
    """A foreign `python3` kernelspec that comes first on Jupyter's path is not started."""
    foreign = tmp_path / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["false", "{connection_file}"], "display_name": "Foreign", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    path = write(tmp_path, "n.ipynb", "import sys; print(sys.executable, epsilon, rank)")
    run = book.run_notebook(path, tmp_path / "out.ipynb", {"epsilon": 1, "rank": 8})
    assert run.ok and run.result == f"{sys.executable} 1 8"


def test_widget_state_is_stripped(tmp_path):
    path = write(tmp_path, "n.ipynb", "import ipywidgets\nipywidgets.IntSlider()")
    run = book.run_notebook(path, tmp_path / "out.ipynb")
    assert run.ok and "widgets" not in nbformat.read(run.path, as_version=4).metadata


def test_a_cell_that_never_ends_is_stopped(tmp_path):
    run = book.run_notebook(write(tmp_path, "n.ipynb", HANG), tmp_path / "out.ipynb", timeout=3)
    assert not run.ok and run.error == "In [2]: took longer than 3 s and was stopped"
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_temporary_files_of_a_notebook_go_with_its_kernel(tmp_path):
    """Kept open to the end, as lessons keep them: the kernel is not asked to tidy up, it is ended."""
    made = "import pathlib, tempfile\nscratch = tempfile.TemporaryDirectory()"
    told = "pathlib.Path('made').write_text(scratch.name)"
    run = book.run_notebook(write(tmp_path, "keeps.ipynb", made, told), tmp_path / "out.ipynb")
    made_at = Path((tmp_path / "made").read_text())
    assert run.ok and not made_at.exists() and not made_at.parent.exists()


def test_an_interrupted_run_leaves_no_kernel(tmp_path):
    path = write(tmp_path, "n.ipynb", HANG)
    code = "import sys; from pathlib import Path; from lalora_kit.book.execute import run_notebook; "
    code += "run_notebook(*map(Path, sys.argv[1:]))"
    # A shell's background job starts with Ctrl-C ignored, and a child would inherit that.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [sys.executable, "-c", code, path, "out"], cwd=tmp_path, stderr=subprocess.DEVNULL, preexec_fn=listening
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_the_notebooks_are_found_or_the_remedy_is_named(monkeypatch, tmp_path):
    assert book.notebooks_dir().name == "notebooks"
    monkeypatch.setattr(book, "__file__", str(tmp_path / "site-packages" / "lalora_kit" / "book.py"))
    with pytest.raises(ValueError, match="pip install -e"):
        book.notebooks_dir()


def test_notebooks_are_copied_and_what_a_reader_changed_is_not_overwritten(tmp_path):
    first, second, *rest = book.copy_notebooks(tmp_path / "mine")
    assert [place.name for place in (first, second, *rest)] == sorted(
        path.name for path in book.notebooks_dir().glob("*.ipynb")
    )
    original = first.read_bytes()
    first.write_text("my answer")
    second.unlink()
    with pytest.raises(ValueError, match=r"00_\S+ would be overwritten.*name another folder, or move them away"):
        book.copy_notebooks(tmp_path / "mine")
    assert not second.exists() and first.read_text() == "my answer"
    book.copy_notebooks(tmp_path / "mine", keep=True)
    assert second.exists() and first.read_text() == "my answer"
    first.write_bytes(original)
    assert book.copy_notebooks(tmp_path / "mine") == [first, second, *rest]


def test_lab_starts_jupyterlab_of_this_interpreter(tmp_path):
    assert book.lab(write(tmp_path, "n.ipynb"), ["--version"]) == 0


@pytest.mark.browser
def test_chromium_draws_the_figure_without_network(walk, tmp_path):
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing; CI must see the pages in a browser")
        pytest.skip(f"{CHROMIUM} is missing: the pages were not seen in a browser")
    from playwright.sync_api import sync_playwright

    handout = book.page(walk[0][0], tmp_path / "handout.html", self_contained=True)
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            context = browser.new_context(offline=True, viewport={"width": 700, "height": 900})
            for path in (walk[1] / "01_good.html", handout):
                page, asked, errors = context.new_page(), [], []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
                page.goto(path.as_uri())
                page.wait_for_selector(".main-svg .scatterlayer path")
                assert not errors and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        finally:
            browser.close()
