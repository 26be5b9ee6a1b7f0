"""Arm Ethos-U by the cost model of its compiler, ethos-u-vela: cycles are estimated and nothing runs."""

import csv
import pathlib
import re
import subprocess
import sys

import blocklens_device as device

# What Arm's own configuration file (Arm/vela.ini) has for each. They move a network's time by several times, so none is
# left to vela's defaults.
CHIPS = {
    "ethos-u55": ("ethos-u55-256", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ("ethos-u65-512", "Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85": ("ethos-u85-512", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram"),
}


class Session:
    precision = "int8"

    def __init__(self, estimate_ns, fell_back):
        self.estimate_ns, self.fell_back = estimate_ns, fell_back

    def infer(self, inputs):
        raise device.Failed("unsupported", "vela estimates times and computes nothing")


class Vela:
    def hello(self, options):
        self.chip = sys.argv[1]
        names = ("accelerator", "system", "memory")
        self.settings = [device.given(options, name, usual) for name, usual in zip(names, CHIPS[self.chip])]
        device.all_taken(options)
        if not self.settings[0].startswith(self.chip):
            raise device.Failed("unsupported", f"{self.settings[0]} is no {self.chip}: name that engine")
        device.need("ethos-u-vela", "ethosu.vela")
        return {
            "name": self.chip,
            "version": device.version("ethos-u-vela"),
            "precision": "int8",
            "format": "tflite-int8-whole",
            "chip": ", ".join(self.settings),
            "most_threads": 1,
        }

    def load(self, model, inputs, threads):
        # A folder for each: the names of vela's files leave out the accelerator.
        folder = pathlib.Path(model + ".vela")
        accelerator, system, memory = self.settings
        words = ["--accelerator-config", accelerator, "--system-config", system, "--memory-mode", memory]
        words += ["--config", "Arm/vela.ini", "--output-dir", str(folder)]
        start = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-c", start, model, *words], capture_output=True, text=True)
        said = done.stdout + done.stderr
        summaries = list(folder.glob("*_summary_*.csv"))
        if done.returncode != 0 or len(summaries) != 1:
            raise device.Failed("convert", f"vela: {said.strip()[-500:]}")
        with summaries[0].open() as file:
            row = next(csv.DictReader(file))
        elsewhere = re.search(r"CPU operators = (\d+)", said)
        if elsewhere is None:
            raise device.Failed("load", "vela does not say how many operators are left to the CPU")
        fell_back = [f"{elsewhere[1]} operators"] if elsewhere[1] != "0" else []
        return Session(round(float(row["inference_time"]) * 1e9), fell_back)


device.serve(Vela())
