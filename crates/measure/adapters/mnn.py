"""MNN on the CPU."""

import pathlib
import subprocess
import sys

import blocklens_device as device

# The converter as a module: the command of the same package installs another package by itself.
CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


class Session:
    def __init__(self, mnn, path, tensor, threads, precision):
        self.mnn, self.precision = mnn, precision
        self.interpreter = mnn.Interpreter(str(path))
        level = "high" if precision == "fp32" else "low"
        self.session = self.interpreter.createSession({"backend": "CPU", "precision": level, "numThread": threads})
        self.input = self.interpreter.getSessionInput(self.session)
        if tuple(self.input.getShape()) != tensor.shape:
            self.interpreter.resizeTensor(self.input, tensor.shape)
            self.interpreter.resizeSession(self.session)
        self.host = self.as_tensor(tensor)
        self.prepare()

    def as_tensor(self, array):
        mnn = self.mnn
        return mnn.Tensor(array.shape, mnn.Halide_Type_Float, array, mnn.Tensor_DimensionType_Caffe)

    def prepare(self):
        # An inference may write over its input.
        self.fill(self.host)

    def fill(self, host):
        if not self.input.copyFrom(host):
            raise RuntimeError("MNN does not take the input")

    def run(self):
        status = self.interpreter.runSession(self.session)
        if status != 0:
            raise RuntimeError(f"MNN answers {status}")

    def infer(self, inputs):
        import numpy

        self.fill(self.as_tensor(device.only_image(inputs)))
        self.run()
        output = self.interpreter.getSessionOutput(self.session)
        array = numpy.full(output.getShape(), numpy.nan, dtype=numpy.float32)
        host = self.as_tensor(array)
        if not output.copyToHostTensor(host):
            raise RuntimeError("MNN does not give the output")
        return numpy.array(host.getNumpyData()).reshape(array.shape)


class Mnn:
    def hello(self, options):
        self.precision = device.option(options, "precision", ["fp32", "low"], "fp32")
        device.all_taken(options)
        self.mnn = device.need("MNN")
        return {"name": "mnn", "version": device.version("MNN"), "precision": self.precision}

    def load(self, model, inputs, threads):
        tensor = device.only_image(inputs)
        converted = pathlib.Path(model).with_suffix(".mnn")
        words = ["-f", "ONNX", "--modelFile", model, "--MNNModel", str(converted), "--bizCode", "blocklens"]
        # Its converter keeps something in the current folder: two at a time spoil each other's weights, without a word.
        folder = converted.parent
        done = subprocess.run([sys.executable, "-c", CONVERT, *words], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0 or not converted.is_file():
            raise device.Failed("convert", f"MNN's converter: {(done.stderr or done.stdout)[-500:]}")
        return Session(self.mnn, converted, tensor, threads, self.precision)


device.serve(Mnn())
