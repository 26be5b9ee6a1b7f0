"""Images per second of a subnet of OFA-MobileNetV3 (width 1.2, 224 pixels, random weights): blocklens, and PyTorch eager
and with channels last, in turns, in one run.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib pillow onnxruntime
    cargo build --release -p blocklens-studies --bin supernet_speed
    python tools/compare_supernet_speed.py [--images 192] [--rounds 7] [--threads 2] [--calibrate 0] [--batches 8 32]

Every round evaluates all images once with each of them; medians over the rounds are compared. PyTorch is given its images
as tensors in memory and its network ready; blocklens starts from pixels in memory and the supernet's checkpoint: slicing,
exporting and compiling the subnet and normalising the images are in its time. With --calibrate N, batch-norm statistics are
taken from N images first, by PyTorch with `set_running_statistics` of the `ofa` package. The classes that
are named for the images must be the same.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

ROOT = pathlib.Path(__file__).parent.parent
RESOLUTION = 224


def make(folder, images):
    """A supernet with random weights, images, a list of 1,000 classes and an architecture."""
    torch.manual_seed(1)
    random.seed(1)
    net = OFAMobileNetV3(
        n_classes=1000, width_mult=1.2, dropout_rate=0, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]
    ).eval()
    torch.save(net.state_dict(), folder / "supernet.pth")
    rng = np.random.default_rng(1)
    for i in range(images):
        small = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        place = folder / "images" / f"c{i % 10:03}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC).save(place / f"{i:05}.jpg", quality=90)
    (folder / "classes.txt").write_text("".join(f"c{i:03}\n" for i in range(1000)))
    choice = {k: v for k, v in net.sample_active_subnet().items() if k in ("ks", "e", "d")}
    return net.get_active_subnet(preserve_weight=True).eval(), {**choice, "r": [RESOLUTION]}


def library():
    return next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.*"))


class Blocklens:
    def __init__(self, folder, arch, arguments):
        program = ROOT / "target" / arguments.profile / "examples" / "supernet_speed"
        files = [folder / "supernet.pth", folder / "images", folder / "classes.txt"]
        command = [program, *files, arguments.engine, str(arguments.threads), str(arguments.calibrate), json.dumps(arch)]
        environment = {**os.environ, "ORT_DYLIB_PATH": str(library())}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        ready = self.process.stdout.readline()
        assert ready.startswith("ready "), ready
        self.classes = dict(json.loads(ready[len("ready ") :]))

    def seconds(self):
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


class Torch:
    def __init__(self, subnet, images, batch, layout, calibrate):
        self.net = subnet.to(memory_format=layout)
        self.batches = [b.contiguous(memory_format=layout) for b in images.split(batch)]
        self.calibrating = [(b.contiguous(memory_format=layout), None) for b in images[:calibrate].split(32)] if calibrate else []

    def seconds(self):
        start = time.perf_counter()
        with torch.inference_mode():
            if self.calibrating:
                set_running_statistics(self.net, self.calibrating)
            self.logits = torch.cat([self.net(batch) for batch in self.batches])
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calibrate", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32], help="PyTorch's batch sizes")
    parser.add_argument("--engine", default="ort")
    parser.add_argument("--profile", default="release")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subnet, arch = make(folder, arguments.images)
        normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
        transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize])
        listed = ImageFolder(folder / "images", transform)
        images = torch.stack([image for image, _ in listed])
        names = [pathlib.Path(path).relative_to(folder / "images").as_posix() for path, _ in listed.samples]
        ours = Blocklens(folder, arch, arguments)
    turns = {"blocklens": ours}
    import copy

    for batch in arguments.batches:
        for kind, layout in [("eager", torch.contiguous_format), ("channels last", torch.channels_last)]:
            turns[f"PyTorch {kind}, batch {batch}"] = Torch(copy.deepcopy(subnet), images, batch, layout, arguments.calibrate)
    for turn in turns.values():
        turn.seconds()
    if not arguments.calibrate:
        theirs = turns[f"PyTorch eager, batch {arguments.batches[-1]}"].logits.argmax(1).tolist()
        wrong = [name for name, label in zip(names, theirs) if ours.classes[name] != label]
        print(f"{len(names) - len(wrong)} of {len(names)} images have the same largest logit")
    times = {kind: [] for kind in turns}
    for _ in range(arguments.rounds):
        for kind, turn in turns.items():
            times[kind].append(turn.seconds())
    print(json.dumps(arch), f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {arguments.threads} threads")
    rates = {}
    for kind, seconds in times.items():
        rates[kind] = arguments.images / statistics.median(seconds)
        spread = f"{arguments.images / max(seconds):.1f} to {arguments.images / min(seconds):.1f}"
        print(f"{kind}: {rates[kind]:.1f} images/s ({spread})")
    best = max(rate for kind, rate in rates.items() if kind != "blocklens")
    print(f"blocklens is {rates['blocklens'] / best:.2f} times as fast as the fastest of PyTorch")


if __name__ == "__main__":
    sys.exit(main())
