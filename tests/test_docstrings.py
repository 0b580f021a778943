"""The examples in docstrings run, on small stand-ins for what they name."""

import ast
import doctest
from pathlib import Path

import gradsmith as gs
import pytest
from gradsmith import nn
from test_cuda import gpu, run_emulated

PACKAGE = Path(gs.__file__).parent


def examples():
    """(where, text) of every docstring with an example."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.Module)):
                text = ast.get_docstring(node) or ""
                if ">>>" in text:
                    yield f"{path.relative_to(PACKAGE)}:{getattr(node, 'name', '')}", text


EXAMPLES = dict(examples())
ON_CUDA = [where for where in EXAMPLES if where.startswith("cuda")]


def run(where, device):
    gs.manual_seed(0)
    model = nn.Linear(4, 3).to(device)
    x, y = gs.randn(8, 4, device=device), gs.arange(8, device=device) % 3
    pairs = gs.data.TensorDataset(x.cpu(), y.cpu())
    generator = nn.Linear(64, 2)
    critic = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    given = {
        "gs": gs,
        **{"model": model, "x": x, "y": y, "batches": [(x, y)] * 2},
        **{"loss_fn": nn.CrossEntropyLoss(), "criterion": nn.CrossEntropyLoss()},
        "optimizer": gs.optim.Adam(model.parameters()),
        **{"train": pairs, "val": pairs, "test": pairs, "loader": [(x, y)] * 2},
        **{"generator": generator, "critic": critic, "images": gs.randn(64, 2)},
        "g_opt": gs.optim.Adam(generator.parameters()),
        "c_opt": gs.optim.Adam(critic.parameters()),
        **{"validate": lambda model: model(x), "WeightAverage": gs.train.WeightAverage},
        "host_batch": x.cpu(),
    }
    for example in doctest.DocTestParser().get_examples(EXAMPLES[where]):
        exec(compile(example.source, where, "single"), given)


@pytest.mark.parametrize("where", [where for where in EXAMPLES if where not in ON_CUDA])
def test_example(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(where, "cpu")


def test_emulated():
    run_emulated(__file__)


@gpu
@pytest.mark.parametrize("where", ON_CUDA)
def test_example_on_cuda(where):
    run(where, "cuda")


def test_there_are_examples():
    assert len(EXAMPLES) > 7 and len(ON_CUDA) >= 2
