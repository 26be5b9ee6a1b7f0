"""Writes what PyTorch says about two training-free proxies of subnets of the tiny supernets.

    pip install ofa==0.1.0.post202307202001 torch torchvision numpy
    python make.py

The networks are those of ../supernets: NAME.pth gives the weights, the first subnets of NAME.json the architectures. Both
proxies are written here from their papers' definitions, in float64:

naswot (Mellor et al., Neural Architecture Search without Training, ICML 2021, arXiv 2006.04647): the binary code of an
    image holds, for every unit that an activation function rectifies, whether its input is above zero. K[i, j] is the
    number of units on which the codes of images i and j agree; the score is log |det K|. Batch-norms are in training
    mode, as those of a network that was just made. Activation functions are ReLU, ReLU6 and h-swish.

zen (Lin et al., Zen-NAS, ICCV 2021, arXiv 2102.01063, Algorithm 1): residual links (and squeeze-and-excitation) are removed; f
    is the image before the global pool; the score is log E ||f(x) - f(x + alpha eps)||_F + sum_i log sigma_i, where sigma_i^2
    is the mean over channels of the variances that batch-norm i finds in the batch x; alpha is 0.01. Weights here are the
    checkpoint's: how they are drawn is not a matter of arithmetic.

Images are not stored. With x(i) the i-th output of SplitMix64 started at state SEED, number i (in NCHW order) of the batch
x is (x(i) >> 40) / 2^23 - 1 as float32; those of eps go on behind them.
"""

import json
import pathlib
import platform
import sys
from importlib.metadata import version

import numpy as np
import torch
from ofa.imagenet_classification.networks import ResNets
from ofa.utils import MyNetwork, SEModule
from ofa.utils.layers import ResidualBlock, ResNetBottleneckBlock
from torch import nn

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "supernets"))
from make import NETS  # noqa: E402

SEED = 20240615
SUBNETS = 6
RESOLUTION = 64
IMAGES = 5
ALPHA = 0.01


def numbers(count):
    mask = (1 << 64) - 1
    state, values = SEED, np.empty(count, dtype=np.float32)
    for i in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        values[i] = (z >> 40) / 2**23 - 1
    return values


def batches():
    shape = (IMAGES, 3, RESOLUTION, RESOLUTION)
    x, eps = np.split(numbers(2 * np.prod(shape)), 2)
    return [torch.from_numpy(part.reshape(shape)).double() for part in (x, eps)]


def is_rectifier(module):
    return isinstance(module, (nn.ReLU, nn.ReLU6)) or type(module).__name__ == "Hswish"


def naswot(net, x):
    agreements = torch.zeros(len(x), len(x), dtype=torch.float64)

    def count(_, inputs):
        code = (inputs[0].reshape(len(x), -1) > 0).double()
        agreements.add_(code @ code.T + (1 - code) @ (1 - code).T)

    hooks = [m.register_forward_pre_hook(count) for m in net.modules() if is_rectifier(m)]
    net.train()(x)
    for hook in hooks:
        hook.remove()
    sign, score = np.linalg.slogdet(agreements.numpy())
    assert sign == 1
    return float(score), len(hooks), int(agreements[0, 0])


def main_path(net):
    """Without residual links and squeeze-and-excitation."""
    for module in net.modules():
        if isinstance(module, ResidualBlock):
            module.shortcut = None
        if isinstance(module, ResNetBottleneckBlock):
            module.forward = lambda x, m=module: m.final_act(m.conv3(m.conv2(m.conv1(x))))
        for name, child in list(module.named_children()):
            if isinstance(child, SEModule):
                setattr(module, name, nn.Identity())
    return net


def features(net, x):
    if isinstance(net, ResNets):
        for layer in net.input_stem:
            # The stem's second convolution may be a residual block, too.
            x = layer.conv(x) if isinstance(layer, ResidualBlock) else layer(x)
        x = net.max_pooling(x)
        for block in net.blocks:
            x = block(x)
        return x
    x = net.first_conv(x)
    for block in net.blocks:
        x = block(x)
    last = "final_expand_layer" if hasattr(net, "final_expand_layer") else "feature_mix_layer"
    return getattr(net, last)(x)


def zen(net, x, eps):
    net = main_path(net).train()
    variances = []

    def keep(module, inputs):
        variances.append(inputs[0].var(dim=(0, 2, 3), unbiased=False))

    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    hooks = [m.register_forward_pre_hook(keep) for m in norms]
    clean = features(net, x)
    for hook in hooks:
        hook.remove()
    change = (clean - features(net, x + ALPHA * eps)).flatten(1).norm(dim=1).mean()
    compensation = sum(v.mean().sqrt().log() for v in variances)
    return float(change.log() + compensation), len(variances), float(compensation)


def main():
    torch.set_num_threads(1)
    x, eps = batches()
    result = {
        "versions": {p: version(p) for p in ["ofa", "torch", "numpy"]} | {"python": platform.python_version()},
        "seed": SEED,
        "images": IMAGES,
        "resolution": RESOLUTION,
        "networks": {},
    }
    for name, make in NETS.items():
        net = make().eval()
        state = torch.load(HERE.parent / "supernets" / f"{name}.pth")
        net.load_state_dict(state.get("state_dict", state))
        golden = json.loads((HERE.parent / "supernets" / f"{name}.json").read_text())
        rows = []
        for subnet in golden["subnets"][:SUBNETS]:
            choice = subnet["arch"]
            net.set_active_subnet(**{key: value for key, value in choice.items() if key != "r"})
            with torch.no_grad():
                active = net.get_active_subnet(preserve_weight=True).double()
                score, layers, units = naswot(active, x)
                active = net.get_active_subnet(preserve_weight=True).double()
                zen_score, norms, compensation = zen(active, x, eps)
            row = {"arch": {**choice, "r": [RESOLUTION]}, "naswot": score, "activations": layers, "units": units}
            rows.append(row | {"zen": zen_score, "batch_norms": norms, "compensation": compensation})
        result["networks"][name] = rows
        print(name, [(round(r["naswot"], 3), round(r["zen"], 3)) for r in rows])
    lines = [f'  "{k}": {json.dumps(v)}' for k, v in result.items() if k != "networks"]
    networks = [
        f'    "{name}": [\n' + ",\n".join("      " + json.dumps(row) for row in rows) + "\n    ]"
        for name, rows in result["networks"].items()
    ]
    lines.append('  "networks": {\n' + ",\n".join(networks) + "\n  }")
    (HERE / "proxies.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
