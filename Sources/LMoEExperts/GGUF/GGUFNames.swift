import LMoECore

/// Names of tensors in GGUF files and those that transformers' causal language models have.
enum GGUFNames {
  private static let ends: [(model: String, gguf: String)] = [
    ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
  ]

  private static let leaves: [(model: String, gguf: String)] = [
    ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
  ]

  /// GGUF's name of a module of a model (`model.layers.0.mlp.up_proj`); nil if it has none.
  static func gguf(module: String) -> String? {
    translated(module, layer: "model.layers.", to: "blk.", ends, leaves)
  }

  /// The model's name of what GGUF calls `module` (`blk.0.ffn_up`); nil if it has none.
  static func model(module: String) -> String? {
    translated(
      module, layer: "blk.", to: "model.layers.", ends.map { ($0.gguf, $0.model) },
      leaves.map { ($0.gguf, $0.model) })
  }

  /// GGUF's name of a tensor of a model, which ends in `.weight` or `.bias`.
  static func gguf(tensor: String) -> String? { tensor.translatingModule(gguf(module:)) }

  /// The model's name of a tensor of a GGUF file.
  static func model(tensor: String) -> String? { tensor.translatingModule(model(module:)) }

  private static func translated(
    _ module: String, layer: String, to other: String, _ ends: [(String, String)],
    _ leaves: [(String, String)]
  ) -> String? {
    if let end = ends.first(where: { $0.0.hasSameBytes(as: module) }) { return end.1 }
    guard module.utf8.starts(with: layer.utf8) else { return nil }
    let rest = module.utf8.dropFirst(layer.utf8.count)
    guard let dot = rest.firstIndex(of: UInt8(ascii: ".")) else { return nil }
    let number = String(decoding: rest[..<dot], as: UTF8.self)
    let leaf = String(decoding: rest[dot...].dropFirst(), as: UTF8.self)
    guard number.isPlainNumber, let match = leaves.first(where: { $0.0.hasSameBytes(as: leaf) }) else {
      return nil
    }
    return other + number + "." + match.1
  }
}

extension String {
  /// Whether the text is a number as this tool writes it: digits without leading zeros.
  fileprivate var isPlainNumber: Bool {
    (1...9).contains(utf8.count) && utf8.allSatisfy { (0x30...0x39).contains($0) }
      && (utf8.count == 1 || utf8.first != 0x30)
  }

  fileprivate func translatingModule(_ translate: (String) -> String?) -> String? {
    for suffix in [".weight", ".bias"] where hasByteSuffix(suffix) {
      return translate(String(decoding: utf8.dropLast(suffix.utf8.count), as: UTF8.self)).map { $0 + suffix }
    }
    return nil
  }
}
