"""A sample must not start a garbage collection: before Python 3.12 the process could stand still for ever."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY

PROGRAM = """
import gc, threading
from mfu_profiler.capture.profile.stack_sampler import StackSampler

class Cycle:
    def __init__(self):
        self.own, self.local = self, threading.local()
        self.local.value = 1

wake, is_there = threading.Lock(), threading.Lock()

def wait(depth):
    if depth:
        return wait(depth - 1)
    is_there.release()
    wake.acquire()
    wake.release()

sampler = StackSampler(threading.get_ident())
gc.disable()
for spare in range(60):  # one of them makes the collection due just when the first frame becomes an object
    wake.acquire(), is_there.acquire()
    thread = threading.Thread(target=wait, args=(5,))
    thread.start()
    is_there.acquire(), is_there.release()
    gc.collect()
    Cycle()
    kept = [[] for _ in range(spare)]
    gc.set_threshold(40, 1, 1)
    gc.enable()
    sampler._sample()
    assert gc.isenabled()
    gc.disable()
    wake.release()
    thread.join()
sampler._sample()
print(sampler.sample_count, gc.isenabled())
"""
LONGEST_S = 60


def test_no_collection_in_a_sample_frees_what_needs_the_lock_that_it_holds() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, cwd=REPOSITORY)
    assert done.stdout.split() == ["61", "False"], done.stderr
