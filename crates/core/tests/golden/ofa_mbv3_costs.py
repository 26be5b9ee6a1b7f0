"""Writes ofa_mbv3_costs.json: what the `ofa` package says about 104 subnets of OFA-MobileNetV3.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib
    python ofa_mbv3_costs.py            # writes the file next to this script
    python ofa_mbv3_costs.py --speed    # only times the package, writes nothing

For each width: the smallest and the largest subnet, and 50 that the package's own
`sample_active_subnet` draws, each of the 25 resolutions (128, 132, ..., 224) twice. Every subnet has
the dictionary it was drawn as, `count_parameters`, and `count_net_flops` twice: `macs_f32` is what
the package returns (it adds up in float32, so the sum is rounded) and `macs` is what the same
function returns when torch's default number is float64, where the sum is exact. The first 12 of each
width also carry their operators in order of execution, seen by hooks on a forward pass:

    ["conv", in, out, kernel, stride, groups, bias, height, width]   bias: none, plain or bn
    ["linear", in, out]
    ["relu" | "hswish" | "hsigmoid" | "pool" | "add" | "scale", channels, height, width]

Nothing is trained or downloaded: costs do not depend on weights.
"""

import json
import pathlib
import platform
import random
import sys
import time
from importlib.metadata import version

import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.utils import Hsigmoid, Hswish, MyGlobalAvgPool2d, SEModule
from ofa.utils.layers import ResidualBlock
from ofa.utils.pytorch_utils import count_net_flops, count_parameters

SEED = 20240229
WIDTHS = [1.0, 1.2]
RESOLUTIONS = list(range(128, 225, 4))
DETAILED = 12
ACTIVATIONS = {torch.nn.ReLU: "relu", Hswish: "hswish", Hsigmoid: "hsigmoid"}


def supernet(width):
    return OFAMobileNetV3(
        width_mult=width,
        ks_list=[3, 5, 7],
        expand_ratio_list=[3, 4, 6],
        depth_list=[2, 3, 4],
    ).eval()


def exact_macs(subnet, resolution):
    """`count_net_flops` with float64 in place of float32."""
    torch.set_default_dtype(torch.float64)
    try:
        macs = count_net_flops(subnet.double(), (1, 3, resolution, resolution))
    finally:
        torch.set_default_dtype(torch.float32)
        subnet.float()
    assert macs == int(macs)
    return int(macs)


