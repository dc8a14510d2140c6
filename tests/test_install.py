"""The wheel holds the commands, the compiled module, the manual pages and all that the package reads."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_all_of_it(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "facetools").rglob("*.py")}
    assert sources <= set(names)
    data = ("attributes.json", "report/report.html", "models/starter.pt", "models/README.md")
    assert {f"facetools/{name}" for name in data} <= set(names)
    assert any(name.startswith("facetools/_core.") and name.endswith(".so") for name in names)
    assert not [name for name in names if name.endswith((".cpp", ".hpp"))]
    for command in ("augment", "train", "predict", "cluster", "eigenface", "report"):
        assert f"fa-{command} = facetools.commands.{command}:main" in entry_points
        for shared in (f"man/man1/fa-{command}.1", f"bash-completion/completions/fa-{command}"):
            assert [name for name in names if name.endswith(f".data/data/share/{shared}")]
    assert [name for name in names if name.endswith("share/man/man5/facetools-formats.5")]
