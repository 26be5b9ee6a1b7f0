"""OpenVINO on the CPU."""

import sys

import blocklens_device as device


class Session:
    precision = "fp32"

    def __init__(self, compiled, tensor, openvino):
        self.openvino = openvino
        self.request = compiled.create_infer_request()
        self.output = compiled.output(0)
        self.request.set_input_tensor(openvino.Tensor(tensor))

    def run(self):
        self.request.infer()

    def infer(self, tensor):
        request = self.request
        before = request.get_input_tensor()
        request.set_input_tensor(self.openvino.Tensor(tensor))
        request.infer()
        outputs = request.get_output_tensor().data.copy()
        request.set_input_tensor(before)
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

    def load(self, model, tensor, threads):
        core = self.openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = core.compile_model(core.read_model(model), "CPU", settings)
        return Session(compiled, tensor, self.openvino)


device.serve(OpenVino())