def operators(subnet, resolution):
    """The operators of one forward pass, in order of execution."""
    rows = []
    done = set()

    def chw(tensor):
        return list(tensor.shape[1:])

    def see(module, args, output):
        kind = type(module)
        done.add(module)
        if kind is torch.nn.Conv2d:
            (kernel, kernel_w), (stride, stride_w) = module.kernel_size, module.stride
            assert (kernel, stride) == (kernel_w, stride_w)
            assert module.padding == (kernel // 2, kernel // 2)
            assert module.dilation == (1, 1)
            bias = "none" if module.bias is None else "plain"
            channels = [module.in_channels, module.out_channels]
            shape = [kernel, stride, module.groups, bias, *chw(output)[1:]]
            rows.append(["conv", *channels, *shape])
        elif kind is torch.nn.BatchNorm2d:
            assert rows[-1][0] == "conv" and rows[-1][6] == "none"
            assert rows[-1][2] == module.num_features and module.eps == 1e-5
            rows[-1][6] = "bn"
        elif kind is torch.nn.Linear:
            assert module.bias is not None
            rows.append(["linear", module.in_features, module.out_features])
        elif kind in ACTIVATIONS:
            rows.append([ACTIVATIONS[kind], *chw(output)])
        elif kind is MyGlobalAvgPool2d:
            rows.append(["pool", *chw(output)])
        elif kind is SEModule:
            rows.append(["scale", *chw(output)])
        elif kind is ResidualBlock:
            if module.conv is not None and module.shortcut is not None:
                rows.append(["add", *chw(output)])

    def before_squeeze(_module, args):
        rows.append(["pool", args[0].shape[1], 1, 1])

    hooks = [m.register_forward_hook(see) for m in subnet.modules()]
    hooks += [
        m.register_forward_pre_hook(before_squeeze)
        for m in subnet.modules()
        if isinstance(m, SEModule)
    ]
    with torch.no_grad():
        logits = subnet.eval()(torch.zeros(1, 3, resolution, resolution))
    for hook in hooks:
        hook.remove()
    assert logits.shape == (1, 1000)
    never_run = set(subnet.modules()) - done - {subnet.blocks}  # a plain list, never called
    assert not never_run, f"never run: {never_run}"
    return rows


def record(net, choice, resolution, detailed):
    subnet = net.get_active_subnet(preserve_weight=False).eval()
    out = {
        "arch": {**choice, "r": [resolution]},
        "macs": exact_macs(subnet, resolution),
        "macs_f32": int(count_net_flops(subnet, (1, 3, resolution, resolution))),
        "params": count_parameters(subnet),
    }
    if detailed:
        out["operators"] = operators(subnet, resolution)
    return out


def records(width, rng):
    net = supernet(width)
    layers, units = len(net.blocks) - 1, len(net.block_group_info)

    def corner(pick):
        choice = {
            "ks": [pick(net.ks_list)] * layers,
            "e": [pick(net.expand_ratio_list)] * layers,
            "d": [pick(net.depth_list)] * units,
        }
        net.set_active_subnet(**choice)
        return choice

    yield record(net, corner(min), RESOLUTIONS[0], True)
    yield record(net, corner(max), RESOLUTIONS[-1], True)
    resolutions = RESOLUTIONS * 2
    rng.shuffle(resolutions)
    for i, resolution in enumerate(resolutions):
        yield record(net, net.sample_active_subnet(), resolution, i < DETAILED - 2)


def write():
    random.seed(SEED)  # sample_active_subnet draws from the global generator
    subnets = {str(width): list(records(width, random.Random(SEED))) for width in WIDTHS}
    for width, found in subnets.items():
        seen = {tuple(map(tuple, subnet["arch"].values())) for subnet in found}
        assert len(seen) == len(found), f"width {width}: a subnet was drawn twice"
    versions = {package: version(package) for package in ["ofa", "torch"]}
    versions["python"] = platform.python_version()
    # One subnet per line, so that a change of one is one line of a diff.
    lines = [
        f'    "{width}": [\n' + ",\n".join("      " + compact(s) for s in found) + "\n    ]"
        for width, found in subnets.items()
    ]
    header = {"made_by": pathlib.Path(__file__).name, "versions": versions, "seed": SEED}
    text = "{\n" + "".join(f'  "{k}": {compact(v)},\n' for k, v in header.items())
    text += '  "widths": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    json.loads(text)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(text)
    print(f"{path.name}: {sum(map(len, subnets.values()))} subnets, {len(text)} bytes")


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def speed():
    """The package's own speed, the counterpart of benches/space.rs."""
    net = supernet(1.2)
    random.seed(SEED)

    def rate(work, seconds=10.0):
        work()
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            work()
            count += 1
        return count / (time.perf_counter() - start)

    def cost():
        net.sample_active_subnet()
        subnet = net.get_active_subnet(preserve_weight=False)
        count_net_flops(subnet, (1, 3, 224, 224))
        count_parameters(subnet)

    print(f"torch {version('torch')}, {torch.get_num_threads()} threads, width 1.2")
    print(f"sample_active_subnet: {rate(net.sample_active_subnet):.0f} per second")
    print(f"sample, get_active_subnet, count_net_flops at 224, count_parameters: {rate(cost):.2f} per second")


if __name__ == "__main__":
    speed() if "--speed" in sys.argv[1:] else write()
