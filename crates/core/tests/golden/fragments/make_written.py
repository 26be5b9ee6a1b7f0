"""Writes the fragments that exporters write seldom, or only lately, and written.json: what onnx says of them.

    pip install onnx numpy
    python make_written.py

Each block is a function that writes an ONNX graph operator by operator at any sizes. It is written once with probe
sizes, as a user's file, and anew at the sizes of every case: there onnx's reference evaluator runs it, which gives the
shape of the output, onnx's own shape inference gives the shapes inside, from which products are counted, and the
parameters are those that the function said it made. Nothing here reads what blocklens computes.
"""

import json
import pathlib
import string

import numpy
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper, reference, shape_inference

HERE = pathlib.Path(__file__).parent
KEEPING = [(16, 16, 12, 12, 1), (24, 24, 9, 11, 1), (8, 8, 16, 16, 1)]
CHANGING = [(16, 24, 12, 12, 1), (24, 24, 9, 11, 1), (8, 40, 10, 10, 1)]
STRIDED = [*CHANGING, (16, 24, 12, 12, 2), (8, 40, 11, 9, 2)]
KEEPING_STRIDED = [*KEEPING, (16, 16, 12, 12, 2), (8, 8, 11, 9, 2)]


class Writer:
    """A graph as far as it is written. Weights are initialisers, or `Constant` operators where `constants` is set."""

    def __init__(self, image, opset, kind=TensorProto.FLOAT, constants=False):
        self.image, self.opset, self.kind, self.constants = image, opset, kind, constants
        self.nodes, self.initializers, self.functions, self.parameters = [], [], [], 0
        self.random = numpy.random.default_rng(sum(image))

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [f"t{len(self.nodes)}" + ("" if i == 0 else f"_{i}") for i in range(outputs)]
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def tensor(self, values, kind=None, constant=False):
        values = numpy.asarray(values)
        kind = kind or (TensorProto.INT64 if values.dtype.kind == "i" else self.kind)
        name = f"w{len(self.initializers) + len(self.nodes)}"
        tensor = helper.make_tensor(name, kind, values.shape, values.ravel())
        if kind in (TensorProto.FLOAT, TensorProto.INT64):
            tensor = numpy_helper.from_array(values.astype("f4" if kind == TensorProto.FLOAT else "i8"), name)
        if not constant:
            self.initializers.append(tensor)
            return name
        return self.op("Constant", value=tensor)

    def weight(self, *shape, kind=None):
        """A parameter."""
        self.parameters += int(numpy.prod(shape))
        return self.tensor(self.random.uniform(-0.5, 0.5, shape), kind, self.constants)

    def ints(self, *values):
        return self.tensor(numpy.array(values, "i8"))

    def conv(self, x, outputs, inputs, kernel=1, stride=1, group=1, bias=False, weight=None):
        weight = weight or self.weight(outputs, inputs // group, kernel, kernel)
        return self.op(
            "Conv", x, weight, *([self.weight(outputs)] if bias else []), kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4, strides=[stride] * 2, group=group,
        )

    def model(self, output, shape):
        kind = self.kind
        graph = helper.make_graph(
            self.nodes, "block", [helper.make_tensor_value_info("x", kind, [1, *self.image])],
            [helper.make_tensor_value_info(output, kind, shape)], self.initializers,
        )
        sets = [helper.make_opsetid("", self.opset)]
        sets += [helper.make_opsetid(f.domain, 1) for f in self.functions[:1]]
        model = helper.make_model(graph, opset_imports=sets, functions=self.functions)
        model.ir_version = 10
        if not (self.opset < 21 and "GroupNormalization" in {node.op_type for node in self.nodes}):
            onnx.checker.check_model(model)  # it refuses what is deprecated; files that have it are in use
        return model


def shuffle_unit(w, i, o, s):
    """ShuffleNetV2's unit of stride 1: split, one branch, channel shuffle. The channels stay by construction."""
    _, h, v = w.image
    left, right = w.op("Split", "x", *([w.ints(i // 2, i // 2)] if w.opset >= 13 else []), outputs=2, axis=1,
                       **({"split": [i // 2, i // 2]} if w.opset < 13 else {}))
    y = w.op("Relu", w.conv(right, i // 2, i // 2))
    y = w.conv(y, i // 2, i // 2, 3, group=i // 2)
    y = w.op("Concat", left, w.op("Relu", w.conv(y, i // 2, i // 2)), axis=1)
    y = w.op("Transpose", w.op("Reshape", y, w.ints(1, 2, i // 2, h, v)), perm=[0, 2, 1, 3, 4])
    return w.op("Reshape", y, w.ints(1, i, h, v))


def convnext(w, i, o, s):
    """ConvNeXt with its residual inside, and every weight in a `Constant` operator."""
    y = w.conv("x", i, i, 7, group=i, bias=True)
    y = w.op("LayerNormalization", w.op("Transpose", y, perm=[0, 2, 3, 1]), w.weight(i), w.weight(i), axis=-1)
    y = w.op("Gelu", w.op("Add", w.op("MatMul", y, w.weight(i, 4 * i)), w.weight(4 * i)))
    y = w.op("Add", w.op("MatMul", y, w.weight(4 * i, i)), w.weight(i))
    y = w.op("Transpose", w.op("Mul", y, w.weight(i)), perm=[0, 3, 1, 2])
    return w.op("Add", "x", y)


def attention(w, i, o, s):
    """Attention of two heads over all pixels, its products as `Einsum`, with its residual inside."""
    _, h, v = w.image
    q, k, value = (w.op("Reshape", w.conv("x", i, i), w.ints(1, 2, i // 2, h * v)) for _ in range(3))
    scores = w.op("Mul", w.op("Einsum", q, k, equation="bhdi,bhdj->bhij"), w.tensor(numpy.float32(0.25), constant=True))
    y = w.op("Einsum", w.op("Softmax", scores, axis=-1), value, equation="...ij,...dj->...di")
    y = w.op("Reshape", y, w.ints(1, i, h, v))
    return w.op("Add", "x", w.op("Einsum", y, w.weight(i, i), equation="nchw,cd->ndhw"))


def pool(w, i, o, s):
    """The mean of windows: no weights, no channels."""
    return w.op("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, strides=[s, s], count_include_pad=0)


def zero(w, i, o, s):
    """Every s-th pixel, times zero: the `none` of cell spaces."""
    taken = w.op("Slice", "x", w.ints(0, 0), w.ints(2**62, 2**62), w.ints(2, 3), w.ints(s, s))
    return w.op("Mul", taken, w.tensor(numpy.float32(0.0), constant=True))


def older(w, i, o, s):
    """Lists as attributes, `Softmax` with its old default, `Dropout` with its ratio: operator set 11."""
    y = w.conv("x", o, i, 3, s, bias=True)
    pooled = w.op("ReduceSum", y, axes=[2, 3], keepdims=0)
    gate = w.op("Softmax", w.op("Gemm", pooled, w.weight(o, o), w.weight(o), transB=1))
    gate = w.op("Unsqueeze", w.op("Dropout", gate, ratio=0.3), axes=[2, 3])
    left, right = w.op("Split", w.op("Mul", y, gate), outputs=2, axis=1, split=[o // 2, o // 2])
    y = w.op("Concat", right, w.op("Clip", left, "", w.tensor(numpy.float32(0.2))), axis=1)
    return w.op("Squeeze", w.op("Unsqueeze", y, axes=[0]), axes=[0])


def plain(w, i, o, s):
    """Two convolutions; where their weights are stored is what is tried."""
    return w.conv(w.op("Relu", w.conv("x", o, i, 3, s, bias=True)), o, o)


def brain(w, i, o, s):
    """Weights in bfloat16, cast before they are used, as smaller files have them."""
    weight = w.op("Cast", w.weight(o, i, 3, 3, kind=TensorProto.BFLOAT16), to=TensorProto.FLOAT)
    return w.conv("x", o, i, 3, s, weight=weight)


def constants(w, i, o, s):
    """The weights of Conv, Gemm and MatMul in `Constant` operators, and a scale for each channel, too; the ones and
    zeros that exporters give to a normalisation without weights are no parameters."""
    one, zero = (w.tensor(values(o, "f4"), constant=True) for values in (numpy.ones, numpy.zeros))
    y = w.op("InstanceNormalization", w.conv("x", o, i, 3, s, bias=True), one, zero)
    gate = w.op("Gemm", w.op("Flatten", w.op("GlobalAveragePool", y)), w.weight(o, o), w.weight(o), transB=1)
    gate = w.op("MatMul", gate, w.weight(o, o))
    scale = w.weight(o, 1, 1)
    return w.op("Mul", w.op("Mul", y, scale), w.op("Unsqueeze", w.op("Sigmoid", gate), w.ints(2, 3)))


def norms(w, i, o, s):
    """A convolution, group normalisation, GELU, and from operator set 23 on the normalisation of language models."""
    y = w.conv("x", o, i, 3, s)
    scales = 2 if w.opset < 21 else o
    y = w.op("GroupNormalization", y, w.weight(scales), w.weight(scales), num_groups=2, epsilon=1e-3)
    y = w.op("GroupNormalization", y, w.weight(o), w.weight(o), num_groups=o)
    if w.opset < 23:
        return w.op("Gelu", y, approximate="tanh") if w.opset >= 20 else y
    y = w.op("RMSNormalization", w.op("Transpose", y, perm=[0, 2, 3, 1]), w.weight(o), axis=-1)
    return w.op("Transpose", w.op("Gelu", y), perm=[0, 3, 1, 2])


def functions(w, i, o, s):
    """Functions that call each other, with attributes handed on, as the newer exporter writes them."""
    def function(name, inputs, nodes, attributes=(), defaults=()):
        return helper.make_function(
            "mine", name, inputs, ["y"], nodes, [helper.make_opsetid("", w.opset), helper.make_opsetid("mine", 1)],
            attributes, defaults,
        )

    alpha = helper.make_node("LeakyRelu", ["a"], ["y"], name="leak")
    alpha.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    w.functions = [
        function("leaky", ["a"], [alpha], [], [helper.make_attribute("slope", 0.3)]),
        function("layer", ["a", "b"], [
            helper.make_node("Conv", ["a", "b"], ["c"], name="conv", kernel_shape=[1, 1]),
            helper.make_node("leaky", ["c"], ["d"], domain="mine"),
            helper.make_node("leaky", ["d"], ["y"], domain="mine", slope=0.1),
        ]),
    ]
    y = w.op("layer", w.conv("x", o, i, 3, s), w.weight(o, o, 1, 1), domain="mine")
    return w.op("layer", y, w.weight(o, o, 1, 1), domain="mine")


# name: block, probes (in, out, stride), sizes, image, cases, and how it is written
BLOCKS = {
    "shuffle-kept": (shuffle_unit, (10, 10, None), {5: "in / 2"}, (23, 29), KEEPING, {"opset": 13}),
    "convnext-kept": (convnext, (11, 11, None), {44: "4 * in"}, (9, 13), KEEPING, {"opset": 20, "constants": True}),
    "attention-kept": (attention, (22, 22, None), {11: "in / 2"}, (7, 13), KEEPING, {"opset": 13}),
    "pool-kept": (pool, (11, 11, 2), {}, (9, 13), KEEPING_STRIDED, {"opset": 19}),
    "zero-kept": (zero, (11, 11, 2), {}, (9, 13), KEEPING_STRIDED, {"opset": 13}),
    "shuffle-11": (shuffle_unit, (10, 10, None), {5: "in / 2"}, (23, 29), KEEPING, {"opset": 11}),
    "older": (older, (11, 14, 2), {7: "out / 2"}, (19, 23), STRIDED, {"opset": 11}),
    "constants": (constants, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 17, "constants": True}),
    "external": (plain, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 18}),
    "half": (plain, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 17, "kind": TensorProto.FLOAT16}),
    "brain": (brain, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 17}),
    "norms-18": (norms, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 18}),
    "norms-22": (norms, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 22}),
    "norms-23": (norms, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 23}),
    "functions": (functions, (11, 14, 2), {}, (9, 13), STRIDED, {"opset": 18}),
}


def write(block, channels, outputs, stride, image, options):
    writer = Writer((channels, *image), **options)
    result = block(writer, channels, outputs, stride)
    rows, columns = (-(-side // stride) for side in image)
    return writer, writer.model(result, [1, outputs, rows, columns])


def products(model):
    """Multiply-accumulates of a model of fixed shapes, from onnx's own shape inference."""
    model = shape_inference.infer_shapes(inliner.inline_local_functions(model), data_prop=True)
    graph = model.graph
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for node in graph.node:
        shapes |= {node.output[0]: list(node.attribute[0].t.dims)} if node.op_type == "Constant" else {}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        a, b = ([shapes.get(n) for n in node.input] + [None, None])[:2]
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            out = int(numpy.prod(shapes[node.output[0]]))
            total += out * (int(numpy.prod(b[1:])) if node.op_type == "Conv" else a[-1])
        elif node.op_type == "Einsum":
            equation = next(x.s.decode() for x in node.attribute if x.name == "equation").replace(" ", "")
            extents = {}
            for term, dims in zip(equation.split("->")[0].split(","), (a, b)):
                rest = string.ascii_uppercase[: len(dims) - len(term.replace("...", ""))]
                extents |= dict(zip(term.replace("...", rest), dims))
            total += int(numpy.prod(list(extents.values())))
    return total


def main():
    golden = {"onnx": onnx.__version__, "blocks": []}
    for name, (block, (channels, outputs, stride), sizes, image, cases, options) in BLOCKS.items():
        _, model = write(block, channels, outputs, stride or 1, image, options)
        path = HERE / f"{name}.onnx"
        if name == "external":
            data = f"{name}.onnx.data"
            (HERE / data).unlink(missing_ok=True)  # else the new data would be appended
            onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=0)
            (HERE / data).chmod(0o644)
        else:
            path.write_bytes(model.SerializeToString(deterministic=True))
        entries = []
        for a, b, h, v, s in cases:
            writer, again = write(block, a, b, s, (h, v), options)
            kind = helper.tensor_dtype_to_np_dtype(options.get("kind", TensorProto.FLOAT))
            picture = numpy.random.default_rng(0).standard_normal((1, a, h, v)).astype(kind)
            # The evaluator has no operators of set 11 on their own where newer ones took their place.
            result = None
            if options["opset"] >= 13:
                evaluator = reference.ReferenceEvaluator(inliner.inline_local_functions(again))
                result = evaluator.run(None, {"x": picture})[0]
            shape = [1, b, -(-h // s), -(-v // s)]
            assert result is None or list(result.shape) == shape, (name, result.shape)
            entries.append({
                "in": a, "out": b, "rows": h, "columns": v, "stride": s, "output": shape,
                "macs": products(again), "params": writer.parameters,
            })
        golden["blocks"].append({
            "name": name, "in": channels, "out": outputs, "stride": stride, "skip": False,
            "rows": image[0], "columns": image[1], "sizes": {str(k): v for k, v in sizes.items()},
            "opset": options["opset"], "cases": entries,
        })
        print(f"{name}: {path.stat().st_size} bytes, {entries[0]}")
    (HERE / "written.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
