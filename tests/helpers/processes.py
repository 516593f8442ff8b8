"""Code that needs a process of its own, for a limit or a device list that is set at the start."""

import os
import socket
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


def free_address():
    """An address of this machine on which the processes of a training can meet."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def side_by_side(commands, environments=None, timeout=240):
    """Runs several commands at once and returns what each printed."""
    environments = environments or [environment()] * len(commands)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pairs = zip(commands, environments, strict=True)
    processes = [subprocess.Popen([*map(str, command)], env=env, **pipes) for command, env in pairs]
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:  # One that waits for another, which has failed, waits for long.
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in outputs]
