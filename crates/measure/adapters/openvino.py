"""OpenVINO on the CPU."""

import sys

import blocklens_device as device


class Session:
    precision = "fp32"

    def __init__(self, compiled, inputs, openvino):
        self.openvino = openvino
        self.request = compiled.create_infer_request()
        self.output = compiled.output(0)
        self.inputs = inputs
        self.give(inputs)

    def give(self, inputs):
        for name, tensor in inputs.items():
            self.request.set_tensor(name, self.openvino.Tensor(tensor))

    def run(self):
        self.request.infer()

    def infer(self, inputs):
        self.give(inputs)
        self.request.infer()
        outputs = self.request.get_tensor(self.output).data.copy()
        self.give(self.inputs)
        return outputs


class OpenVino:
    def hello(self, options):
        device.all_taken(options)
        # Its Python package starts a process that calls home; without this module it does not.
        sys.modules["openvino_telemetry"] = None
        self.openvino = device.need("openvino")
        return {
            "name": "openvino",
            "version": device.version("openvino"),
            "precision": "fp32",
        }

    def load(self, model, inputs, threads):
        core = self.openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        network = core.read_model(model)
        network.reshape({name: list(tensor.shape) for name, tensor in inputs.items()})
        return Session(core.compile_model(network, "CPU", settings), inputs, self.openvino)


device.serve(OpenVino())
