"""Writes the ONNX fragments of this folder and fragments.json: what torch and onnx say about them.

    pip install torch onnx onnxscript
    python make.py

Each block is a torch module of (in, out, stride). It is exported once with probe sizes, by either of
torch's two exporters. Then the same module is built anew at other sizes; forward hooks and a watch on
`torch.matmul` count its products, `named_parameters` its parameters, and onnx's own shape inference, on a
second export at those sizes, says which shape the output has. Nothing here reads what blocklens computes.
"""

import io
import json
import pathlib
import warnings

import onnx
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

HERE = pathlib.Path(__file__).parent
CASES = [  # in, out, rows, columns, stride
    (16, 24, 32, 32, 1),
    (16, 24, 33, 32, 2),
    (24, 24, 28, 28, 1),
    (8, 40, 15, 15, 2),
    (64, 64, 7, 7, 1),
    (40, 112, 14, 14, 2),
]


def conv_bn(inputs, outputs, kernel, stride=1, groups=1, act=True):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if act else []))


def make_divisible(v):
    """Rounding of the MobileNet papers' code."""
    rounded = max(8, int(v + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * v else rounded


class GhostModule(nn.Module):
    """Half of the channels are computed, the other half are cheap copies (Han et al. 2020)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        half = outputs // 2
        self.primary = conv_bn(inputs, half, 1)
        self.cheap = conv_bn(half, half, 3, groups=half)

    def forward(self, x):
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], 1)


class GhostBottleneck(nn.Module):
    """Ghost module to 4 x in, depthwise convolution, ghost module to out (GhostNet, fig. 3)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        hidden = 4 * inputs
        self.expand = GhostModule(inputs, hidden)
        self.depthwise = conv_bn(hidden, hidden, 3, stride, hidden, act=False)
        self.project = GhostModule(hidden, outputs)

    def forward(self, x):
        return self.project(self.depthwise(self.expand(x)))


class ShuffleUnit(nn.Module):
    """Channel split, one branch of three convolutions, channel shuffle (ShuffleNetV2, fig. 3c), and a
    strided projection, so that it can stand anywhere."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half = inputs // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), conv_bn(half, half, 3, 1, half, act=False), conv_bn(half, half, 1)
        )
        self.project = conv_bn(inputs, outputs, 3, stride)

    def forward(self, x):
        left, right = x.chunk(2, 1)
        y = torch.cat([left, self.branch(right)], 1)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.project(y)


class ConvNeXt(nn.Module):
    """Depthwise 7x7, layer norm over the channels, two linear layers with GELU, layer scale
    (Liu et al. 2022), after a strided projection."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.depthwise = nn.Conv2d(outputs, outputs, 7, 1, 3, groups=outputs)
        self.norm = nn.LayerNorm(outputs, eps=1e-6)
        self.expand = nn.Linear(outputs, 4 * outputs)
        self.reduce = nn.Linear(4 * outputs, outputs)
        self.gamma = nn.Parameter(0.1 * torch.ones(outputs))

    def forward(self, x):
        x = self.down(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.reduce(F.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


class RepVgg(nn.Module):
    """3x3 and 1x1 convolution side by side, before they are merged (Ding et al. 2021)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.wide = conv_bn(inputs, outputs, 3, stride, act=False)
        self.narrow = conv_bn(inputs, outputs, 1, stride, act=False)

    def forward(self, x):
        return F.relu(self.wide(x) + self.narrow(x))


class SqueezeExcite(nn.Module):
    """Convolution and squeeze-and-excitation through linear layers with a sigmoid (Hu et al. 2018)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = conv_bn(inputs, outputs, 1, stride)
        squeezed = make_divisible(outputs / 4)
        self.reduce = nn.Linear(outputs, squeezed)
        self.expand = nn.Linear(squeezed, outputs)

    def forward(self, x):
        x = self.conv(x)
        s = x.mean((2, 3))
        s = torch.sigmoid(self.expand(F.hardswish(self.reduce(s))))
        return x * s.view(1, -1, 1, 1)


class Eca(nn.Module):
    """Convolution and efficient channel attention: a convolution along the channels (Wang et al. 2020)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))
        self.attend = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        x = self.conv(x)
        s = F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2)
        return x * torch.sigmoid(self.attend(s).transpose(-1, -2).unsqueeze(-1))


class Pool(nn.Module):
    """Maximum and mean of windows, joined, then a 1x1 convolution."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.largest = nn.MaxPool2d(3, stride, 1)
        self.mean = nn.AvgPool2d(3, stride, 1)
        self.project = conv_bn(2 * inputs, outputs, 1)

    def forward(self, x):
        return self.project(torch.cat([self.largest(x), self.mean(x)], 1))


class Attention(nn.Module):
    """Self-attention over all pixels with two heads, after a strided projection."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.qkv = nn.Conv2d(outputs, 3 * outputs, 1)
        self.project = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x):
        x = self.down(x)
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).reshape(n, 3, 2, c // 2, h * w).unbind(1)
        weights = torch.softmax(torch.matmul(q.transpose(-2, -1), k) * 0.25, -1)
        y = torch.matmul(v, weights.transpose(-2, -1)).reshape(n, c, h, w)
        return x + self.project(y)


class UpDown(nn.Module):
    """Down by a convolution, up by a transposed one and by resizing, cropped to the output's size."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.up = nn.ConvTranspose2d(outputs, outputs, 4, 2, 1, groups=outputs)
        self.merge = nn.Conv2d(2 * outputs, outputs, 3, 2, 1)

    def forward(self, x):
        x = self.conv(x)
        wide = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.merge(torch.cat([self.up(x), F.pad(wide, (1, 0, 1, 0))[:, :, 1:, 1:]], 1))


# name: module, probes (in, out, stride), sizes, skip, image (None: left open), exporter, operator set
BLOCKS = {
    "ghost": (GhostBottleneck, (10, 14, 2), {20: "2 * in", 40: "4 * in", 7: "out / 2"}, True, (23, 29), "script", 13),
    "shuffle": (ShuffleUnit, (14, 10, 2), {7: "in / 2"}, False, (31, 37), "script", 14),
    "shuffle-open": (ShuffleUnit, (14, 10, 2), {7: "in / 2"}, False, None, "script", 17),
    "convnext": (ConvNeXt, (11, 13, 2), {52: "4 * out"}, False, (23, 29), "dynamo", 18),
    "convnext-script": (ConvNeXt, (11, 13, 2), {52: "4 * out"}, False, (23, 29), "script", 17),
    "repvgg": (RepVgg, (11, 13, 2), {}, True, (23, 29), "dynamo", 20),
    "squeeze-excite": (SqueezeExcite, (5, 60, 2), {16: "round8(out / 4)"}, True, (31, 37), "dynamo", 18),
    "eca": (Eca, (11, 13, 2), {}, False, (23, 29), "script", 16),
    "pool": (Pool, (11, 14, 2), {22: "2 * in"}, False, (23, 29), "dynamo", 21),
    "attention": (Attention, (5, 22, 2), {11: "out / 2", 66: "3 * out"}, False, (27, 29), "script", 15),
    "updown": (UpDown, (5, 7, None), {14: "2 * out"}, False, (23, 29), "script", 18),
}


def build(kind, inputs, outputs, stride, exporter):
    """The module at these sizes. The newer exporter folds batch-norm into convolutions and stores equal
    weights once; batch-norm is folded here beforehand, and no two weights are equal, so that the file has the
    parameters of the module."""
    torch.manual_seed(inputs * 1000 + outputs)
    module = kind(inputs, outputs, stride).eval()
    if exporter == "dynamo":
        for weight in module.parameters():
            nn.init.uniform_(weight, 0.1, 0.2)
    for part in module.modules():
        if exporter == "dynamo" and isinstance(part, nn.Sequential) and isinstance(part[1], nn.BatchNorm2d):
            part[0] = fuse_conv_bn_eval(part[0], part[1])
            part[1] = nn.Identity()
    return module


def export(module, image, exporter, opset, open_image=False):
    """The model as onnx reads it, without what only debuggers need."""
    buffer = io.BytesIO()
    options = {"opset_version": opset, "input_names": ["x"], "output_names": ["y"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            program = torch.onnx.export(
                module, (image,), dynamo=True, verbose=False, **options
            )
            program.save(buffer, external_data=False)
        else:
            norms = any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
            modes = torch.onnx.TrainingMode
            axes = {"x": {2: "rows", 3: "columns"}} if open_image else None
            torch.onnx.export(
                module, (image,), buffer, dynamo=False, dynamic_axes=axes,
                training=modes.PRESERVE if norms else modes.EVAL, **options,
            )
    model = onnx.load_model_from_string(buffer.getvalue())
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        del value.metadata_props[:]
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    del model.functions[:]
    return model


def inferred_output(model):
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    return [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim]


def macs(module, image):
    """Products of one forward pass: hooks on layers, and a watch on `torch.matmul`."""
    total = 0

    def convolution(layer, inputs, output):
        nonlocal total
        per_number = layer.weight[0].numel()
        total += per_number * (inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output).numel()

    def linear(layer, _, output):
        nonlocal total
        total += output.numel() * layer.in_features

    def matmul(a, b):
        nonlocal total
        result = original(a, b)
        total += result.numel() * a.shape[-1]
        return result

    hooks = []
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)):
            hooks.append(layer.register_forward_hook(convolution))
        elif isinstance(layer, nn.Linear):
            hooks.append(layer.register_forward_hook(linear))
    original, torch.matmul = torch.matmul, matmul
    try:
        output = module(image)
    finally:
        torch.matmul = original
        for hook in hooks:
            hook.remove()
    return total, list(output.shape)


def main():
    golden = {"torch": torch.__version__, "onnx": onnx.__version__, "blocks": []}
    for name, (kind, (inputs, outputs, stride), sizes, skip, image, exporter, opset) in BLOCKS.items():
        probe = build(kind, inputs, outputs, stride or 1, exporter)
        rows, columns = image or (23, 29)
        model = export(
            probe, torch.randn(1, inputs, rows, columns), exporter, opset, open_image=image is None
        )
        onnx.checker.check_model(model, full_check=True)
        (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
        cases = []
        for case in CASES:
            a, b, h, w, s = case
            if stride is None and s != 1:
                continue
            module = build(kind, a, b, s, exporter)
            picture = torch.randn(1, a, h, w)
            with torch.no_grad():
                products, shape = macs(module, picture)
            again = export(module, picture, exporter, opset)
            assert inferred_output(again) == shape, (name, case)
            cases.append({
                "in": a, "out": b, "rows": h, "columns": w, "stride": s, "output": shape,
                "macs": products, "params": sum(p.numel() for p in module.parameters()),
            })
        golden["blocks"].append({
            "name": name, "in": inputs, "out": outputs, "stride": stride, "skip": skip,
            "rows": rows, "columns": columns,
            "sizes": {str(k): v for k, v in sizes.items()}, "opset": opset, "cases": cases,
        })
        print(f"{name}: {(HERE / f'{name}.onnx').stat().st_size} bytes,",
              sorted({node.op_type for node in model.graph.node}))
    (HERE / "fragments.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
