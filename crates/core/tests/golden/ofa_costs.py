"""Writes what the `ofa` package says about subnets of its three supernets, one file per space.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib
    python ofa_costs.py                   # writes the three files next to this script
    python ofa_costs.py ofa-resnet50      # writes one
    python ofa_costs.py --speed [--json]  # only times the package, writes nothing

    ofa-mbv3.costs.json       OFAMobileNetV3, widths 1.0 and 1.2, 100 random subnets each
    ofa-proxyless.costs.json  OFAProxylessNASNets, width 1.3, 200 random subnets
    ofa-resnet50.costs.json   OFAResNets, 200 random subnets; its widths are elastic, so that the
                              supernet has no width of its own and is filed under 1.0

For each width: the smallest and the largest subnet, and random ones that the package's own
`sample_active_subnet` draws, each of the 25 resolutions (128, 132, ..., 224) equally often. Every
subnet has the dictionary it was drawn as (with the resolution as "r"), `count_parameters`, and
`count_net_flops` twice: `macs_f32` is what the package returns (it adds up in float32, so the sum is
rounded) and `macs` is what the same function returns when torch's default number is float64, where
the sum is exact. `digest` is the SHA-256, in hexadecimal, of its operators: one line for each in
order of execution, the fields separated by one space, every line ended by a line feed. The first 12
of each width carry these operators in full, as lists of the same fields:

    conv in out kernel stride groups bias height width   bias: none, plain or bn
    linear in out
    relu | relu6 | hswish | hsigmoid | pool | add | scale  channels height width
    maxpool | avgpool  kernel stride channels height width

`pool` is the global average. Heights and widths are those of the output. Convolutions pad by half
their kernel, `maxpool` by one; `avgpool` does not pad but rounds its output up. An average over one
element with stride one is the identity and left out. The operators are seen by hooks on a forward
pass, so their order is that of the package: in a bottleneck the shortcut runs before the main path.

Nothing is trained or downloaded: costs do not depend on weights.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import random
import time
from dataclasses import dataclass, field
from importlib.metadata import version

import torch
from ofa.imagenet_classification.elastic_nn.networks import (
    OFAMobileNetV3,
    OFAProxylessNASNets,
    OFAResNets,
)
from ofa.nas.accuracy_predictor.arch_encoder import MobileNetArchEncoder, ResNetArchEncoder
from ofa.nas.efficiency_predictor import (
    Mbv3FLOPsModel,
    ProxylessNASFLOPsModel,
    ResNet50FLOPsModel,
)
from ofa.utils import Hsigmoid, Hswish, MyGlobalAvgPool2d, SEModule
from ofa.utils.layers import ResidualBlock, ResNetBottleneckBlock
from ofa.utils.pytorch_utils import count_net_flops, count_parameters
from torch import nn

SEED = 20240229
RESOLUTIONS = list(range(128, 225, 4))
DETAILED = 12
ACTIVATIONS = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    Hswish: "hswish",
    Hsigmoid: "hsigmoid",
}


class ProxylessArchEncoder(MobileNetArchEncoder):
    SPACE_TYPE = "mbv2"


@dataclass
class Space:
    """A supernet as the model zoo of the package builds it, and the tools made for it."""

    supernet: type
    widths: list
    draws_of_each_resolution: int
    batch_norm_eps: float
    encoder: type
    flops_model: type
    options: dict = field(default_factory=dict)

    def build(self, width):
        own = {} if self.supernet is OFAResNets else {"width_mult": width}
        return self.supernet(**own, **self.options).eval()


MOBILE = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
RESNET = {
    "depth_list": [0, 1, 2],
    "expand_ratio_list": [0.2, 0.25, 0.35],
    "width_mult_list": [0.65, 0.8, 1.0],
}
SPACES = {
    "ofa-mbv3": Space(
        OFAMobileNetV3, [1.0, 1.2], 4, 1e-5, MobileNetArchEncoder, Mbv3FLOPsModel, MOBILE
    ),
    "ofa-proxyless": Space(
        OFAProxylessNASNets, [1.3], 8, 1e-3, ProxylessArchEncoder, ProxylessNASFLOPsModel, MOBILE
    ),
    "ofa-resnet50": Space(
        OFAResNets, [1.0], 8, 1e-5, ResNetArchEncoder, ResNet50FLOPsModel, RESNET
    ),
}


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


def chw(tensor):
    """Channels, height and width of one image; a vector is an image of one pixel."""
    shape = list(tensor.shape[1:])
    return shape if len(shape) == 3 else [*shape, 1, 1]


def conv_row(module, output):
    (kernel, kernel_w), (stride, stride_w) = module.kernel_size, module.stride
    assert (kernel, stride) == (kernel_w, stride_w)
    assert module.padding == (kernel // 2, kernel // 2)
    assert module.dilation == (1, 1)
    bias = "none" if module.bias is None else "plain"
    channels = [module.in_channels, module.out_channels]
    return ["conv", *channels, kernel, stride, module.groups, bias, *chw(output)[1:]]


def pool_row(module, output):
    shape = [module.kernel_size, module.stride, *chw(output)]
    if type(module) is nn.MaxPool2d:
        assert (module.padding, module.dilation, module.ceil_mode) == (1, 1, False)
        return ["maxpool", *shape]
    assert (module.padding, module.ceil_mode) == (0, True)
    return ["avgpool", *shape]


def operators(subnet, resolution, batch_norm_eps):
    """The operators of one forward pass, in order of execution."""
    rows = []
    done = set()

    def see(module, _args, output):
        kind = type(module)
        done.add(module)
        if kind is nn.Conv2d:
            rows.append(conv_row(module, output))
        elif kind is nn.BatchNorm2d:
            assert rows[-1][0] == "conv" and rows[-1][6] == "none"
            assert rows[-1][2] == module.num_features and module.eps == batch_norm_eps
            rows[-1][6] = "bn"
        elif kind is nn.Linear:
            assert module.bias is not None
            rows.append(["linear", module.in_features, module.out_features])
        elif kind in ACTIVATIONS:
            rows.append([ACTIVATIONS[kind], *chw(output)])
        elif kind is MyGlobalAvgPool2d:
            rows.append(["pool", *chw(output)])
        elif kind is SEModule:
            rows.append(["scale", *chw(output)])
        elif kind in (nn.MaxPool2d, nn.AvgPool2d):
            if (module.kernel_size, module.stride) != (1, 1):
                rows.append(pool_row(module, output))
        elif kind is ResidualBlock:
            if module.conv is not None and module.shortcut is not None:
                rows.append(["add", *chw(output)])

    def before_squeeze(_module, args):
        rows.append(["pool", args[0].shape[1], 1, 1])

    def before_final_activation(_module, args):
        rows.append(["add", *chw(args[0])])

    hooks = []
    for module in subnet.modules():
        hooks.append(module.register_forward_hook(see))
        if isinstance(module, SEModule):
            hooks.append(module.register_forward_pre_hook(before_squeeze))
        if isinstance(module, ResNetBottleneckBlock):
            hooks.append(module.final_act.register_forward_pre_hook(before_final_activation))
    with torch.no_grad():
        logits = subnet.eval()(torch.zeros(1, 3, resolution, resolution))
    for hook in hooks:
        hook.remove()
    assert logits.shape == (1, 1000)
    lists = {m for m in subnet.modules() if isinstance(m, nn.ModuleList)}  # never called
    never_run = set(subnet.modules()) - done - lists
    assert not never_run, f"never run: {never_run}"
    return rows


def macs_of(rows):
    """The MACs that follow from the operators alone."""
    convs = (row for row in rows if row[0] == "conv")
    linear = sum(row[1] * row[2] for row in rows if row[0] == "linear")
    return linear + sum(
        inputs // groups * outputs * kernel**2 * height * width
        for _, inputs, outputs, kernel, _, groups, _, height, width in convs
    )


def digest(rows):
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def record(space, net, choice, resolution, detailed):
    subnet = net.get_active_subnet(preserve_weight=False).eval()
    rows = operators(subnet, resolution, space.batch_norm_eps)
    out = {
        "arch": {**choice, "r": [resolution]},
        "macs": exact_macs(subnet, resolution),
        "macs_f32": int(count_net_flops(subnet, (1, 3, resolution, resolution))),
        "params": count_parameters(subnet),
        "digest": digest(rows),
    }
    assert out["macs"] == macs_of(rows)
    if detailed:
        out["operators"] = rows
    return out


def corner(net, pick):
    """The smallest or the largest subnet, written as `sample_active_subnet` writes it."""
    if isinstance(net, OFAResNets):
        choice = {
            "d": [pick(net.depth_list)] * (1 + len(net.grouped_block_index)),
            "e": [pick(net.expand_ratio_list)] * len(net.blocks),
            "w": [pick(range(len(net.width_mult_list)))] * (2 + len(net.grouped_block_index)),
        }
    else:
        layers, units = len(net.blocks) - 1, net.block_group_info
        choice = {
            "ks": [pick(net.ks_list)] * layers,
            "e": [pick(net.expand_ratio_list)] * layers,
            "d": [min(len(unit), pick(net.depth_list)) for unit in units],
        }
    net.set_active_subnet(**choice)
    return choice


def records(space, width, rng):
    net = space.build(width)
    yield record(space, net, corner(net, min), RESOLUTIONS[0], True)
    yield record(space, net, corner(net, max), RESOLUTIONS[-1], True)
    resolutions = RESOLUTIONS * space.draws_of_each_resolution
    rng.shuffle(resolutions)
    for i, resolution in enumerate(resolutions):
        yield record(space, net, net.sample_active_subnet(), resolution, i < DETAILED - 2)


def versions():
    found = {package: version(package) for package in ["ofa", "torch"]}
    return {**found, "python": platform.python_version()}


def write(name):
    space = SPACES[name]
    random.seed(SEED)  # sample_active_subnet draws from the global generator
    subnets = {str(width): list(records(space, width, random.Random(SEED))) for width in space.widths}
    for width, found in subnets.items():
        seen = {tuple(map(tuple, subnet["arch"].values())) for subnet in found}
        assert len(seen) == len(found), f"{name}, width {width}: a subnet was drawn twice"
    # One subnet per line, so that a change of one is one line of a diff.
    lines = [
        f'    "{width}": [\n' + ",\n".join("      " + compact(s) for s in found) + "\n    ]"
        for width, found in subnets.items()
    ]
    header = {
        "made_by": pathlib.Path(__file__).name,
        "versions": versions(),
        "seed": SEED,
        "space": name,
        "supernet": {"class": space.supernet.__name__, **space.options},
    }
    text = "{\n" + "".join(f'  "{k}": {compact(v)},\n' for k, v in header.items())
    text += '  "widths": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    json.loads(text)
    path = pathlib.Path(__file__).with_name(f"{name}.costs.json")
    path.write_text(text)
    print(f"{path.name}: {sum(map(len, subnets.values()))} subnets, {len(text)} bytes", flush=True)


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def rate(work, seconds):
    work()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - start)


def rates(space, net):
    """How often per second the package does what a search pays for, each by its own means."""
    resolution = RESOLUTIONS[-1]
    encoder = space.encoder(image_size_list=RESOLUTIONS)
    model = space.flops_model(net)

    def cost():
        subnet = net.get_active_subnet(preserve_weight=False)
        count_net_flops(subnet, (1, 3, resolution, resolution))
        count_parameters(subnet)

    def estimate():
        model.get_efficiency({**choice, "image_size": resolution})

    random.seed(SEED)
    yield "sample_active_subnet", rate(net.sample_active_subnet, 3.0)
    yield "random_sample_arch", rate(encoder.random_sample_arch, 3.0)
    choice = net.sample_active_subnet()
    yield "get_active_subnet + count_net_flops + count_parameters", rate(cost, 10.0)
    yield "get_active_net_config + count_flops_given_config", rate(estimate, 5.0)


def speed(names, as_json):
    """The package's own speed, the counterpart of benches/space.rs."""
    found = [
        {"space": name, "width": width, "what": what, "per_second": round(per_second, 3)}
        for name in names
        for width in SPACES[name].widths[-1:]
        for what, per_second in rates(SPACES[name], SPACES[name].build(width))
    ]
    facts = {
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "resolution": RESOLUTIONS[-1],
    }
    if as_json:
        print(json.dumps({**facts, "rates": found}, indent=2))
        return
    print(f"torch {version('torch')}, {facts['threads']} threads, resolution {RESOLUTIONS[-1]}")
    for row in found:
        print(f"{row['space']} {row['width']}: {row['what']}: {row['per_second']:.2f} per second")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spaces", nargs="*", metavar="SPACE", help=", ".join(SPACES))
    parser.add_argument("--speed", action="store_true", help="time the package, write nothing")
    parser.add_argument("--json", action="store_true", help="with --speed: print JSON")
    args = parser.parse_args()
    names = args.spaces or list(SPACES)
    unknown = [name for name in names if name not in SPACES]
    if unknown:
        parser.error(f"no such space: {', '.join(unknown)}; there are {', '.join(SPACES)}")
    if args.json and not args.speed:
        parser.error("--json goes with --speed")
    if args.speed:
        speed(names, args.json)
    else:
        for name in names:
            write(name)


if __name__ == "__main__":
    main()
