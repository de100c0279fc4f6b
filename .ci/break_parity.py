"""Break what imitates the 2020 packages, one line at a time: the tests against the real packages must notice each.

    python .ci/break_parity.py

Works on a copy. Exit code 1 where the unbroken code fails, or a broken one passes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_EFFICIENTNET = "tests/models/test_efficientnet_weights.py"
_TFA = "tests/compat/test_tfa.py"

# File in the package, what stands there once, what is put in its place.
_BREAKS = {
    _EFFICIENTNET: [
        ("models/backbones.py", 'STANDARDISED,\n        "stem_conv_pad"', 'ZERO_TO_ONE,\n        "stem_conv_pad"'),
        ("models/efficientnet_weights.py", "[0.485, 0.456, 0.406]", "[0.5, 0.5, 0.5]"),
        ("models/efficientnet_weights.py", "deviation**2", "deviation"),
        ("models/efficientnet_weights.py", "    _set_normalisation(application)\n    with", "    with"),
        ("models/efficientnet_weights.py", "layer.set_weights(layers[name])", "layer.set_weights(layer.get_weights())"),
    ],
    _TFA: [
        ("optimizers/weight_decay.py", "variable * share", "variable * share * learning_rate"),
        ("optimizers/weight_decay.py", "float(momentum), nesterov", "float(momentum), False"),
        ("optimizers/weight_decay.py", "not matches(variable, self.excluded_patterns)", "True"),
        ("optimizers/lamb.py", "change = change + self.step_decay * variable", "pass"),
        ("optimizers/lamb.py", "or ()) or self.undecayed", "or ()) or None"),
        ("optimizers/lookahead.py", "ops.equal((step + 1) % self", "ops.equal(step % self"),
        ("optimizers/lookahead.py", "ops.where(meet, between, variable)", "variable"),
        ("optimizers/moving_average.py", "ops.where(since < 0, 0.0, decay)", "ops.where(since < 1, 0.0, decay)"),
        ("optimizers/moving_average.py", "ops.minimum(decay, (1.0 + since)", "ops.maximum(decay, (1.0 + since)"),
        ("optimizers/rectified_adam.py", "(safe - 4.0) / (longest - 4.0)", "(safe - 3.0) / (longest - 3.0)"),
        ("optimizers/rectified_adam.py", "length >= self.sma_threshold", "length >= 0.0"),
        ("optimizers/rectified_adam.py", "ops.where(step <= rise", "ops.where(step <= 0"),
        ("optimizers/cyclical.py", "1.0 + step / (2.0 * self.step_size)", "step / (2.0 * self.step_size)"),
        ("optimizers/cyclical.py", "ops.power(2.0, x - 1.0)", "ops.power(2.0, x)"),
        ("optimizers/cyclical.py", "return ops.power(gamma, x)", "return ops.power(gamma, x + 1)"),
        ("optimizers/arguments.py", "Decay(float(rate), 1, decay)", "Decay(float(rate), 2, decay)"),
        ("losses.py", "return mean * y_pred.shape[-1]", "return mean"),
        ("losses.py", "apply_class_balancing=bool(alpha)", "apply_class_balancing=False"),
        ("metrics.py", "average=average, threshold=threshold", "average=None, threshold=threshold"),
        ("metrics.py", '"quadratic": distance**2', '"quadratic": distance'),
        ("metrics.py", "found > 0.5", "found >= 0.5"),
        ("image.py", "ops.cos(angles), ops.sin(angles)", "ops.cos(angles), -ops.sin(angles)"),
        ("image.py", "batch, transforms, interpolation, fill_mode", 'batch, transforms, "bilinear", fill_mode'),
        ("image.py", "(places < centres[:, None] + half)", "(places <= centres[:, None] + half)"),
        ("activations.py", "gelu(x, approximate=approximate)", "gelu(x, approximate=False)"),
        ("activations.py", "keras.activations.mish(x)", "keras.activations.silu(x)"),
        ("layers.py", "gelu(inputs, self.approximate)", "gelu(inputs, not self.approximate)"),
    ],
}  # fmt: skip


def passes(copy, tests):
    """Whether the tests of a file pass on the copy of the package; anything but pass and fail is an error."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", tests]
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{tests} could not be run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.returncode == 0


def main():
    """Run the tests unbroken and with each line broken."""
    started, noticed, wrong = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("melanomafusion", "tests", "setup.cfg"):
            take = shutil.copytree if (_ROOT / name).is_dir() else shutil.copy
            take(_ROOT / name, copy / name)
        for tests, breaks in _BREAKS.items():
            if not passes(copy, tests):
                raise SystemExit(f"{tests} fails on the unbroken package.")
            for name, right, broken in breaks:
                path = copy / "melanomafusion" / (name if tests is _EFFICIENTNET else f"compat/tfa/{name}")
                text = path.read_text(encoding="utf-8")
                if text.count(right) != 1:
                    raise SystemExit(f"{path}: {right!r} stands there {text.count(right)} times. Expected: once.")
                path.write_text(text.replace(right, broken), encoding="utf-8")
                missed = passes(copy, tests)
                path.write_text(text, encoding="utf-8")
                noticed += not missed
                wrong += [name] if missed else []
                print(
                    f"{'MISSED ' if missed else 'noticed'} {name}: {right.strip()!r} → {broken.strip()!r}", flush=True
                )
    print(f"{noticed} of {noticed + len(wrong)} noticed, {(time.monotonic() - started) / 60:.1f} minutes")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
