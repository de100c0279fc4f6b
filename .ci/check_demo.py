"""The demo's promises: metadata help beyond chance, and it ends in minutes."""

import json
import sys
from pathlib import Path

summary = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
gain = summary["fused_minus_image"]
assert gain[1] > 0, f"the paired interval of fused − image only must lie above 0: {gain}"
# Four minutes is the promise; machines differ by more than twice, so only what is far beyond it fails.
assert summary["seconds"] < 600, f"{summary['seconds']} s: far longer than four minutes"
print(f"demo: {summary['seconds']} s, fused − image only {gain[0]:+.3f} ({gain[1]:+.3f} to {gain[2]:+.3f})")
