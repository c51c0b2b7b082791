"""No core, of this process nor of those that it forks."""

import subprocess
import sys

ASK = """
import ctypes, os, resource
from relay import dumps
print(ctypes.CDLL(None).prctl(3), flush=True)
dumps.forbid()
def tell():
    print(ctypes.CDLL(None).prctl(3), *resource.getrlimit(resource.RLIMIT_CORE), flush=True)
tell()
if os.fork():
    os.wait()
else:
    tell()
"""


def test_no_process_is_dumpable():
    told = subprocess.run([sys.executable, "-c", ASK], check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout.splitlines() == ["1", "0 0 0", "0 0 0"]
