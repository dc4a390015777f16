import LMoEExperts

/// Qwen3: Llama with queries and keys normalised over the head before they turn, and a head width of its own.
enum Qwen3: Architecture {
  static func block(_ parts: LayerParts) throws -> DecoderBlock {
    DecoderBlock(
      name: parts.name,
      inputNorm: try parts.norm("input_layernorm"),
      attention: Attention(
        query: try parts.linear("self_attn.q_proj"),
        key: try parts.linear("self_attn.k_proj"),
        value: try parts.linear("self_attn.v_proj"),
        output: try parts.linear("self_attn.o_proj"),
        queryNorm: try parts.norm("self_attn.q_norm"),
        keyNorm: try parts.norm("self_attn.k_norm"),
        window: parts.window, headDimension: parts.model.headDimension, layer: parts.index),
      postAttentionNorm: try parts.norm("post_attention_layernorm"),
      feedForward: FeedForward(
        gate: try parts.linear("mlp.gate_proj"),
        up: try parts.linear("mlp.up_proj"),
        down: try parts.linear("mlp.down_proj")),
      gate: try parts.gate())
  }
}
