"""Code that needs a process of its own, for a limit or a device list that is set at the start."""

import os
import subprocess
import sys
import textwrap


def in_process(code, *args, **environment):
    """Runs code with the tests' modules at hand and returns what it printed."""
    path = [os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **environment}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout
