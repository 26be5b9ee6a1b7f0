"""LiteRT (TensorFlow Lite) on the CPU, with float32 or with whole numbers of eight bits."""

import blocklens_device as device


class Session:
    def __init__(self, interpreter, inputs, precision):
        self.interpreter, self.precision, self.inputs = interpreter, precision, inputs
        # Its inputs are those of the file, in the same order; their names differ.
        self.places = [details["index"] for details in interpreter.get_input_details()]
        for place, details, tensor in zip(self.places, interpreter.get_input_details(), inputs.values()):
            if tuple(details["shape"]) != tensor.shape:
                interpreter.resize_tensor_input(place, tensor.shape)
        interpreter.allocate_tensors()
        self.output = interpreter.get_output_details()[0]["index"]
        self.give(inputs)

    def give(self, inputs):
        for place, tensor in zip(self.places, inputs.values()):
            self.interpreter.set_tensor(place, tensor)

    def run(self):
        self.interpreter.invoke()

    def infer(self, inputs):
        self.give(inputs)
        self.interpreter.invoke()
        outputs = self.interpreter.get_tensor(self.output)
        self.give(self.inputs)
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

    def load(self, model, inputs, threads):
        return Session(self.interpreter(model_path=model, num_threads=threads), inputs, self.precision)


device.serve(LiteRt())
