"""The wheel is complete, and the light install does everything that needs neither training nor a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = ("align", "augment", "train", "predict", "cluster", "eigenface", "find", "report")

#: The largest size of an environment with the light install, pip included, in MB.
LIGHT_MB = 600


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "facetools").rglob("*.py")}
    assert sources <= set(names)
    data = (
        "table/attributes.json",
        "report/report.html",
        "report/report.js",
        "network/starter/starter.pt",
        "network/starter/README.md",
    )
    assert {f"facetools/{name}" for name in data} <= set(names)
    assert any(name.startswith("facetools/_core.") and name.endswith(".so") for name in names)
    assert not [name for name in names if name.endswith((".cpp", ".hpp"))]
    for command in COMMANDS:
        assert f"fa-{command} = facetools.commands.{command}:main" in entry_points
        for shared in (f"man/man1/fa-{command}.1", f"bash-completion/completions/fa-{command}"):
            assert [name for name in names if name.endswith(f".data/data/share/{shared}")]
    assert [name for name in names if name.endswith("share/man/man5/facetools-formats.5")]


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and no extras."""
    environment = tmp_path_factory.mktemp("light")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    if subprocess.run(
        [*pip, "download", "-q", "--no-deps", "-d", str(environment), "six"], capture_output=True
    ).returncode:
        pytest.skip("there is no package index")
    done = subprocess.run([*pip, "install", "--quiet", str(wheel)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return environment


def run(light: Path, *line: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{light / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=light, timeout=600)


def test_the_light_install_is_light(light: Path) -> None:
    packages = {path.name for path in light.glob("lib/python*/site-packages/*")}
    assert not packages & {"torch", "torchvision", "faiss"}
    size = sum(path.stat().st_size for path in light.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < LIGHT_MB * 1e6


def test_the_light_install_does_the_whole_pipeline(light: Path) -> None:
    done = run(light, "bash", str(ROOT / "tests" / "smoke.sh"))
    assert done.returncode == 0, done.stderr
    assert "torch none" in done.stdout and "FAISS none" in done.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("fa-train", "faces", "-o", "run"), "fa-train: training needs PyTorch, which is not installed: "),
        (
            ("fa-predict", "faces", "--device", "cuda"),
            "fa-predict: the device cuda needs PyTorch, which is not installed: ",
        ),
        (
            ("fa-cluster", "scores.npy", "-k", "2", "--soft", "--device", "cuda"),
            "fa-cluster: the device cuda needs FAISS: ",
        ),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    light: Path, line: tuple[str, ...], message: str
) -> None:
    run(light, "python", "-m", "facetools.commands.draw", "faces", "--faces", "4")
    run(light, "python", "-c", "import numpy; numpy.save('scores.npy', numpy.random.rand(9, 5).astype('f4'))")
    done = run(light, *line)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(message) and "pip install 'facetools[" in last
    assert "Traceback" not in done.stderr
