"""Checks ONNX files, independently of the program that wrote them.

    pip install onnx
    python tools/check_onnx.py network.onnx ...
    pip install onnx onnxruntime numpy
    python tools/check_onnx.py --run network.onnx ...

A file is good when onnx's checker accepts it, strict shape inference finds one fixed shape for
every tensor, and the outputs have the declared shapes. With --run, onnxruntime must also load it
and turn a random image into finite numbers. One line per file; the exit status is 1 when a file is
bad, 2 when the arguments are wrong or a package is missing.
"""

import argparse
import pathlib
import sys


class Bad(Exception):
    """A file that breaks a rule of this script."""


def fixed_shape(value):
    """The shape of a tensor, or None where a dimension is not a number."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    dims = tensor.shape.dim
    if not all(d.HasField("dim_value") and d.dim_value > 0 for d in dims):
        return None
    return [d.dim_value for d in dims]


def infer(model):
    """Strict shape inference; onnx has none for `GroupNormalization`, whose output has the shape of its input."""
    import onnx

    known = {}
    while True:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        values = [*inferred.graph.input, *inferred.graph.value_info]
        known |= {value.name: value for value in values if fixed_shape(value)}
        outputs = {value.name for value in model.graph.output}
        missing = [
            node for node in model.graph.node
            if node.op_type == "GroupNormalization" and node.input[0] in known
            and node.output[0] not in known and node.output[0] not in outputs
        ]
        if not missing:
            return inferred
        for node in missing:
            value = model.graph.value_info.add()
            value.CopyFrom(known[node.input[0]])
            value.name = node.output[0]
            known[value.name] = value


def written(values):
    return ", ".join(f"{v.name} {'x'.join(map(str, fixed_shape(v)))}" for v in values)


def check(path, run):
    """What there is to say about a good file; raises on a bad one."""
    import onnx

    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    inferred = infer(model)
    graph = inferred.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    known = {v.name: fixed_shape(v) for v in [*inputs, *graph.value_info, *graph.output]}
    for node in graph.node:
        for name in filter(None, node.output):
            if known.get(name) is None:
                raise Bad(f"{node.op_type} `{node.name}`: no fixed shape for `{name}`")
    for value in [*inputs, *graph.output]:
        if fixed_shape(value) is None:
            raise Bad(f"`{value.name}` has no fixed shape")
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
    facts = [
        f"ir {model.ir_version}",
        f"opset {opsets}",
        f"{len(graph.node)} nodes",
        f"{written(inputs)} -> {written(graph.output)}",
        f"{path.stat().st_size} bytes",
    ]
    if run:
        facts.append(execute(path, graph))
    return "; ".join(facts)


def execute(path, graph):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    rng = numpy.random.default_rng(0)
    feed = {i.name: rng.random(i.shape, dtype=numpy.float32) for i in session.get_inputs()}
    for declared, value in zip(graph.output, session.run(None, feed), strict=True):
        if list(value.shape) != fixed_shape(declared):
            raise Bad(f"onnxruntime gives `{declared.name}` the shape {list(value.shape)}")
        if not numpy.isfinite(value).all():
            raise Bad(f"onnxruntime gives `{declared.name}` numbers that are not finite")
    return "runs"


def main():
    parser = argparse.ArgumentParser(description="Checks ONNX files.")
    parser.add_argument("--run", action="store_true", help="also run each file with onnxruntime")
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE.onnx")
    args = parser.parse_args()
    try:
        __import__("onnx")
        if args.run:
            __import__("onnxruntime")
    except ImportError as missing:
        print(f"{missing}; needed: pip install onnx onnxruntime numpy", file=sys.stderr)
        return 2
    bad = 0
    for path in args.files:
        try:
            print(f"ok   {path}: {check(path, args.run)}", flush=True)
        except Exception as error:  # whatever a broken file makes the libraries raise
            bad += 1
            print(f"BAD  {path}: {' '.join(str(error).split())}", flush=True)
    if bad:
        print(f"{bad} of {len(args.files)} files are bad", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
