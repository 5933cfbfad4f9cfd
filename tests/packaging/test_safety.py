"""What the sources never do: unpickle, start shells, run code from a hub, draw unseeded numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FORBIDDEN_IMPORTS = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
}
FORBIDDEN_CALLS = {
    "torch.load": "it unpickles; use safetensors",
    "torch.save": "it pickles; use safetensors",
    "os.system": "it starts a shell; use subprocess with a list",
    "os.popen": "it starts a shell; use subprocess with a list",
    "eval": "it runs text as code",
    "exec": "it runs text as code",
    "yaml.load": "it builds any object; use yaml.safe_load",
    "yaml.unsafe_load": "it builds any object; use yaml.safe_load",
}
FORBIDDEN_OPTIONS = {"shell", "trust_remote_code", "allow_pickle", "weights_only"}
SEEDED = {"Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator"}


def offences(tree: ast.Module) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [
                (node.lineno, f"imports {name}: nothing is ever unpickled")
                for name in names
                if name.split(".")[0] in FORBIDDEN_IMPORTS
            ]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS:
                found.append((node.lineno, f"{name}(): {FORBIDDEN_CALLS[name]}"))
            found += [
                (node.lineno, f"{keyword.arg}={ast.unparse(keyword.value)}")
                for keyword in node.keywords
                if keyword.arg in FORBIDDEN_OPTIONS
                and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
            ]
            if draws_unseeded(name, node):
                found.append((node.lineno, f"{name}(): pass a seeded generator in"))
    return found


def draws_unseeded(name: str, call: ast.Call) -> bool:
    *owner, function = name.split(".")
    module = ".".join(owner)
    unseeded = not call.args and not call.keywords
    if module in ("np.random", "numpy.random"):
        return unseeded if function == "default_rng" else function not in SEEDED
    if function == "default_rng":
        return unseeded
    if module == "random":
        return unseeded if function == "Random" else True
    return False


def test_sources_are_safe(sources: dict[Path, ast.Module]) -> None:
    wrong = [
        f"{file}:{line} {what}" for file, tree in sources.items() for line, what in offences(tree)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load('x')",
        "yaml.load(text)",
        "subprocess.run('ls', shell=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "np.load('x', allow_pickle=True)",
        "np.random.rand(3)",
        "np.random.default_rng()",
        "random.random()",
    ],
)
def test_the_check_sees(line: str) -> None:
    assert offences(ast.parse(line))


@pytest.mark.parametrize(
    "line",
    [
        "np.random.default_rng(3).normal()",
        "random.Random(3).random()",
        "np.load('x', allow_pickle=False)",
        "subprocess.run(['ls'])",
        "rng.random(3)",
        "def f(rng: np.random.Generator): ...",
    ],
)
def test_the_check_lets_pass(line: str) -> None:
    assert not offences(ast.parse(line))
