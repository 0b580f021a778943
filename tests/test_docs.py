"""The pages of docs/: programs run, every public name is documented, links have an end."""

import importlib
import re
import subprocess
import sys
import types
from pathlib import Path

import gradsmith as gs
import pytest
from gradsmith.examples import EXAMPLES

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# Beside its blocks a page may have code in comments, which no reader sees: before a block, what it
# needs to run (small data, imports); after it, assertions.
PROGRAM = re.compile(
    r"^```python\n(.*?)^```$|^<!-- (?:setup|check)\n(.*?)^-->$", re.MULTILINE | re.DOTALL
)
BEGUN = re.compile(
    r"^[ \t]*(?:```+|~~~+)[ {]*(?:code\S* +)?i?py|<!--\s*(?:setup|check)",
    re.MULTILINE | re.IGNORECASE,
)
RUN = [page for page in PAGES if BEGUN.search(page.read_text())]

pytestmark = pytest.mark.skipif(not PAGES, reason="needs the source tree")


@pytest.fixture
def restored():
    """Pages may change settings of the process."""
    threads, target = gs.get_num_threads(), gs.get_target()
    yield
    gs.set_num_threads(threads)
    gs.set_target(target)


def programs(page):
    """The page's code in its order, moved down so that a traceback shows the page's own line."""
    text = page.read_text()
    for piece in PROGRAM.finditer(text):
        place = piece.lastindex
        above = "\n" * text.count("\n", 0, piece.start(place))
        yield compile(above + piece[place], str(page), "exec", dont_inherit=True)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_programs_run(page, tmp_path, monkeypatch, restored):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for program in programs(page):
        exec(program, namespace)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_no_block_is_left_out(page):
    """Python blocks begin with "```python", comments with "<!-- setup" or "<!-- check"."""
    text = page.read_text()
    begun = [text[match.start() :].partition("\n")[0] for match in BEGUN.finditer(text)]
    run = [piece[0].partition("\n")[0] for piece in PROGRAM.finditer(text)]
    assert begun == run


# ---- names ----

MODULES = """
gradsmith gradsmith.amp gradsmith.autograd gradsmith.cuda
gradsmith.data gradsmith.data.datasets gradsmith.data.transforms
gradsmith.kernels gradsmith.models
gradsmith.nn gradsmith.nn.functional gradsmith.nn.init gradsmith.nn.utils gradsmith.nn.utils.rnn
gradsmith.optim gradsmith.optim.lr_scheduler gradsmith.testing
gradsmith.train gradsmith.train.callbacks gradsmith.train.metrics gradsmith.transfer
""".split()  # noqa: SIM905
NOT_OURS = {"gradsmith": {"annotations", "TYPE_CHECKING", "Any", "builtins", "importlib"}}


def public_names(module):
    """What a module is for; where it has no complete `__all__`, what was made in it."""
    value = importlib.import_module(module)
    names = dir(value) if module == "gradsmith" else getattr(value, "__all__", None)
    if names is None:
        names = [n for n, v in vars(value).items() if getattr(v, "__module__", None) == module]
    names = {name for name in names if not name.startswith("_")} - NOT_OURS.get(module, set())
    return {name for name in names if not isinstance(getattr(value, name), types.ModuleType)}


def documented_names(module):
    fence = re.compile(rf"^```{{names}} {re.escape(module)}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    texts = [page.read_text() for page in (DOCS / "api").glob("*.md")]
    return " ".join(names for text in texts for names in fence.findall(text)).split()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented_once(module):
    documented = documented_names(module)
    missing = sorted(public_names(module) - set(documented))
    assert not missing, f"add to docs/api: {' '.join(missing)}"
    assert len(documented) == len(set(documented))


def test_every_public_name_has_a_docstring():
    for module in MODULES:
        value = importlib.import_module(module)
        for name in documented_names(module):
            text = getattr(value, name).__doc__ or ""
            # pybind11 puts the signature first.
            described = text.partition("\n")[2] if text.startswith(f"{name}(") else text
            assert described.strip(), f"{module}.{name}"


# ---- links ----


def test_links_to_files_have_an_end():
    for page in [*PAGES, *DOCS.parent.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_guide_names_every_example():
    named = {
        name for page in PAGES for name in re.findall(r"\{example\}`([^`]*)`", page.read_text())
    }
    assert named == set(EXAMPLES)


def test_the_results_page_shows_the_records():
    command = [sys.executable, DOCS.parent / "tools" / "results_page.py", "--check"]
    assert subprocess.run(command, check=False).returncode == 0
