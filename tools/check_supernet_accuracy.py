"""Compares `blocklens evaluate --metric accuracy@SUPERNET --images FOLDER` with PyTorch, torchvision and the `ofa` package.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib pillow
    python tools/check_supernet_accuracy.py BLOCKLENS [--subnets 6] [--seed 7] [--engine ort]

BLOCKLENS is the program. Draws images of many kinds in 10 classes, tall ones among them, and random subnets of the tiny supernet of
crates/core/tests/golden/supernets, and compares top-1, top-5 and loss with each kind of batch-norm statistics: the
supernet's, those of `set_running_statistics` of the package, and those of all activations together, of which
crates/measure/tests/golden/images/make.py holds the reference. Both splits are tried. Prints one line for each; exit code 1
when a count differs, or a loss by more than 1e-4 of itself. Without torch and ofa nothing can be compared: exit code 2.
"""

import argparse
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = ROOT / "crates/measure/tests/golden/images/make.py"
SUPERNETS = ROOT / "crates/core/tests/golden/supernets"
RESOLUTIONS = [64, 80, 96, 112, 128]


def reference():
    """The module that wrote the golden files."""
    try:
        spec = importlib.util.spec_from_file_location("golden_images", GOLDEN)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        print(f"nothing to compare with: {error}", file=sys.stderr)
        sys.exit(2)
    return module


def ours(arguments, folder, archs, split, options):
    metrics = ",".join(f"{quantity}@{SUPERNETS / 'mbv3.pth'}" for quantity in ("accuracy", "top5", "loss"))
    command = [arguments.blocklens, "--format", "json", "evaluate", "--space", SUPERNETS / "mbv3.toml", "--metric", metrics]
    command += ["--images", folder, "--split", split, "--image-engine", arguments.engine, "--image-cache", "off", *options]
    lines = "".join(json.dumps(arch) + "\n" for arch in archs)
    done = subprocess.run([str(part) for part in command], input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all("value" in row for row in rows), rows
    values = [row["value"] for row in rows]
    return [values[i : i + 3] for i in range(0, len(values), 3)]


def theirs(golden, net, arch, kind, images, labels, calibration):
    import torch

    net.set_active_subnet(**{k: arch[k] for k in ("ks", "e", "d")})
    subnet = net.get_active_subnet(preserve_weight=True).eval()
    if kind == "published":
        subnet = golden.with_published_statistics(subnet, calibration)
    elif kind == "total":
        subnet = golden.with_total_statistics(subnet, calibration)
    with torch.no_grad():
        logits = subnet(images)
    top5 = (logits.topk(5).indices == labels[:, None]).any(1)
    loss = torch.nn.functional.cross_entropy(logits.double(), labels)
    percent = lambda hits: 100 * float(hits.double().mean())  # noqa: E731
    return [percent(logits.argmax(1) == labels), percent(top5), float(loss)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("blocklens")
    parser.add_argument("--subnets", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--engine", default="ort")
    arguments = parser.parse_args()
    golden = reference()
    import torch

    torch.set_num_threads(1)
    random.seed(arguments.seed)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        golden.HERE, golden.SEED = pathlib.Path(name), arguments.seed
        golden.write_images()
        folder = golden.HERE / "folder"
        # Tall ones in every class: Pillow's passes change their order there.
        for index, place in enumerate(sorted(folder.iterdir())):
            golden.SEED = arguments.seed + index
            golden.write_tall(place)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
        calibrating = sorted((n for n in names if golden.role(1, n)[0] == "calibrate"), key=lambda n: golden.role(1, n)[1])
        net = golden.supernet()
        archs = [
            {k: v for k, v in net.sample_active_subnet().items() if k in ("ks", "e", "d")} | {"r": [random.choice(RESOLUTIONS)]}
            for _ in range(arguments.subnets)
        ]
        for kind, options in {
            "none": ["--calibrate", "0"],
            "published": ["--pooling", "published", "--calibration-batch", "4"],
            "total": ["--calibration-batch", "4"],
        }.items():
            for split in ("select", "test"):
                counted = [n for n in names if golden.role(1, n, kind != "none")[0] == split]
                labels = torch.tensor([int(n[5:7]) for n in counted])
                expected = []
                for arch in archs:
                    size = arch["r"][0]
                    calibration = golden.load(folder, calibrating, size).split(4)
                    images = golden.load(folder, counted, size)
                    expected.append(theirs(golden, net, arch, kind, images, labels, calibration))
                found = ours(arguments, folder, archs, split, options)
                counts = lambda values: [round(percent / 100 * len(counted)) for percent in values[:2]]  # noqa: E731
                same = sum(counts(a) == counts(b) for a, b in zip(found, expected))
                worst = max(abs(a[2] - b[2]) / (1 + abs(b[2])) for a, b in zip(found, expected))
                good = same == len(archs) and worst <= 1e-4
                failed |= not good
                print(
                    f"{'ok  ' if good else 'FAIL'} {kind}, {split}: {len(counted)} images; top-1 and top-5 of {same} of {len(archs)} subnets are equal; "
                    f"losses differ by {worst:.1e} at most"
                )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
