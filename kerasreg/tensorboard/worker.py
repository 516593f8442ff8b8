"""A thread that writes while the training goes on."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import TypeAlias

Job: TypeAlias = Callable[[], None]

# So many jobs may wait for a slow disk; with more of them training waits, too.
LIMIT = 64


class Worker:
    """Does jobs in a thread of its own, one after the other, in the order they came.

    Nothing is lost: jobs that wait are done when the worker is closed or forgotten, as after an
    exception, and when the process ends.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(LIMIT)
        self._failures: list[Exception] = []
        # The thread refers to the queue alone: a reference to the worker would keep that for ever.
        # As a daemon it does not keep the process either, at whose end `finalize` waits for it.
        thread = threading.Thread(
            target=_work, args=(self._jobs, self._failures), name="kerasreg", daemon=True
        )
        thread.start()
        self._process = os.getpid()
        self.close = weakref.finalize(self, _close, self._jobs, thread, self._process)

    def put(self, job: Job) -> None:
        """Adds a job; waits while too many others do."""
        if self._has_thread:
            self._jobs.put(job)

    def flush(self, timeout: float | None = None) -> None:
        """Waits, `timeout` seconds at most, until all jobs are done; raises what one has raised."""
        if self._has_thread:
            with self._jobs.all_tasks_done:
                self._jobs.all_tasks_done.wait_for(lambda: not self._jobs.unfinished_tasks, timeout)
        self.check()

    @property
    def _has_thread(self) -> bool:
        # A forked process has the queue without the thread.
        return self.close.alive and os.getpid() == self._process

    def check(self) -> None:
        """Raises what a job has raised; the jobs after it are skipped."""
        if self._failures:
            raise self._failures.pop()


def _work(jobs: queue.Queue[Job | None], failures: list[Exception]) -> None:
    failed = False
    while (job := jobs.get()) is not None:
        try:
            if not failed:
                job()
        except Exception as error:
            failed = True
            failures.append(error)
        finally:
            jobs.task_done()
            job = None  # Keeps nothing alive while this thread waits.


def _close(jobs: queue.Queue[Job | None], thread: threading.Thread, process: int) -> None:
    if os.getpid() == process:  # A forked process has the queue without the thread.
        jobs.put(None)
        if thread is not threading.current_thread():  # It may have held the last reference.
            thread.join()
