"""`import melanomafusion` in at most 0.3 s; what it may not load is a test."""

import subprocess
import sys

CODE = "import time; t = time.perf_counter(); import melanomafusion; print(time.perf_counter() - t)"
times = [
    float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
    for _ in range(5)
]
print(f"import melanomafusion: {min(times):.3f} s, best of 5")
sys.exit(min(times) > 0.3)
