"""Writes the fragments of the tests at every size of their golden file and checks them independently.

    pip install onnx onnxruntime numpy
    python tools/check_fragments.py

A test of blocklens-core writes the files into a temporary folder; tools/check_onnx.py then has onnx check
them, infer their shapes, and onnxruntime run them. The files at the probe sizes keep the weights of the
fragment that they come from, and must compute the same numbers; where that computes in 16 bits, as far as these go.
The exit status is not 0 when something fails.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FRAGMENTS = ROOT / "crates" / "core" / "tests" / "golden" / "fragments"


TOLERANCES = {"tensor(float)": 1e-5, "tensor(float16)": 1e-2}


def largest_difference(path):
    """Between a file at probe sizes and the fragment that it comes from, relative to the largest output; and what
    the fragment's precision allows."""
    import numpy
    import onnxruntime

    original = FRAGMENTS / path.name.replace("-own.onnx", ".onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    sessions = [
        onnxruntime.InferenceSession(str(p), options, ["CPUExecutionProvider"]) for p in (path, original)
    ]
    shape = sessions[0].get_inputs()[0].shape
    kind = sessions[1].get_inputs()[0].type
    image = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
    images = image, image.astype("f2" if kind == "tensor(float16)" else "f4")
    ours, theirs = (s.run(None, {s.get_inputs()[0].name: x})[0].astype("f4") for s, x in zip(sessions, images))
    # A block may give nothing but zeros.
    return numpy.abs(ours - theirs).max() / max(numpy.abs(theirs).max(), 1e-30), TOLERANCES[kind]


def main():
    with tempfile.TemporaryDirectory() as folder:
        written = subprocess.run(
            ["cargo", "test", "-q", "--release", "--test", "suite", "fragments::files_are_written"],
            cwd=ROOT, env={**os.environ, "BLOCKLENS_FRAGMENTS": folder}, stdout=subprocess.DEVNULL,
        )
        if written.returncode:
            return written.returncode
        files = sorted(pathlib.Path(folder).glob("*.onnx"))
        if not files:
            print("no file was written", file=sys.stderr)
            return 1
        check = [sys.executable, ROOT / "tools" / "check_onnx.py", "--run", *files]
        checked = subprocess.run(check).returncode
        for path in (p for p in files if p.name.endswith("-own.onnx")):
            difference, tolerance = largest_difference(path)
            print(f"{path.name}: differs from the fragment by at most {difference:.1e}", flush=True)
            if not difference < tolerance:
                checked = checked or 1
        return checked


if __name__ == "__main__":
    sys.exit(main())
