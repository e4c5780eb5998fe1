"""Training steps do not give their memory back to the system, which would have to clear it again."""

import ctypes
import subprocess
import sys

import pytest

STEPS = 10
PROGRAM = f"""
import resource
import numpy as np
from stages.engines.scratch_engine import make
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config

classifier = make(make_config(channels=[16, 32]), spawn_generators(0), UNSTANDARDIZED, "float32")
images, labels = np.zeros((64, 28, 28), np.float32), np.zeros(64, np.int64)
for step in range(5 + {STEPS}):
    if step == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    classifier.train_batch(images, labels, 0.001)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_a_step_asks_the_system_for_no_memory() -> None:
    finished = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(finished.stdout) / STEPS < 50  # pages; without the setting some 300
