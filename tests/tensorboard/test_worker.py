"""Jobs in a thread: in order, none lost, and none that stops the training."""

import gc
import threading
import time
from pathlib import Path

import pytest
from helpers.processes import in_process

from kerasreg.tensorboard import worker as module
from kerasreg.tensorboard.worker import LIMIT, Worker


def test_in_order_and_not_in_this_thread():
    done = []
    worker = Worker()
    for number in range(200):
        worker.put(lambda number=number: done.append((number, threading.current_thread())))
    worker.flush()
    assert [number for number, _ in done] == list(range(200))
    assert {thread for _, thread in done} != {threading.current_thread()}
    worker.close()


def test_the_queue_is_bounded():
    gate, done = threading.Event(), []
    worker = Worker()
    worker.put(gate.wait)

    def fill():
        for number in range(2 * LIMIT):
            worker.put(lambda number=number: done.append(number))

    filler = threading.Thread(target=fill)
    filler.start()
    time.sleep(0.2)
    assert filler.is_alive() and not done  # It waits, and forgets nothing.
    gate.set()
    filler.join(10)
    worker.close()
    assert done == list(range(2 * LIMIT))


@pytest.mark.parametrize("end", ["close", "forget"])
def test_what_waits_is_done_at_the_end(end):
    done = []
    worker = Worker()
    worker.put(lambda: time.sleep(0.2))
    for number in range(10):
        worker.put(lambda number=number: done.append(number))
    if end == "close":
        worker.close()
        worker.close()
        worker.put(lambda: done.append("late"))
        worker.flush()
    else:
        del worker
        gc.collect()
    assert done == list(range(10))
    assert not [t for t in threading.enumerate() if t.name == "kerasreg" and t.is_alive()]


def test_a_failure_is_reported_once_and_ends_the_work():
    done = []
    worker = Worker()
    worker.put(lambda: 1 / 0)
    worker.put(lambda: done.append(1))
    with pytest.raises(ZeroDivisionError):
        worker.flush()
    worker.check()
    worker.close()
    assert not done


def alone(code):
    """Runs code with the module by itself, without Keras: there is nothing else to wait for."""
    return in_process(code, PYTHONPATH=str(Path(module.__file__).parent))


AT_THE_END = """
    import os, sys, time
    from worker import Worker
    worker = Worker()
    worker.put(lambda: time.sleep(0.3))
    worker.put(lambda: print("written", flush=True))
    {end}
"""


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "end", ["pass", "sys.exit(0)", "worker = None", "os.fork() or sys.exit(0)"]
)
def test_the_end_of_the_process(end):
    assert alone(AT_THE_END.replace("{end}", end)).count("written") == 1


FORKED = """
    import os, sys
    from worker import LIMIT, Worker
    worker = Worker()
    if os.fork() == 0:
        for _ in range(2 * LIMIT):
            worker.put(print)
        worker.flush()
        worker.close()
        print("went on", flush=True)
        os._exit(0)
    os.wait()
    worker.put(lambda: print("wrote", flush=True))
"""


def test_a_forked_process_neither_writes_nor_waits():
    assert sorted(alone(FORKED).split("\n")) == ["", "went on", "wrote"]
