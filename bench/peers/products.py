"""Linear layers of PyTorch by oneDNN, which comes with it.

PyTorch multiplies float32 matrices with MKL, which has no AVX-512 for processors of other makers; oneDNN has. PyTorch
itself takes it for float32 only where a model is compiled for inference. `use_onednn` puts it into every linear layer,
forward and backward: what somebody could do who knows.
"""
import torch
import torch.nn.functional as F


def product(x, weight):
    """x·weightᵀ."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        dx = product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        dw = None
        if ctx.needs_input_grad[1]:
            dw = product(gradient.flatten(0, -2).t(), x.flatten(0, -2).t())
        return dx, dw


def use_onednn():
    plain = F.linear

    def linear(x, weight, bias=None):
        if x.dtype != torch.float32 or weight.dtype != torch.float32 or weight.shape[0] < 16:
            return plain(x, weight, bias)
        y = Linear.apply(x, weight)
        return y if bias is None else y + bias

    F.linear = linear


def throughput(rows=512, width=2048, rounds=5):
    """Multiplications and additions a second of the product of a linear layer, the best of some rounds."""
    import time
    x, weight = torch.randn(rows, width), torch.randn(width, width)
    best = float("inf")
    for _ in range(rounds + 1):
        start = time.perf_counter()
        F.linear(x, weight)
        best = min(best, time.perf_counter() - start)
    return 2 * rows * width * width / best
