"""The program under test and a folder for its files: what the tests that run it from outside share.

Exits with 77, which says skipped, where h5py or numpy is missing.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py  # noqa: F401
    import numpy  # noqa: F401
except ImportError as error:
    print(f"{os.path.basename(sys.argv[0])}: skipped: {error}", file=sys.stderr)
    sys.exit(77)

VOXPOP = os.path.abspath(sys.argv.pop(1))
scratch = tempfile.mkdtemp(prefix="voxpop-test-")
atexit.register(shutil.rmtree, scratch)


if "VOXPOP_KERNELS" in os.environ:  # as tests are registered once more with each set of kernels
    told = subprocess.run([VOXPOP, "devices"], capture_output=True, text=True)
    if "this processor cannot run" in told.stderr:
        print(f"{os.path.basename(sys.argv[0])}: skipped: {told.stderr.strip()}", file=sys.stderr)
        sys.exit(77)


def path(name):
    return os.path.join(scratch, name)


def voxpop(*arguments, status=0):
    """Runs it; anything but that exit status is a failure of the test."""
    done = subprocess.run([VOXPOP, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if done.returncode != status:
        raise AssertionError(f"exit {done.returncode}, not {status}: {arguments}\n{done.stdout}{done.stderr}")
    return done


# scripts/coverage.sh's program opens a file of counters in each process: not as another user, and its calls count, too.
without_counters = unittest.skipIf("VOXPOP_COVERAGE" in os.environ, "the program counts which lines it reaches")
main = unittest.main
