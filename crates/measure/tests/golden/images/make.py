"""Writes a small folder of labelled images, and what torchvision, PyTorch and the `ofa` package say about them.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib pillow
    python make.py

    folder/CLASS/*      60 JPEG and PNG files of many kinds in 10 classes
    odd/*               files that are no good pictures, or not quite pictures like others
    tall/*              images more or less than twice as high as wide, where Pillow 13 changes the order of its passes
    images.json         for every image its class and SHA-256 of its pixels (rows, columns, RGB), resized and cropped by
                        torchvision for networks of 64 and 96 pixels; and for some subnets of
                        crates/core/tests/golden/supernets/mbv3.pth the logits of the images for testing, computed in
                        float64 from statistics to logits, and how far PyTorch's float32 is from them (`noise`)

Logits come with batch-norm statistics of three kinds: the supernet's own (`none`), those of `set_running_statistics` of the
`ofa` package (`published`), and those of all activations of the calibrating images together (`total`): every batch-norm's
inputs are collected over all batches, and their mean and variance taken at once, in float64.

Which image is for what follows from its name: see `role`.
"""

import copy
import hashlib
import json
import pathlib
import platform
import sys
from importlib.metadata import version

import numpy as np
import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics
from ofa.utils import pytorch_utils  # noqa: F401  (the package imports it late)
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import pil_loader

HERE = pathlib.Path(__file__).parent
SUPERNET = HERE / "../../../../core/tests/golden/supernets/mbv3.pth"
SEED = 20240607
CLASSES, PER_CLASS = 10, 6
SIZES = [64, 96]
CALIBRATING, BATCH = 7, 4
TALL = [(161, 375), (148, 296), (148, 297), (90, 240), (60, 200), (240, 90)]


def transform(size):
    """`build_valid_transform` of the package's ImagenetDataProvider."""
    return transforms.Compose([*square(size), transforms.ToTensor(), NORMALIZE])


