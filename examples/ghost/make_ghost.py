"""Writes ghost.onnx: the bottleneck of GhostNet (Han et al. 2020) as a block for design spaces.

    pip install torch onnx
    python make_ghost.py

The sizes stand for others: space.toml says what each of them follows. They are chosen so that no number occurs
twice: 10 input channels, 14 output channels, 20 and 40 inside, 7 for half of the output, and a stride of 2.
"""

import torch
from torch import nn

INPUTS, OUTPUTS, STRIDE = 10, 14, 2


def conv_bn(inputs, outputs, kernel, stride=1, groups=1, act=True):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if act else []))


class GhostModule(nn.Module):
    """Half of the channels by a 1x1 convolution, the other half from those by a cheap depthwise one."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.primary = conv_bn(inputs, outputs // 2, 1)
        self.cheap = conv_bn(outputs // 2, outputs // 2, 3, groups=outputs // 2)

    def forward(self, x):
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], 1)


class GhostBottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.expand = GhostModule(inputs, 4 * inputs)
        self.depthwise = conv_bn(4 * inputs, 4 * inputs, 3, stride, 4 * inputs, act=False)
        self.project = GhostModule(4 * inputs, outputs)

    def forward(self, x):
        return self.project(self.depthwise(self.expand(x)))


if __name__ == "__main__":
    torch.manual_seed(1)
    block = GhostBottleneck(INPUTS, OUTPUTS, STRIDE).eval()
    image = torch.zeros(1, INPUTS, 23, 29)
    torch.onnx.export(block, image, "ghost.onnx", opset_version=13, dynamo=False)
