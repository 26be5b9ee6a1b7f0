"""Writes tiny supernets with random weights, and what PyTorch says about 30 subnets of each.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib
    python make.py

For each of mbv3, proxyless and resnet: a checkpoint saved by the `ofa` package's own classes and NAME.json with,
for every subnet, the arch dict (with the resolution as `r`), the `net.config` of
`get_active_subnet(preserve_weight=True)`, exact MACs and parameters, and the logits in evaluation mode, in float32
and (`logits64`) in float64. The checkpoints are

    mbv3.pth          zip format, as torch.save writes it today
    proxyless.pth     the format before torch 1.6, wrapped as {"state_dict": ...} like OFA's published files
    resnet.pth        zip format
    resnet.safetensors   the same weights

Weights are rounded to half precision and stored as such to keep the files small; the logits are those of the rounded weights. Batch-norm statistics and the kernel transformation matrices are random
too: a slice that ignored them would not agree.

The input of every subnet is not stored. With x(i) the i-th output of SplitMix64 started at state SEED, pixel i (in
NCHW order) is (x(i) >> 40) / 2^23 - 1 as float32.
"""

import json
import pathlib
import platform
import random
import struct
from importlib.metadata import version

import numpy as np
import torch
from ofa.imagenet_classification.elastic_nn.networks import (
    OFAMobileNetV3,
    OFAProxylessNASNets,
    OFAResNets,
)
from ofa.imagenet_classification.networks import ResNets
from ofa.utils.pytorch_utils import count_net_flops, count_parameters

SEED = 20240301
SUBNETS = 30
RESOLUTIONS = [64, 80, 96, 112, 128]
# Narrow stages; the first must differ from every stem width, or the package cannot build the subnet.
ResNets.STAGE_WIDTH_LIST = [128, 104, 112, 120]
HERE = pathlib.Path(__file__).parent
MOBILE = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
NETS = {
    "mbv3": lambda: OFAMobileNetV3(n_classes=10, width_mult=0.1, dropout_rate=0, **MOBILE),
    "proxyless": lambda: OFAProxylessNASNets(n_classes=10, width_mult=0.1, dropout_rate=0, **MOBILE),
    "resnet": lambda: OFAResNets(
        n_classes=10,
        depth_list=[0, 1, 2],
        expand_ratio_list=[0.2, 0.25, 0.35],
        width_mult_list=[0.25, 0.4, 0.6],
    ),
}


def image(resolution):
    count = 3 * resolution * resolution
    mask = (1 << 64) - 1
    state, values = SEED, np.empty(count, dtype=np.float32)
    for i in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        values[i] = (z >> 40) / 2**23 - 1
    return torch.from_numpy(values.reshape(1, 3, resolution, resolution))


def fill(net):
    """Random weights that keep activations alive and logits of order 1."""
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_mean"):
                tensor.uniform_(-0.2, 0.2)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif "_matrix" in name:
                size = tensor.shape[0]
                tensor.copy_(torch.eye(size) + 0.1 * torch.randn(size, size))
            elif ".conv3.bn." in name and name.endswith("weight"):
                tensor.uniform_(0.1, 0.3)  # the end of a bottleneck: sums must not grow with depth
            elif ".bn." in name and name.endswith("weight"):
                tensor.uniform_(0.8, 1.2)
            elif ".bn." in name:
                tensor.uniform_(-0.2, 0.2)
            elif tensor.dim() == 1:
                tensor.uniform_(-0.3, 0.3)
            else:
                fan_in = tensor[0].numel()
                tensor.normal_(0, (1.6 / fan_in) ** 0.5)
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())


def exact_macs(subnet, resolution):
    """`count_net_flops` with float64 in place of float32: the sum is then exact."""
    torch.set_default_dtype(torch.float64)
    try:
        macs = count_net_flops(subnet.double(), (1, 3, resolution, resolution))
    finally:
        torch.set_default_dtype(torch.float32)
    assert macs == int(macs)
    return int(macs)


def draw(net, i):
    """The smallest, the largest, then random ones."""
    if i == 0 or i == 1:
        pick = [min, max][i]
        if isinstance(net, OFAResNets):
            choice = {"d": [pick(net.depth_list)] * 5, "e": [pick(net.expand_ratio_list)] * 18, "w": [[0, 2][i]] * 6}
        else:
            layers = len(net.blocks) - 1
            depths = [min(pick(net.depth_list), len(group)) for group in net.block_group_info]
            choice = {"ks": [pick(net.ks_list)] * layers, "e": [pick(net.expand_ratio_list)] * layers, "d": depths}
        net.set_active_subnet(**choice)
        return choice
    return net.sample_active_subnet()


def record(net, i):
    choice = draw(net, i)
    resolution = RESOLUTIONS[i % len(RESOLUTIONS)]
    subnet = net.get_active_subnet(preserve_weight=True).eval()
    config, x = subnet.config, image(resolution)
    with torch.no_grad():
        logits = subnet(x)[0]
        logits64 = subnet.double()(x.double())[0]
    assert logits.isfinite().all()
    return {
        "arch": {**choice, "r": [resolution]},
        "macs": exact_macs(subnet, resolution),
        "params": count_parameters(subnet),
        "logits": [float(v) for v in logits],
        "logits64": [float(v) for v in logits64],
        "net_config": config,
    }


def halves(state):
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def save_safetensors(path, state):
    """The format's specification: header length, JSON header, data."""
    header, data = {}, b""
    for name, tensor in state.items():
        dtype = {torch.float16: "F16", torch.int64: "I64"}[tensor.dtype]
        raw = tensor.numpy().tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.set_num_threads(1)
    for name, make in NETS.items():
        torch.manual_seed(SEED)
        random.seed(SEED)
        net = make().eval()
        fill(net)
        state = net.state_dict()
        if name == "proxyless":
            torch.save({"state_dict": halves(state)}, HERE / "proxyless.pth", _use_new_zipfile_serialization=False)
        else:
            torch.save(halves(state), HERE / f"{name}.pth")
        if name == "resnet":
            save_safetensors(HERE / "resnet.safetensors", halves(state))
        subnets = [record(net, i) for i in range(SUBNETS)]
        scale = max(abs(v) for s in subnets for v in s["logits"])
        rounding = max(abs(a - b) for s in subnets for a, b in zip(s["logits"], s["logits64"]))
        versions = {package: version(package) for package in ["ofa", "torch"]} | {"python": platform.python_version()}
        header = {"made_by": "make.py", "versions": versions, "seed": SEED}
        lines = ",\n".join("    " + json.dumps(s, separators=(",", ":")) for s in subnets)
        text = "{\n" + "".join(f'  "{k}": {json.dumps(v)},\n' for k, v in header.items())
        text += '  "subnets": [\n' + lines + "\n  ]\n}\n"
        json.loads(text)
        (HERE / f"{name}.json").write_text(text)
        print(f"{name}: largest logit {scale:.3g}, float32 differs from float64 by {rounding:.2g}")


if __name__ == "__main__":
    main()
