"""LiteRT (TensorFlow Lite) on the CPU, with float32 or with whole numbers of eight bits."""

import blocklens_device as device


class Session:
    def __init__(self, interpreter, tensor, precision):
        self.interpreter, self.precision = interpreter, precision
        interpreter.allocate_tensors()
        self.input = interpreter.get_input_details()[0]["index"]
        self.output = interpreter.get_output_details()[0]["index"]
        self.tensor = tensor
        interpreter.set_tensor(self.input, tensor)

    def run(self):
        self.interpreter.invoke()

    def infer(self, tensor):
        self.interpreter.set_tensor(self.input, tensor)
        self.interpreter.invoke()
        outputs = self.interpreter.get_tensor(self.output)
        self.interpreter.set_tensor(self.input, self.tensor)
        return outputs


class LiteRt:
    def hello(self, options):
        self.precision = device.option(options, "precision", ["fp32", "int8"], "fp32")
        device.all_taken(options)
        self.interpreter = device.need("ai-edge-litert", "ai_edge_litert.interpreter").Interpreter
        return {
            "name": "litert",
            "version": device.version("ai-edge-litert"),
            "precision": self.precision,
            "format": "tflite" if self.precision == "fp32" else "tflite-int8",
        }

    def load(self, model, tensor, threads):
        return Session(self.interpreter(model_path=model, num_threads=threads), tensor, self.precision)


device.serve(LiteRt())
