"""Builds subnets that blocklens wrote as net.config with the `ofa` package's own builders, and compares costs.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib
    python tools/check_net_config.py [BLOCKLENS] [SUBNETS]

BLOCKLENS is the binary (target/release/blocklens unless told). For each published space, SUBNETS (30) random subnets
are drawn and exported; `build_from_config` must build them, `count_net_flops` (in float64, where it is exact) and
`count_parameters` must equal what blocklens counts, the config of what was built must equal the file, and
blocklens must read the file back as the same architecture. Exit code 1 and one line per failure.
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from ofa.imagenet_classification.networks import get_net_by_name
from ofa.utils.pytorch_utils import count_net_flops, count_parameters


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()


def check(binary, space, arch, file):
    run(binary, "arch", "export", "--space", space, arch, "-o", file)
    config = json.loads(pathlib.Path(file).read_text())
    cost = json.loads(run(binary, "arch", "cost", "--format", "json", "--space", space, arch))
    resolution = int(arch.split("/")[0][1:])
    net = get_net_by_name(config["name"]).build_from_config(copy.deepcopy(config)).eval()  # it takes the names out
    if net.config != config:
        yield "the package's config of what it built differs"
    if count_parameters(net) != cost["params"]:
        yield f"{count_parameters(net)} parameters, not {cost['params']}"
    torch.set_default_dtype(torch.float64)
    macs = count_net_flops(net.double(), (1, 3, resolution, resolution))
    torch.set_default_dtype(torch.float32)
    if macs != cost["macs"]:
        yield f"{macs} MACs, not {cost['macs']}"
    if run(binary, "arch", "import", "--space", space, file, "--resolution", str(resolution)) != arch:
        yield "it is read back as another architecture"


def main(binary="target/release/blocklens", subnets="30"):
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for space in ["ofa-mbv3", "ofa-proxyless", "ofa-resnet50"]:
            archs = run(binary, "arch", "sample", "--space", space, "-n", subnets, "--resolution", "160").splitlines()
            for arch in archs:
                for failure in check(binary, space, arch, f"{folder}/net.json"):
                    print(f"{space} {arch}: {failure}")
                    failures += 1
            print(f"{space}: {len(archs)} subnets built by the package")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
