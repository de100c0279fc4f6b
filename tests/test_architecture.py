"""The house of the design: imports point one way, and heavy packages stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import melanomafusion

ROOT = Path(melanomafusion.__file__).parent
FLOORS = [
    {"errors", "notice", "tensorflow_log"},
    {"atomic", "compat", "csv_rows", "progress"},
    {"predictions", "data", "models", "recipes", "execution", "data_manifests"},
    {"images", "evaluation", "testing"},
    {"ensemble", "auditing", "explain", "baselines"},
    {"deploy"},
    {"console", "run_progress"},
    {"training", "serve"},
    {"demo"},
    {"cli"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TENSORFLOW_ROOMS = {
    "images/pipeline.py",
    "images/augment.py",
    "deploy/onnx_conversion.py",
    "deploy/onnx_graph.py",
    "deploy/litert.py",
}


def modules():
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Full names of everything a module imports, inside functions too."""
    package = ["melanomafusion", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imported_rooms(path):
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "melanomafusion" and len(parts) > 1} & set(FLOOR_OF)


def test_every_module_has_a_floor():
    assert {room_of(path) for path in modules()} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_from_the_lower_floor_up(path):
    room = room_of(path)
    for other in imported_rooms(path) - {room}:
        assert FLOOR_OF[other] < FLOOR_OF[room], f"{room} imports {other}, which is not on a lower floor"


def test_the_walk_sees_imports_inside_functions():
    assert "models" in imported_rooms(ROOT / "deploy" / "bundle.py")


def test_tensorflow_stays_in_pipelines_and_training():
    for path in modules():
        uses = any(name.split(".")[0] == "tensorflow" for name in imports(path))
        inside = path.relative_to(ROOT).as_posix()
        assert not uses or inside in TENSORFLOW_ROOMS or room_of(path) == "training", inside


def test_nothing_is_unpickled():
    for path in modules():
        assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "joblib", "dill", "shelve"}, path


def loaded_after(code):
    heavy = "('tensorflow', 'keras', 'pandas', 'sklearn', 'matplotlib', 'scipy')"
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print([m for m in {heavy} if m in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    return ast.literal_eval(run.stdout.strip().splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import melanomafusion") == []


def test_ensembling_and_evaluation_load_no_tensorflow():
    code = (
        "import melanomafusion as mf; "
        "[getattr(mf, n) for n in ('Predictions', 'MeanEnsemble', 'RankMeanEnsemble', 'auc_interval', 'plot_roc')]"
    )
    assert not {"tensorflow", "keras", "sklearn"} & set(loaded_after(code))


def test_every_public_name_is_there():
    for name in melanomafusion.__all__:
        assert getattr(melanomafusion, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        melanomafusion.nonsense  # noqa: B018
