"""The examples, as a user runs them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from helpers.backends import BACKEND
from helpers.event_files import read
from helpers.scripts import copy_of

from kerasreg.tensorboard.show import invitation

pytestmark = pytest.mark.first
ROOT = Path(__file__).parent.parent


def finished(script, *args, **options):
    command = [sys.executable, script, *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done


def run(script, *args, **options):
    return finished(script, *args, **options).stdout


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough for the example")
def test_quickstart(tmp_path):
    done = finished(copy_of("quickstart.py", tmp_path))  # as it is: the README has its table
    printed, logs = done.stdout, tmp_path / "tensorboard_logs" / "quickstart"
    assert "Warning" not in done.stderr
    assert not re.search("[\x1b\b\r]", printed), "readable in a file, too"
    rows = re.findall(
        r"^(\S.*?) +([\d.]+)% +([\d.]+)% +([\d.]+)% +([\d,]+) +[\d.]+$", printed, re.M
    )
    table = {
        name: (*map(float, shares), int(parameters.replace(",", "")))
        for name, *shares, parameters in rows
    }
    in_loss = ["none", "L2", "ElasticNet", "Dropout", "L1"]
    exact = ["GroupLasso, Proximal", "L1, Proximal", "L1, then KeepZeros"]
    assert list(table) == in_loss + exact
    everything = table["none"][3]
    for name, (train, test, zeros, left) in table.items():
        assert len(read(logs / name)["all/sparsity"]) == (10 if name == exact[-1] else 25)
        assert name == "none" or test > table["none"][1] + 3 and train < table["none"][0]
        assert (zeros > 60 and left < 0.8 * everything) == (name in exact)
        assert name in exact or (zeros, left) == (0, everything)
    selected, debiased = table["L1, Proximal"], table["L1, then KeepZeros"]
    assert debiased[2:] == selected[2:] and debiased[1] > selected[1]
    (difference,) = re.findall(r"\(largest difference of an output (\S+)\)", printed)
    assert float(difference) < 1e-4
    small = keras.saving.load_model(logs / "small.keras")
    assert f"{everything:,} → {small.count_params():,} parameters" in printed
    assert small.count_params() == debiased[3]
    *_, command, link = printed.splitlines()
    assert shlex.split(command) == ["tensorboard", "--logdir", str(logs)]
    assert link == invitation(str(logs)).splitlines()[2]


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough for the example")
def test_sweep(tmp_path):
    printed = run(copy_of("sweep.py", tmp_path, EPOCHS=8, STRENGTHS=("3e-4", "3e-3")))
    rows = re.findall(r"^ +(\w+) +(\S+) +([\d.]+)% +([\d.]+)% .*$", printed, re.M)
    assert len(rows) == 6
    for penalty in ("L1", "ElasticNet", "GroupLasso"):
        zeros = [float(zero) for name, _, _, zero in rows if name == penalty]
        assert len(zeros) == 2 and 0 < zeros[0] < zeros[1]
    for name, strength, accuracy, zero in rows:
        assert float(accuracy) > 80
        log = read(tmp_path / "tensorboard_logs" / "sweep" / f"{name} {strength}")
        assert f"{log['all/sparsity'][-1][1]:.1%}" == f"{zero}%"
        assert "_hparams_/session_end_info" in log
    assert "tensorboard --logdir" in printed


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="one backend is enough for the example")
def test_prune_and_rewind(tmp_path):
    printed = run(copy_of("prune_and_rewind.py", tmp_path, EPOCHS=8))
    rows = re.findall(r"^(\S.*?|  and fine-tuned) +([\d.]+)% +([\d.]+)%$", printed, re.M)
    names, zeros, accuracies = zip(*((n, float(z), float(a)) for n, z, a in rows), strict=True)
    assert names == (
        "trained",
        *("pruned", "  and fine-tuned") * 3,
        "rewound",
        "the same zeros, other weights",
    )
    assert zeros == (0.0, 50.0, 50.0, 80.0, 80.0, 90.0, 90.0, 90.0, 90.0)
    assert accuracies[0] > 90 and accuracies[6] > accuracies[5], "fine-tuning gives back"


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="1,500 steps one by one take a while")
def test_lasso_diabetes():
    printed = run(ROOT / "examples" / "lasso_diabetes.py")
    assert "The same features are exactly zero: True" in printed
    difference = re.search(r"Largest difference: (\S+)", printed)
    assert difference and float(difference[1]) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="1300 passes one by one take a while")
def test_mc_dropout(tmp_path):
    printed = run(ROOT / "examples" / "mc_dropout.py", "--output", "plot.png", cwd=tmp_path)
    rows = re.findall(r"^(\S.*?) +([\d.]+)% +([\d.]+)$", printed, re.M)
    table = {name: (float(accuracy), float(std)) for name, accuracy, std in rows}
    certain, uncertain = table["most certain half"], table["least certain half"]
    assert certain[0] > uncertain[0] and certain[1] < uncertain[1]
    assert table["all"][0] > 95
    for angle in (30, 60, 90, 120, 150, 180):
        accuracy, std = table[f"turned by {angle} degrees"]
        assert accuracy < 60 and std > table["all"][1]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert printed.rstrip().endswith("Plot: plot.png")


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="300 short trainings take minutes on the others")
def test_choose_strength(tmp_path):
    script = copy_of("choose_strength.py", tmp_path, FOLDS=3, STRENGTHS=[1e-3, 2e-3, 5e-3])
    printed = run(script, "--output", "plots", cwd=tmp_path)
    difference = re.search(r"Largest difference, .*: (\S+)", printed)
    assert difference and float(difference[1]) < 1e-4
    assert "The same coefficients are exactly zero: True" in printed
    assert "order bmi, s5, bp, s3, sex, s6, s1, s4, s2, age, s3 out, s3\n" in printed
    rows = re.findall(r"^(\S.*?) {2,}([\d.]+)(?: +(\d+) +(\d+) ± (\d+))?$", printed, re.M)
    (_, ours, *best), (_, sparser, *simple), (_, theirs, *_) = rows
    assert ours == theirs and float(sparser) > float(ours)
    features, error, deviation = (int(cell) for cell in best)
    assert int(simple[0]) < features and int(simple[1]) <= error + deviation
    rows = re.findall(r"^(\S.*?)(?: {2,}[\d.]+)?((?: +[\d.]+%){3})$", printed, re.M)
    shares = {name: [float(cell.rstrip("%")) for cell in cells.split()] for name, cells in rows}
    assert list(shares) == ["without a penalty", "chosen", "debiased"]
    assert shares["without a penalty"][0] == 0 and shares["chosen"][0] > 50
    assert shares["debiased"][0] == shares["chosen"][0], "what is zero stays zero"
    assert min(min(accuracies) for _, *accuracies in shares.values()) > 93
    assert shares["debiased"][2] > shares["chosen"][2]
    for name in ("path_diabetes", "path_digits"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
