"""TensorBoard as a process that ends with the one that has started it.

    python -m kerasreg_tensorboard.serve --logdir logs --port 0

takes TensorBoard's own arguments, prints the address and serves until its standard input ends: so
it does when the other process has ended in whatever way, killed or not.
"""

from __future__ import annotations

import mimetypes
import signal
import sys

from tensorboard import program


def main() -> None:
    """Serves; a port in use and other errors of TensorBoard's are one line on standard error."""
    # Interrupting a notebook or a Python prompt reaches all processes of the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mimetypes.add_type("text/javascript", ".js")  # which Windows may call plain text
    board = program.TensorBoard()
    board.configure(argv=["tensorboard", *sys.argv[1:]])
    try:
        print(board.launch(), flush=True)
    except program.TensorBoardServerException as error:
        sys.exit(error.msg)
    sys.stdin.read()


if __name__ == "__main__":
    main()
