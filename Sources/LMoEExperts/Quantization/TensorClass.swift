import LMoECore

/// What a tensor is for, for decisions and tables about many of them.
public enum TensorClass: String, CaseIterable, Hashable, Sendable {
  case embedding
  case attention
  case mlp
  case head
  case other
  case expertA = "expert-a"
  case expertB = "expert-b"
  case expertOther = "expert-other"

  /// The class of a tensor of a base.
  init(base name: String) {
    let parts = name.split(separator: ".")
    if parts.contains("embed_tokens") {
      self = .embedding
    } else if parts.contains("lm_head") {
      self = .head
    } else if parts.contains("self_attn") {
      self = .attention
    } else if parts.contains("mlp") {
      self = .mlp
    } else {
      self = .other
    }
  }

  /// What a table calls it.
  public var title: String {
    switch self {
    case .embedding, .attention, .mlp, .head: rawValue
    case .other: "norms and others"
    case .expertA: "experts: A"
    case .expertB: "experts: B"
    case .expertOther: "experts: others"
    }
  }
}
