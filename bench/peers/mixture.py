"""A dense mixture of LoRA experts written by hand in PyTorch, as fast as plain PyTorch lets one write it.

The factors A of all experts of a linear layer are one matrix of E·r rows and the factors B another: two products
for all experts, and one multiplication of the E·r activations with the gate's weights between them. One softmax gate
for each layer weighs the experts of its seven linear layers.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from models import LINEARS


class MixtureLinear(nn.Module):
    def __init__(self, base, experts, rank, weights):
        super().__init__()
        self.base, self.experts, self.rank, self.weights = base, experts, rank, weights
        self.a = nn.Parameter(torch.randn(experts * rank, base.in_features) / math.sqrt(base.in_features))
        self.b = nn.Parameter(torch.randn(base.out_features, experts * rank) * 0.01)

    def forward(self, x):
        u = F.linear(x, self.a).unflatten(-1, (self.experts, self.rank))
        u = (u * self.weights[0].unsqueeze(-1)).flatten(-2)
        return F.linear(x, self.base.weight) + F.linear(u, self.b)


class GatedLayer(nn.Module):
    """A layer that asks its gate before it computes."""

    def __init__(self, layer, hidden, experts, weights):
        super().__init__()
        self.layer, self.gate, self.weights = layer, nn.Linear(hidden, experts), weights

    def __getattr__(self, name):  # what the model asks its layers for
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, hidden_states, *arguments, **options):
        self.weights[0] = torch.softmax(self.gate(hidden_states), -1)
        return self.layer(hidden_states, *arguments, **options)


def attach(model, experts, rank):
    """Freezes the model and puts experts and gates into it."""
    model.requires_grad_(False)
    for index, layer in enumerate(model.model.layers):
        weights = [None]  # of the gate, for the layer's linears
        for part in (layer.self_attn, layer.mlp):
            for name in LINEARS:
                if hasattr(part, name):
                    setattr(part, name, MixtureLinear(getattr(part, name), experts, rank, weights))
        model.model.layers[index] = GatedLayer(layer, model.config.hidden_size, experts, weights)
    return model
