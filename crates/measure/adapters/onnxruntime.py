"""ONNX Runtime from Python, with the level of its graph optimisations and its execution provider as settings."""

import blocklens_device as device

LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


class Session:
    def __init__(self, session, inputs):
        self.session, self.inputs = session, inputs

    def run(self):
        self.session.run(None, self.inputs)

    def infer(self, inputs):
        return self.session.run(None, inputs)[0]


class OnnxRuntime:
    def hello(self, options):
        self.level = device.option(options, "level", list(LEVELS), "all")
        self.runtime = device.need("onnxruntime")
        known = self.runtime.get_available_providers()
        short = {name.removesuffix("ExecutionProvider").lower(): name for name in known}
        self.provider = short[device.option(options, "provider", list(short), "cpu")]
        device.all_taken(options)
        chip = None if self.provider == "CPUExecutionProvider" else self.provider
        return {"name": "onnxruntime", "version": self.runtime.__version__, "precision": "fp32", "chip": chip}

    def load(self, model, inputs, threads):
        runtime = self.runtime
        settings = runtime.SessionOptions()
        settings.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, LEVELS[self.level])
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Where the provider lacks an operator, that is an error and not the CPU's work.
        if self.provider != "CPUExecutionProvider":
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return Session(runtime.InferenceSession(model, settings, providers=[self.provider]), inputs)


device.serve(OnnxRuntime())
