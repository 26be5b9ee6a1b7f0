"""MNN on the CPU."""

import pathlib
import subprocess
import sys
import time

import blocklens_device as device

# The converter as a module: the command of the same package installs another package by itself.
CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


class Session:
    backend = "CPU"

    def __init__(self, mnn, path, tensor, threads, precision, convert_ms):
        self.mnn, self.precision, self.convert_ms = mnn, precision, convert_ms
        self.interpreter = mnn.Interpreter(str(path))
        level = "high" if precision == "fp32" else "low"
        self.session = self.interpreter.createSession({"backend": "CPU", "precision": level, "numThread": threads})
        self.input = self.interpreter.getSessionInput(self.session)
        self.host = self.as_tensor(tensor)
        self.prepare()

    def as_tensor(self, tensor):
        mnn = self.mnn
        return mnn.Tensor(tensor.shape, mnn.Halide_Type_Float, tensor, mnn.Tensor_DimensionType_Caffe)

    def prepare(self):
        # An inference may write over its input.
        self.input.copyFrom(self.host)

    def run(self):
        self.interpreter.runSession(self.session)

    def infer(self, tensor):
        import numpy

        self.input.copyFrom(self.as_tensor(tensor))
        self.run()
        output = self.interpreter.getSessionOutput(self.session)
        shape = output.getShape()
        into = numpy.zeros(shape, dtype=numpy.float32)
        host = self.as_tensor(into)
        output.copyToHostTensor(host)
        return numpy.array(host.getNumpyData()).reshape(shape)


class Mnn:
    def hello(self, options):
        self.precision = device.option(options, "precision", ["fp32", "low"], "fp32")
        device.all_taken(options)
        self.mnn = device.need("MNN")
        return {"name": "mnn", "version": device.version("MNN"), "precision": self.precision}

    def load(self, model, tensor, threads):
        converted = pathlib.Path(model).with_suffix(".mnn")
        begun = time.perf_counter()
        words = ["-f", "ONNX", "--modelFile", model, "--MNNModel", str(converted), "--bizCode", "blocklens"]
        done = subprocess.run([sys.executable, "-c", CONVERT, *words], capture_output=True, text=True)
        convert_ms = (time.perf_counter() - begun) * 1e3
        if done.returncode != 0 or not converted.is_file():
            raise device.Failed("convert", f"MNN's converter: {(done.stderr or done.stdout)[-500:]}")
        return Session(self.mnn, converted, tensor, threads, self.precision, convert_ms)


device.serve(Mnn())
