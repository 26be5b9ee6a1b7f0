"""ncnn on the CPU, from ONNX through pnnx."""

import importlib.util
import pathlib
import platform
import subprocess

import blocklens_device as device


class Session:
    def __init__(self, ncnn, net, tensor, precision):
        self.ncnn, self.net, self.precision = ncnn, net, precision
        self.mat = self.as_mat(tensor)

    def as_mat(self, tensor):
        # A matrix shares the array's memory and does not keep it alive.
        return self.ncnn.Mat(tensor[0]).clone()

    def extract(self, mat):
        extractor = self.net.create_extractor()
        extractor.input("in0", mat)
        status, output = extractor.extract("out0")
        if status != 0:
            raise RuntimeError(f"ncnn answers {status}")
        return output

    def run(self):
        self.extract(self.mat)

    def infer(self, inputs):
        import numpy

        return numpy.array(self.extract(self.as_mat(device.only_image(inputs))))


class Ncnn:
    def hello(self, options):
        # Elsewhere than on ARM, ncnn computes in float32 whatever is asked for.
        arm = platform.machine().startswith(("aarch64", "arm"))
        self.precision = device.option(options, "precision", ["fp32", "bf16"] + ["fp16"] * arm, "fp32")
        device.all_taken(options)
        self.ncnn = device.need("--no-deps ncnn pnnx numpy", "ncnn")
        # Only the program that comes with the package is wanted, and not the gigabytes that the package itself needs.
        package = importlib.util.find_spec("pnnx")
        if package is None:
            message = "Python has no pnnx, which converts to ncnn"
            raise device.Failed("unavailable", message, device.pip("--no-deps pnnx"))
        self.pnnx = pathlib.Path(package.submodule_search_locations[0]) / "pnnx"
        return {"name": "ncnn", "version": device.version("ncnn"), "precision": self.precision}

    def convert(self, model, shape):
        size = ",".join(map(str, shape))
        words = [self.pnnx, model.name, f"inputshape=[{size}]f32", "fp16=0", "optlevel=2"]
        done = subprocess.run(words, cwd=model.parent, capture_output=True, text=True)
        param = model.with_suffix(".ncnn.param")
        # What ncnn reads from a file that is not there, it does not survive.
        if done.returncode != 0 or not param.is_file():
            raise device.Failed("convert", f"pnnx: {(done.stderr or done.stdout)[-500:]}")
        return param, model.with_suffix(".ncnn.bin")

    def load(self, model, inputs, threads):
        tensor = device.only_image(inputs)
        model = pathlib.Path(model)
        # pnnx turns dashes into underscores.
        plain = model.with_name(model.name.replace("-", "_"))
        model.rename(plain)
        param, weights = self.convert(plain, tensor.shape)
        net = self.ncnn.Net()
        half, brain = self.precision == "fp16", self.precision == "bf16"
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = half
        net.opt.use_bf16_storage = brain
        if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
            raise device.Failed("load", "ncnn does not read what pnnx wrote")
        return Session(self.ncnn, net, tensor, self.precision)


device.serve(Ncnn())
