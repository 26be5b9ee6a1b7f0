"""Runs exported networks on ONNX Runtime and LiteRT and compares their logits with the expected ones.

    pip install numpy onnxruntime ai-edge-litert
    cargo run --release -p blocklens-studies --bin export_cases -- DIR
    python tools/check_exports.py DIR

Float networks must be within 1e-4 of the expected logits (those of PyTorch, or of the reference executor), with
LiteRT's XNNPACK delegate and without it. Integer networks must name the same class as float ones for 90 % of the
inputs of all cases of a family, and have int8 weights. Prints one line per family; exit code 1 when one fails.
"""

import collections
import pathlib
import sys

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter, OpResolverType

TOLERANCE = 1e-4
AGREEMENT = 0.9


def numbers(path):
    return np.fromfile(path, dtype=np.float32)


def litert(path, images, plain=False):
    """Logits for images in NCHW order."""
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=resolver, num_threads=1)
    interpreter.allocate_tensors()
    [given], [made] = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == made["dtype"] == np.float32, "input and output are float32"
    rows = []
    for image in images:
        interpreter.set_tensor(given["index"], np.ascontiguousarray(image.transpose(1, 2, 0))[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(made["index"])[0].copy())
    return np.array(rows), interpreter.get_tensor_details()


def main(folder):
    worst = collections.defaultdict(lambda: collections.defaultdict(float))
    same, count, noise = collections.Counter(), collections.Counter(), collections.defaultdict(list)
    cases = collections.Counter()
    for case in sorted(p for p in pathlib.Path(folder).iterdir() if p.is_dir()):
        family = case.name.rsplit("-", 1)[0]
        cases[family] += 1
        session = onnxruntime.InferenceSession(case / "model.onnx", providers=["CPUExecutionProvider"])
        shape = session.get_inputs()[0].shape[1:]
        image, expected = numbers(case / "image.f32").reshape(shape), numbers(case / "logits.f32")
        inputs = numbers(case / "inputs.f32").reshape(-1, *shape)
        outputs = {
            "onnx": session.run(None, {"image": image[None]})[0][0],
            "tflite": litert(case / "model.tflite", [image])[0][0],
            "tflite plain": litert(case / "model.tflite", [image], plain=True)[0][0],
        }
        for name, logits in outputs.items():
            error = float(np.abs(logits - expected).max())
            worst[family][name] = max(worst[family][name], error if np.isfinite(error) else np.inf)
        float_logits, _ = litert(case / "model.tflite", inputs)
        int_logits, details = litert(case / "model_int8.tflite", inputs)
        kinds = {d["dtype"] for d in details if d["name"].endswith(".weight")}
        assert kinds == {np.int8}, f"{case.name}: weights are {kinds}"
        scales = [len(d["quantization_parameters"]["scales"]) for d in details if d["name"].endswith("project.weight")]
        assert all(n > 1 for n in scales), f"{case.name}: weights have one scale"
        same[family] += int((float_logits.argmax(1) == int_logits.argmax(1)).sum())
        count[family] += len(inputs)
        spread = (float_logits - float_logits.mean(1, keepdims=True)).std()
        noise[family].append(float((int_logits - float_logits).std() / spread))
    failed = not cases
    for family, errors in worst.items():
        agreement = same[family] / count[family]
        good = max(errors.values()) <= TOLERANCE and agreement >= AGREEMENT
        failed |= not good
        text = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        print(
            f"{'ok  ' if good else 'FAIL'} {family}: {cases[family]} networks; largest error {text}; "
            f"int8 agrees on {agreement:.1%} of {count[family]} inputs, error {np.median(noise[family]):.3f} of the logits' spread"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
