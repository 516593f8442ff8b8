"""The examples, as a user runs them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from backends import BACKEND
from event_files import read

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough for the example")
def test_quickstart(tmp_path):
    (tmp_path / "examples").mkdir()
    script = shutil.copy(ROOT / "examples" / "quickstart.py", tmp_path / "examples")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^ +(\w+) +([\d.]+)% +([\d.]+)% +([\d.]+)%.*$", run.stdout, re.M)
    table = {name: [float(cell) for cell in cells] for name, *cells in rows}
    assert list(table) == ["none", "L1", "L2", "ElasticNet", "GroupLasso", "Dropout"]
    for name, (train, test, gap) in table.items():
        assert abs(train - test - gap) < 0.11
        assert name == "none" or gap < table["none"][2], "each technique narrows the gap"
        log = read(tmp_path / "tensorboard_logs" / "quickstart" / name)
        assert len(log["all/sparsity"]) == 40
    assert "tensorboard --logdir" in run.stdout


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough for the example")
def test_sweep(tmp_path):
    (tmp_path / "examples").mkdir()
    script = shutil.copy(ROOT / "examples" / "sweep.py", tmp_path / "examples")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^ +(\w+) +(\S+) +([\d.]+)% +([\d.]+)% .*$", run.stdout, re.M)
    assert len(rows) == 12
    for penalty in ("L1", "ElasticNet", "GroupLasso"):
        zeros = [float(zero) for name, _, _, zero in rows if name == penalty]
        assert len(zeros) == 4 and 0 < zeros[0] and zeros == sorted(zeros)
    for name, strength, accuracy, zero in rows:
        assert float(accuracy) > 80
        log = read(tmp_path / "tensorboard_logs" / "sweep" / f"{name} {strength}")
        assert f"{log['all/sparsity'][-1][1]:.1%}" == f"{zero}%"
        assert "_hparams_/session_end_info" in log
    assert "tensorboard --logdir" in run.stdout


def test_lasso_diabetes():
    script = ROOT / "examples" / "lasso_diabetes.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "The same features are exactly zero: True" in run.stdout
    difference = re.search(r"Largest difference: (\S+)", run.stdout)
    assert difference and float(difference[1]) < 1e-5


@pytest.mark.skipif(BACKEND == "torch", reason="1300 passes one by one take a while")
def test_mc_dropout(tmp_path):
    script = [sys.executable, ROOT / "examples" / "mc_dropout.py", "--output", "plot.png"]
    run = subprocess.run(script, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^(\S.*?) +([\d.]+)% +([\d.]+)$", run.stdout, re.M)
    table = {name: (float(accuracy), float(std)) for name, accuracy, std in rows}
    certain, uncertain = table["most certain half"], table["least certain half"]
    assert certain[0] > uncertain[0] and certain[1] < uncertain[1]
    assert table["all"][0] > 95
    for angle in (30, 60, 90, 120, 150, 180):
        accuracy, std = table[f"turned by {angle} degrees"]
        assert accuracy < 60 and std > table["all"][1]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert run.stdout.rstrip().endswith("Plot: plot.png")
