"""Code that needs a process of its own, for a limit or a device list that is set at the start."""

import os
import subprocess
import sys
import textwrap


def environment(**others):
    """This process's own, in which the tests' modules are found."""
    path = [os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **others}


def in_process(code, *args, **others):
    """Runs code with the tests' modules at hand and returns what it printed."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    run = subprocess.run(
        command, capture_output=True, text=True, env=environment(**others), timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
