import LMoECore

/// What a tensor of an adapter's file is, told from its name in any spelling that PEFT ever wrote.
struct PEFTTensorName: Hashable, Sendable {
  /// What it is to its module.
  enum Role: Hashable, Sendable {
    case a
    case b
    case biasOfB
    case magnitude
    case embeddingA
    case embeddingB
    /// New rows of an embedding.
    case tokens
    /// A whole tensor of the base: a saved module, a trained bias, or the copy of an adapted layer.
    case whole(leaf: String, Origin)
    /// What a wrapper kept and nobody uses.
    case unused(leaf: String)
  }

  /// Where a whole tensor stood.
  enum Origin: String, Hashable, Sendable {
    case plain = ""
    case baseLayer = "base_layer."
    case tokenAdapter = "token_adapter.base_layer."
  }

  /// The module's path, without `base_model.model.`.
  let module: String
  /// What it is.
  let role: Role
  /// Whether it was written from inside a `modules_to_save` wrapper.
  let isFromWrapper: Bool

  static let prefix = "base_model.model."

  /// Components that wrappers leave in names.
  private static let wrappers: Set<String> = [
    "_fsdp_wrapped_module", "_orig_mod", "_checkpoint_wrapped_module",
  ]

  /// Reads a name.
  ///
  /// - Returns: nil if it is none that PEFT writes.
  init?(_ name: String) {
    let text = name.hasPrefix(Self.prefix) ? String(name.dropFirst(Self.prefix.count)) : name
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }.filter { !Self.wrappers.contains($0) }
    let markers: Set<String> = [
      "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "token_adapter",
      "modules_to_save", "original_module", "base_layer",
    ]
    guard let place = parts.firstIndex(where: markers.contains) else {
      guard parts.count >= 2, let leaf = parts.last, ["weight", "bias"].contains(leaf) else { return nil }
      self.init(parts.dropLast(), .whole(leaf: leaf, .plain))
      return
    }
    let rest = Array(parts[(place + 1)...])
    let module = parts[..<place]
    guard !module.isEmpty, let role = Self.role(parts[place], rest) else { return nil }
    self.init(module, role, isFromWrapper: parts[place] == "modules_to_save")
  }

  private init(_ module: ArraySlice<String>, _ role: Role, isFromWrapper: Bool = false) {
    self.module = module.joined(separator: ".")
    self.role = role
    self.isFromWrapper = isFromWrapper
  }

  /// What stands for a marker and what follows it; in between there may be the adapter's name.
  private static func role(_ marker: String, _ rest: [String]) -> Role? {
    /// Whether `rest` is `leaf`, or a name and `leaf`.
    func ends(_ leaf: String?) -> Bool {
      guard let leaf else { return rest.count <= 1 }
      return rest.last == leaf && rest.count <= 2
    }
    switch marker {
    case "lora_A": return ends("weight") ? .a : nil
    case "lora_B": return ends("weight") ? .b : ends("bias") ? .biasOfB : nil
    case "lora_embedding_A": return ends(nil) ? .embeddingA : nil
    case "lora_embedding_B": return ends(nil) ? .embeddingB : nil
    case "lora_magnitude_vector": return ends(nil) || ends("weight") ? .magnitude : nil
    case "token_adapter":
      if rest.elementsEqual(["base_layer", "weight"]) { return .whole(leaf: "weight", .tokenAdapter) }
      return rest.first == "trainable_tokens_delta" && rest.count <= 2 ? .tokens : nil
    case "modules_to_save":
      guard let leaf = rest.last, ["weight", "bias"].contains(leaf), rest.count <= 2 else { return nil }
      return .whole(leaf: leaf, .plain)
    default:
      guard rest.count == 1, let leaf = rest.first, ["weight", "bias"].contains(leaf) else { return nil }
      return marker == "base_layer" ? .whole(leaf: leaf, .baseLayer) : .unused(leaf: leaf)
    }
  }

  /// The name that PEFT writes today, for a module of the given path.
  func canonical(module: String) -> String {
    let suffix =
      switch role {
      case .a: "lora_A.weight"
      case .b: "lora_B.weight"
      case .biasOfB: "lora_B.bias"
      case .magnitude: "lora_magnitude_vector"
      case .embeddingA: "lora_embedding_A"
      case .embeddingB: "lora_embedding_B"
      case .tokens: "token_adapter.trainable_tokens_delta"
      case .whole(let leaf, let origin): origin.rawValue + leaf
      case .unused(let leaf): "original_module." + leaf
      }
    return Self.prefix + module + "." + suffix
  }
}
