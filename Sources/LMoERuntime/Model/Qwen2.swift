import LMoEExperts

/// Qwen2 and 2.5: Llama with biases on queries, keys and values, and windows in some layers where a model has them.
enum Qwen2: Architecture {
  static func block(_ parts: LayerParts) throws -> DecoderBlock {
    DecoderBlock(
      name: parts.name,
      inputNorm: try parts.norm("input_layernorm"),
      attention: Attention(
        query: try parts.linear("self_attn.q_proj"),
        key: try parts.linear("self_attn.k_proj"),
        value: try parts.linear("self_attn.v_proj"),
        output: try parts.linear("self_attn.o_proj"),
        window: parts.window, headDimension: parts.model.headDimension, layer: parts.index),
      postAttentionNorm: try parts.norm("post_attention_layernorm"),
      feedForward: FeedForward(
        gate: try parts.linear("mlp.gate_proj"),
        up: try parts.linear("mlp.up_proj"),
        down: try parts.linear("mlp.down_proj")),
      gate: try parts.gate())
  }
}
