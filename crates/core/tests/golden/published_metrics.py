"""Writes what the `ofa` package says about random architectures with its published tables and predictors.

    pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib pyyaml
    python published_metrics.py DATA

DATA is a folder with the files as they are published: ofa/note10/{160,...,224}_lookup_table.yaml,
proxylessnas/mobile_trim.yaml, ofa/acc_predictor.pth and ofa/ofa_resnet50_acc_predictor.pth. Next to this script:

    lookup_latencies.json      note10: OFAMobileNetV3 width 1.2, MBv3LatencyTable, every resolution as often;
                               pixel: OFAProxylessNASNets width 1.0, ProxylessNASLatencyTable (expansions 3 and 6)
    predicted_accuracies.json  ofa: ofa.tutorial.AccuracyPredictor; ofa-resnet50: AccuracyPredictor with
                               ResNetArchEncoder; as the networks give them (a fraction, not percent)

`tools/check_metrics.py` compares many more with a built `blocklens`.
"""

import json
import pathlib
import random
import sys

import torch
import yaml
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAProxylessNASNets
from ofa.nas.accuracy_predictor import AccuracyPredictor, ResNetArchEncoder
from ofa.nas.efficiency_predictor import MBv3LatencyTable, ProxylessNASLatencyTable
from ofa.tutorial.accuracy_predictor import AccuracyPredictor as TutorialPredictor

NOTE10 = [160, 176, 192, 208, 224]
RESNET = [128, 144, 160, 176, 192, 224, 240, 256]


def mobile(rng, layers, depths, expansions, resolutions):
    return {
        "ks": [rng.choice([3, 5, 7]) for _ in range(layers)],
        "e": [rng.choice(expansions) for _ in range(layers)],
        "d": [rng.choice([2, 3, 4]) for _ in range(depths)],
        "r": [rng.choice(resolutions)],
    }


def pixel_arch(rng):
    """Of ProxylessNAS; its last unit has one layer. The table lacks expansion 4."""
    arch = mobile(rng, 21, 5, [3, 6], [224])
    return {**arch, "d": [*arch["d"], 1]}


def table(kind, path):
    """The package's table without its download."""
    found = object.__new__(kind)
    found.lut = yaml.safe_load(path.read_text())
    return found


def latency(network, tables, arch):
    network.set_active_subnet(ks=arch["ks"], e=arch["e"], d=arch["d"])
    config = network.get_active_net_config()
    return tables[arch["r"][0]].predict_network_latency_given_config(config, arch["r"][0])


def latencies(data, count, rng, resolutions=NOTE10):
    note10 = {r: table(MBv3LatencyTable, data / f"ofa/note10/{r}_lookup_table.yaml") for r in NOTE10}
    pixel = {224: table(ProxylessNASLatencyTable, data / "proxylessnas/mobile_trim.yaml")}
    choices = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
    mbv3 = OFAMobileNetV3(width_mult=1.2, **choices)
    proxyless = OFAProxylessNASNets(width_mult=1.0, **choices)

    def of(network, tables, archs):
        return [{**arch, "latency_ms": latency(network, tables, arch)} for arch in archs]

    by_turns = [mobile(rng, 20, 5, [3, 4, 6], [resolutions[i % len(resolutions)]]) for i in range(count)]
    return {
        "note10": of(mbv3, note10, by_turns),
        "pixel": of(proxyless, pixel, [pixel_arch(rng) for _ in range(count)]),
    }


def tutorial_predictor(data):
    predictor = TutorialPredictor(pretrained=False, device="cpu")
    predictor.model.load_state_dict(torch.load(data / "ofa/acc_predictor.pth", map_location="cpu"))
    return lambda archs: predictor.predict_accuracy(archs).flatten().tolist()


def resnet_predictor(data):
    encoder = ResNetArchEncoder(
        image_size_list=RESNET,
        depth_list=[0, 1, 2],
        expand_list=[0.2, 0.25, 0.35],
        width_mult_list=[0.65, 0.8, 1.0],
    )
    path = str(data / "ofa/ofa_resnet50_acc_predictor.pth")
    predictor = AccuracyPredictor(encoder, 400, 3, checkpoint_path=path, device="cpu")
    with torch.no_grad():
        return lambda archs: predictor.predict_acc(
            [{**arch, "image_size": arch["r"][0]} for arch in archs]
        ).tolist()


def resnet(rng, resolutions):
    return {
        "d": [rng.choice([0, 2])] + [rng.choice([0, 1, 2]) for _ in range(4)],
        "e": [rng.choice([0.2, 0.25, 0.35]) for _ in range(18)],
        # Multipliers 0.65 and 0.8 of the first convolution give the same channels.
        "w": [rng.choice([0, 2])] + [rng.choice([0, 1, 2]) for _ in range(5)],
        "r": [rng.choice(resolutions)],
    }


def accuracies(data, count, rng):
    archs = {
        "ofa": [mobile(rng, 20, 5, [3, 4, 6], NOTE10) for _ in range(count)],
        "ofa-resnet50": [resnet(rng, [r for r in RESNET if r <= 224]) for _ in range(count)],
    }
    predict = {"ofa": tutorial_predictor(data), "ofa-resnet50": resnet_predictor(data)}
    with torch.no_grad():
        return {
            name: [{**arch, "accuracy": a} for arch, a in zip(of, predict[name](of))]
            for name, of in archs.items()
        }


def write(name, sets):
    lines = ",\n".join(
        json.dumps(key) + ": [\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for key, rows in sets.items()
    )
    (pathlib.Path(__file__).parent / name).write_text("{" + lines + "}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    write("lookup_latencies.json", latencies(folder, 50, random.Random(1)))
    write("predicted_accuracies.json", accuracies(folder, 60, random.Random(2)))
