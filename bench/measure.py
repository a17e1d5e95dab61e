"""Runs a command and writes its wall time and peak memory, `SECONDS MEGABYTES`, to a file: measure.py FILE COMMAND..."""

import resource
import subprocess
import sys
import time

start = time.perf_counter()
status = subprocess.call(sys.argv[2:])
seconds = time.perf_counter() - start
with open(sys.argv[1], "w", encoding="ascii") as out:
    # Kilobytes on Linux.
    print(f"{seconds:.3f} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f}", file=out)
sys.exit(status)
