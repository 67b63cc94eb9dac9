"""Writes trained networks as ONNX opset 13: the quantized ones in QDQ form, as onnxruntime fuses it into integer kernels."""
import json

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

LAYERS = ["conv"] + [f"{kind}{n}" for n in range(1, 5) for kind in ("depthwise", "pointwise")] + ["dense"]


class Graph:
    def __init__(self, name):
        self.name, self.nodes, self.constants = name, [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output + "_" + op.lower(), **attributes))
        return output

    def save(self, path, input_type, metadata):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(self.nodes, self.name, [value("features", input_type, [1, 1, 49, 10])],
                                  [value("probabilities", TensorProto.FLOAT, [1, 12])], self.constants)
        model = helper.make_model(graph, producer_name="kinglet-zoo", opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 7
        onnx.checker.check_model(model)
        onnx.save(model, path)
        if metadata is not None:
            with open(path[:-5] + ".json", "w") as file:
                json.dump(metadata, file, indent=2)
                file.write("\n")


def conv_attributes(i, channels):
    if i == 0:
        return dict(kernel_shape=[10, 4], strides=[2, 2], pads=[4, 1, 5, 1], group=1)
    if i % 2 == 1:
        return dict(kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], group=channels)
    return dict(kernel_shape=[1, 1], strides=[1, 1], pads=[0, 0, 0, 0], group=1)


def export_quantized(model, name, path, input_scale, input_zero, metadata):
    """int8 weights per output channel (symmetric), int8 activations per tensor, int32 biases of scale input * weight."""
    g = Graph(name)
    scalar = lambda label, v: g.constant(label, np.array(v, np.float32))
    zero = lambda label, v: g.constant(label, np.array(v, np.int8))
    c = model.channels

    scales, zeros = [], []

    def quantized(x, tag, scale, zero_point):
        s, z = scalar(tag + "_scale", scale), zero(tag + "_zero", zero_point)
        q = g.node("QuantizeLinear", [x, s, z], tag + "_q")
        return g.node("DequantizeLinear", [q, s, z], tag + "_dq"), s, z

    def parameters(i, tag, scale_in):
        w = model.weights[i].detach().numpy()
        sw = getattr(model, f"ws{i}").numpy().astype(np.float32)
        shape = (-1,) + (1,) * (w.ndim - 1)
        q = np.clip(np.rint(w / sw.reshape(shape)), -127, 127).astype(np.int8)
        sb = (np.float32(scale_in) * sw).astype(np.float32)
        b = np.clip(np.rint(model.biases[i].detach().numpy() / sb), -2**31, 2**31 - 1).astype(np.int32)
        weight = g.node("DequantizeLinear", [g.constant(tag + "_weight", q), g.constant(tag + "_weight_scale", sw),
                                             g.constant(tag + "_weight_zero", np.zeros(len(sw), np.int8))], tag + "_weight_dq", axis=0)
        bias = g.node("DequantizeLinear", [g.constant(tag + "_bias", b), g.constant(tag + "_bias_scale", sb),
                                           g.constant(tag + "_bias_zero", np.zeros(len(sb), np.int32))], tag + "_bias_dq", axis=0)
        return weight, bias, q.size + 4 * b.size

    x = g.node("DequantizeLinear", ["features", scalar("features_scale", input_scale), zero("features_zero", input_zero)], "features_dq")
    scale, constant_bytes, macs = input_scale, 0, 0
    for i in range(9):
        tag = LAYERS[i]
        weight, bias, size = parameters(i, tag, scale)
        constant_bytes += size
        macs += model.weights[i].numel() * 25 * 5
        x = g.node("Conv", [x, weight, bias], tag + "_out", **conv_attributes(i, c))
        x = g.node("Relu", [x], tag + "_relu")
        scale = np.float32(model.acts[i])
        x, s, z = quantized(x, tag, scale, -128)
    x = g.node("AveragePool", [x], "pool_out", kernel_shape=[25, 5], strides=[1, 1])
    x, s, z = quantized(x, "pool", scale, -128)
    x = g.node("Reshape", [x, g.constant("flat_shape", np.array([1, c], np.int64))], "flat_out")
    x, s, z = quantized(x, "flat", scale, -128)
    constant_bytes += 8  # the shape, two integers of 32 bits on the device
    weight, bias, size = parameters(9, "dense", scale)
    constant_bytes += size
    macs += model.weights[9].numel()
    x = g.node("Gemm", [x, weight, bias], "dense_out", transB=1)
    x, s, z = quantized(x, "logits", np.float32(model.acts[9]), int(model.logit_zero))
    g.node("Softmax", [x], "probabilities", axis=1)
    g.save(path, TensorProto.INT8, {**metadata, "channels": c, "constantBytes": constant_bytes, "macs": int(macs)})


class Probabilities(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.softmax(self.inner(x), 1)


def export_float(model, name, path, input_scale, input_zero, metadata=None):
    """The network in float32 on de-quantized features: the gateway's verifier, and the twin int8 is compared with."""
    model.eval()
    before = getattr(model, "quantized", None)
    if before is not None:
        # Without rounding, inside the ranges it was trained in.
        model.quantized, model.bounded = False, True
    wrapped = Probabilities(model).eval()
    torch.onnx.export(wrapped, torch.zeros(1, 1, 49, 10), path, opset_version=13, input_names=["features"],
                      output_names=["probabilities"], do_constant_folding=True)
    if before is not None:
        model.quantized, model.bounded = before, False
    loaded = onnx.load(path)
    loaded.graph.name = name
    loaded.producer_name = "kinglet-zoo"
    onnx.save(loaded, path)
    if metadata is not None:
        parameters = sum(p.numel() for p in model.parameters())
        with open(path[:-5] + ".json", "w") as file:
            json.dump({**metadata, "parameters": parameters}, file, indent=2)
            file.write("\n")
