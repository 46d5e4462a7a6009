"""Model FLOP of a decoder-only transformer by its sizes, as PaLM and nanoGPT count them.

Per token and forward pass a parameter costs one multiply-add, and attention one for each dim of each head of
each layer and each position of the context, twice (scores, and weighting the values)::

    forward  = 2*N + 4*L*H*Q*T          training = 3 * forward = 6*N + 12*L*H*Q*T

N parameters, L layers, H heads, Q dims per head, T context. The backward pass costs two forwards;
recomputation is not counted; the causal mask is not discounted.

Source: PaLM (arXiv:2204.02311), appendix B; ``estimate_mfu`` in nanoGPT's model.py.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TransformerShape", "gpt_parameters"]


@dataclass(frozen=True, slots=True)
class TransformerShape:
    """Sizes of a decoder-only transformer."""

    parameters: int
    """N: parameters that multiply something. nanoGPT leaves out the position embedding, and keeps the token
    embedding because it is tied to the output layer; see ``gpt_parameters``."""
    layers: int
    heads: int
    head_dim: int
    """Q: width / heads."""
    context: int
    """T: tokens that one token attends to: the length of a training sequence."""

    @property
    def forward_flop_per_token(self) -> int:
        """2*N + 4*L*H*Q*T."""
        return 2 * self.parameters + 4 * self.layers * self.heads * self.head_dim * self.context

    @property
    def training_flop_per_token(self) -> int:
        """6*N + 12*L*H*Q*T: forward and backward."""
        return 3 * self.forward_flop_per_token

    def step_flop(self, sequences: int) -> int:
        """Model FLOP of a training step over that many sequences (all micro-batches and ranks together)."""
        return self.training_flop_per_token * self.context * sequences


def gpt_parameters(layers: int, width: int, vocabulary: int, *, bias: bool = True) -> int:
    """N of a GPT-2 as nanoGPT builds it: ``get_num_params(non_embedding=True)``.

    Counts the token embedding (shared with the output layer, so once), per layer the attention (4*width^2),
    the MLP (8*width^2) and two layer norms, and the last layer norm. The position embedding is left out.

    Args:
        layers: number of blocks.
        width: size of the residual stream (``n_embd``).
        vocabulary: tokens, as padded in the embedding.
        bias: whether linear layers and layer norms have biases.

    """
    matrices = 12 * width * width
    norms = 2 * width
    biases = (9 * width + 2 * width) if bias else 0  # qkv 3, projection 1, MLP 4 + 1; two norms
    last_norm = width * (1 + bias)
    return vocabulary * width + layers * (matrices + norms + biases) + last_norm