def square(size):
    return [transforms.Resize(-(-size * 8 // 7)), transforms.CenterCrop(size)]


NORMALIZE = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


def role(seed, name, calibrates=True):
    """What an image is for, and its place in a random order."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    x, order = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")
    if calibrates and x % 5 == 0:
        return "calibrate", order
    return "test" if x // 5 % 2 else "select", order


def picture(rng, label, width, height):
    """Blobs in colours that depend on the class, and noise."""
    small = rng.normal(110 + 12 * label, 60, (height // 18 + 2, width // 18 + 2, 3))
    small[..., label % 3] += 50
    small = Image.fromarray(small.clip(0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(small).astype(int) + rng.integers(-6, 7, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def write_images():
    rng = np.random.default_rng(SEED)
    for label in range(CLASSES):
        folder = HERE / "folder" / f"class{label:02}"
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(PER_CLASS):
            kind = ["jpg", "jpg", "JPEG", "png", "grey", "odd"][i]
            width, height = (int(v) for v in rng.integers(60, 131, 2))
            image = picture(rng, label, width, height)
            if kind in ("jpg", "JPEG"):
                options = {"quality": int(rng.integers(60, 96)), "subsampling": (label + i) % 3, "progressive": label % 2 == 1}
                image.save(folder / f"{i}.{kind}", format="JPEG", **options)
            elif kind == "png":
                # Few colours compress; the pixels are stored as RGB all the same.
                image.resize((width // 2, height // 2)).quantize(48).convert("RGB").save(folder / f"{i}.png")
            elif kind == "grey":
                image.convert("L").save(folder / f"{i}.jpg", quality=80)
            else:
                odd_png(image.resize((width // 2, height // 2)), label, folder / f"{i}.png")


def odd_png(image, label, path):
    """Palettes with and without transparency, alpha, grey, one bit, interlacing is not written by Pillow."""
    mode = ["P", "RGBA", "L", "LA", "1", "P4", "Pt", "L", "RGBA", "P"][label]
    if mode in ("P", "P4", "Pt"):
        image = image.quantize(16 if mode == "P4" else 90)
        extra = {"transparency": 3} if mode == "Pt" else {}
        image.save(path, **extra)
    elif mode == "RGBA":
        image = image.quantize(40).convert("RGB")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(path)
    else:
        image.quantize(40).convert("RGB").convert(mode).save(path)


def write_odd():
    folder = HERE / "odd"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(SEED + 1)
    image = picture(rng, 3, 61, 43)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=85)
    np.asarray(pil_loader(folder / "cmyk.jpg")).tofile(folder / "cmyk.rgb")
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep-grey.png")
    image.convert("P").save(folder / "gif.jpg", format="GIF")
    image.save(folder / "bitmap.bmp")
    (folder / "text.png").write_text("not a picture\n")
    image.save(folder / "whole.jpg", quality=80)
    image.quantize(32).convert("RGB").save(folder / "whole.png")


def write_tall(folder, sizes=TALL):
    """Images around the shape from which on Pillow 13 resizes the columns first, when they shrink."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED + 2)
    for width, height in sizes:
        picture(rng, 5, width, height).save(folder / f"{width}x{height}.jpg", quality=70)


def pixels(path, size):
    image = transforms.Compose(square(size))(pil_loader(path))
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()


def supernet():
    net = OFAMobileNetV3(
        n_classes=CLASSES, width_mult=0.1, dropout_rate=0, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]
    )
    state = torch.load(SUPERNET, map_location="cpu", weights_only=True)
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return net.eval()


def with_total_statistics(subnet, batches):
    """Every batch is normalised by its own statistics, in training mode; the statistics that stay are those of the
    inputs of all batches together."""
    copied, seen = copy.deepcopy(subnet), {}

    def watch(name):
        def forward(norm, inputs):
            seen.setdefault(name, []).append(inputs[0].double().transpose(0, 1).flatten(1))

        return forward

    for name, module in copied.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(watch(name))
    copied.train()
    with torch.no_grad():
        for batch in batches:
            copied(batch)
    result = copy.deepcopy(subnet).eval()
    for name, module in result.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            values = torch.cat(seen[name], dim=1)
            module.running_mean.copy_(values.mean(1))
            module.running_var.copy_(values.var(1, unbiased=False))
    return result


def with_published_statistics(subnet, batches):
    result = copy.deepcopy(subnet).eval()
    set_running_statistics(result, [(batch, None) for batch in batches])
    return result.eval()


def chosen(folder, seed):
    """Names of the calibrating images, of those for testing beside them, and of those for testing where none calibrate;
    each in the order in which they are used."""
    names = [pathlib.Path(path).relative_to(folder).as_posix() for path, _ in ImageFolder(folder).samples]
    roles = {name: role(seed, name) for name in names}
    calibrating = sorted((n for n in names if roles[n][0] == "calibrate"), key=lambda n: roles[n][1])
    testing = [n for n in names if roles[n][0] == "test"]
    return calibrating, testing, [n for n in names if role(seed, n, False)[0] == "test"]


def load(folder, names, size):
    return torch.stack([transform(size)(pil_loader(folder / name)) for name in names])


def subnet_record(net, choice, resolution, folder, calibrating, testing, uncalibrated):
    net.set_active_subnet(**choice)
    subnet = net.get_active_subnet(preserve_weight=True).eval()
    sets = {"none": uncalibrated, "published": testing, "total": testing}
    images = {kind: load(folder, names, resolution) for kind, names in sets.items()}
    calibration = load(folder, calibrating[:CALIBRATING], resolution).split(BATCH)
    logits = evaluated(subnet, calibration, images)
    doubled = evaluated(
        copy.deepcopy(subnet).double(), [b.double() for b in calibration], {kind: i.double() for kind, i in images.items()}
    )
    record = {"arch": {**choice, "r": [resolution]}}
    for kind, values in logits.items():
        assert values.isfinite().all()
        labels = torch.tensor([int(name[5:7]) for name in sets[kind]])
        top5 = values.topk(5).indices == labels[:, None]
        # In float64 it is the same but for rounding, which batch-norms with small variances magnify.
        assert torch.equal(values.argmax(1), doubled[kind].argmax(1))
        record[kind] = {
            "logits": [[float(f"{v:.8g}") for v in row] for row in doubled[kind].tolist()],
            "noise": float((values - doubled[kind]).abs().max()),
            "top1": int((values.argmax(1) == labels).sum()),
            "top5": int(top5.any(1).sum()),
            "loss": float(torch.nn.functional.cross_entropy(doubled[kind], labels)),
        }
        print(resolution, kind, record[kind]["top1"], record[kind]["top5"], float((values - doubled[kind]).abs().max()), float(values.abs().max()))
    return record


def evaluated(subnet, calibration, images):
    """Logits with each kind of statistics, in the precision of what is given."""
    nets = {
        "none": subnet,
        "published": with_published_statistics(subnet, calibration),
        "total": with_total_statistics(subnet, calibration),
    }
    with torch.no_grad():
        return {kind: net(images[kind]) for kind, net in nets.items()}


def choices(net, count):
    import random

    random.seed(SEED)
    layers = len(net.blocks) - 1
    for i in range(count):
        if i < 2:
            yield {"ks": [[3, 7][i]] * layers, "e": [[3, 6][i]] * layers, "d": [[2, 4][i]] * len(net.block_group_info)}
        else:
            choice = net.sample_active_subnet()
            yield {k: choice[k] for k in ("ks", "e", "d")}


def main():
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    write_images()
    write_odd()
    write_tall(HERE / "tall")
    folder = HERE / "folder"
    samples = ImageFolder(folder).samples
    images = [
        {"name": pathlib.Path(path).relative_to(folder).as_posix(), "class": label} | {str(s): pixels(path, s) for s in SIZES}
        for path, label in samples
    ]
    tall = [{"name": path.name} | {str(s): pixels(path, s) for s in SIZES} for path in sorted((HERE / "tall").iterdir())]
    calibrating, testing, uncalibrated = chosen(folder, 1)
    assert len(calibrating) >= CALIBRATING, len(calibrating)
    net = supernet()
    subnets = [
        subnet_record(net, choice, SIZES[i % 2], folder, calibrating, testing, uncalibrated)
        for i, choice in enumerate(choices(net, 4))
    ]
    versions = {p: version(p) for p in ["ofa", "torch", "torchvision", "pillow"]} | {"python": platform.python_version()}
    document = {
        "made_by": "make.py",
        "versions": versions,
        "seed": 1,
        "calibrating": calibrating[:CALIBRATING],
        "batch": BATCH,
        "testing": testing,
        "uncalibrated": uncalibrated,
        "images": images,
        "tall": tall,
        "subnets": subnets,
    }
    text = json.dumps(document, separators=(",", ":")).replace("},{", "},\n{").replace("],[", "],\n[")
    (HERE / "images.json").write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
