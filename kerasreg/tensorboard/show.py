"""How to look at a log: the command and link that are printed, and `show`, which opens it."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import webbrowser
from types import TracebackType
from urllib.parse import urlsplit

from kerasreg._checks import check_folder, check_integer, invalid_value

# The tab CUSTOM SCALARS. TensorBoard smooths charts unless it is told not to, its older tabs by
# a parameter of their own, which hides when zeros come and go.
FIRST_TAB = "/?smoothing=0#custom_scalars&_smoothingWeight=0"

# Where TensorFlow is installed TensorBoard imports it, which takes some seconds.
TIMEOUT = 60.0


def invitation(log_dir: str) -> str:
    """Four lines to print: how to start TensorBoard, a link, and the tabs to look at first."""
    return (
        f"kerasreg logs to {log_dir}. To look at it:\n"
        f"    tensorboard --logdir {shlex.quote(_folder_of_runs(log_dir))}\n"
        f"    http://localhost:6006{FIRST_TAB}\n"
        "Begin with the tabs CUSTOM SCALARS and SPARSITY."
    )


def _folder_of_runs(log_dir: str) -> str:
    """The folder around a run, which shows the runs beside it too, unless it is all of a place.

    TensorBoard looks through all that is below: not through a project or the user's own folder.
    """
    parent = os.path.dirname(log_dir.rstrip("/"))
    if parent in ("", "/") or ("://" in log_dir and "://" not in parent):
        return log_dir
    places = (os.getcwd(), os.path.expanduser("~"))
    return log_dir if any(f"{place}/".startswith(f"{parent}/") for place in places) else parent


class Server:
    """A TensorBoard server, in a process that ends with this one if it is not closed before.

    Args:
        log_dir: Folder of one run or of several.
        port: Port to serve at; 0 for one that is free.

    Attributes:
        log_dir: The folder, with its full path.
        url: Its address, as `http://localhost:6006`.
    """

    def __init__(self, log_dir: str, port: int) -> None:
        self.log_dir = log_dir
        command = [sys.executable, "-m", "kerasreg_tensorboard.serve", "--logdir", log_dir]
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                [*command, "--port", str(port), "--host", "localhost"],
                stdin=subprocess.PIPE,  # at whose end it ends
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            try:
                self.url = self._await_address()
            except BaseException:
                self.close()
                raise
            if not self.url:
                self.close()
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
                said = said or f"It did not answer within {TIMEOUT:g} s."
                raise RuntimeError(f"TensorBoard cannot serve {log_dir!r} at port {port}:\n{said}")
        atexit.register(self.close)

    def _await_address(self) -> str:
        """The first line of what the process prints; empty where it ends or takes too long."""
        assert self._process.stdout is not None
        timer = threading.Timer(TIMEOUT, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        return line.decode().strip().rstrip("/")

    @property
    def is_running(self) -> bool:
        """Whether the server is there: neither closed nor ended by somebody else."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the server, and waits until it has ended. A second call does nothing."""
        atexit.unregister(self.close)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TensorBoard of {self.log_dir!r} at {self.url}>"


_servers: dict[tuple[str, int], Server] = {}


def show(log_dir: str | os.PathLike[str], port: int = 0) -> Server:
    """Starts TensorBoard on a log, prints its address and opens it in the browser or notebook.

    A notebook shows it below the cell. The first tab is CUSTOM SCALARS, with the charts of
    `kerasreg.RegularizationLogger`; the tab SPARSITY shows weight by weight. It can be opened
    before the training that it is to show: "Reload data" in its settings keeps it up to date.

    The server is a process of its own. It ends with `close()`, at the end of a `with`, or when
    Python ends, however that ends; in a script `input()` after it keeps it there. Calling it again
    with the same arguments shows the server that is there.

    Args:
        log_dir: Folder of one run, or around several, which are compared then; it may be an
            address that TensorBoard can read, as `gs://bucket/runs`.
        port: Port to serve at, 0 to 65535; 0 for one that is free.

    Returns:
        The server, with its address in `url` and the method `close()`.

    Raises:
        ValueError: If an argument is invalid.
        RuntimeError: If TensorBoard cannot be started, with what it says, as that the port is in
            use.

    Example:
    >>> with kerasreg.show("tensorboard_logs") as server:
    ...     print(server.url)
    TensorBoard of ...tensorboard_logs: http://localhost:...
    http://localhost:...
    """
    folder = check_folder("log_dir", log_dir)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise invalid_value("log_dir", "a folder", log_dir)
    expected = "an integer between 0 and 65535"
    if check_integer("port", port, expected, 0) > 65535:
        raise invalid_value("port", expected, port)
    server = _servers.get((folder, port))
    if server is None or not server.is_running:
        server = _servers[folder, port] = Server(folder, int(port))
    print(f"TensorBoard of {folder}: {server.url}{FIRST_TAB}", flush=True)
    _open(server.url)
    return server


def _open(url: str) -> None:
    """Shows the address in the notebook, else in a browser where there is one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is not None:
        _open_in_notebook(url)
    elif _has_browser():
        with contextlib.suppress(OSError, webbrowser.Error):
            webbrowser.open(f"{url}{FIRST_TAB}")


def _has_browser() -> bool:
    """Whether a browser can be opened in a window: those in a terminal would take its place."""
    where = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in where)


def _open_in_notebook(url: str) -> None:
    """Shows the address below the cell, through the proxy where the notebook is elsewhere."""
    if "google.colab" in sys.modules or "TENSORBOARD_PROXY_URL" in os.environ:
        from tensorboard import notebook

        notebook.display(port=urlsplit(url).port)
    else:
        from IPython.display import IFrame, display

        display(IFrame(f"{url}{FIRST_TAB}", width="100%", height=800))
