import LMoEExperts

/// Llama 2 and 3, SmolLM2, TinyLlama: pre-norm decoder with grouped-query attention, rotary positions and SwiGLU.
enum Llama: Architecture {
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
