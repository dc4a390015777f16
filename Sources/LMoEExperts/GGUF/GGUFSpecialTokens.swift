import LMoECore
import LMoEFormat

/// The special tokens of a base, from its tokenizer and its configurations.
struct GGUFSpecialTokens {
  private(set) var keys: [(key: String, value: GGUFValue)] = []
  private(set) var notes: [String] = []

  /// Roles that llama.cpp reads, by the key in `tokenizer_config.json`.
  private static let roles: [(role: String, key: String)] = [
    ("bos", "bos_token_id"), ("eos", "eos_token_id"), ("unk", "unknown_token_id"),
    ("sep", "seperator_token_id"), ("pad", "padding_token_id"), ("mask", "mask_token_id"),
  ]

  /// Finds the tokens.
  ///
  /// - Parameters:
  ///   - tokenizer: `tokenizer_config.json`.
  ///   - model: `config.json`.
  ///   - generation: `generation_config.json`.
  init(_ parts: TokenizerParts, count: Int, tokenizer: JSON?, model: JSON?, generation: JSON?) {
    var numbers: [String: Int] = [:]
    for (role, _) in Self.roles {
      let named = tokenizer?[role + "_token"]
      let text = named?.string ?? named?["content"]?.string
      let declared = model?[role + "_token_id"]
      let number = text.flatMap(parts.number) ?? declared?.int ?? declared?.array?.first?.int
      if let number, (0..<count).contains(number) { numbers[role] = number }
    }
    // What the tokenizer puts around a text is what counts.
    let (before, after) = (parts.before, parts.after)
    if before.count > 1 || after.count > 1 {
      notes.append("llama.cpp puts one token before and after a text, and the tokenizer more")
    }
    if let start = before.first { numbers["bos"] = start }
    let ends = Self.ends(generation, model).filter { (0..<count).contains($0) }
    if let end = after.first {
      numbers["eos"] = end
    } else if numbers["eos"] == nil {
      numbers["eos"] = ends.first
    }
    for (role, key) in Self.roles {
      if let number = numbers[role] { add(key, .u32(UInt32(number))) }
    }
    let others = ends.filter { $0 != numbers["eos"] }
    for (key, number) in zip(["eot_token_id", "eom_token_id"], others) { add(key, .u32(UInt32(number))) }
    if others.count > 2 { notes.append("llama.cpp stops at three of the tokens that end a text, of more") }
    add("add_bos_token", .bool(!before.isEmpty))
    add("add_eos_token", .bool(!after.isEmpty))
  }

  private mutating func add(_ key: String, _ value: GGUFValue) {
    keys.append(("tokenizer.ggml." + key, value))
  }

  /// The tokens that end a text.
  private static func ends(_ generation: JSON?, _ model: JSON?) -> [Int] {
    let value = generation?["eos_token_id"] ?? model?["eos_token_id"] ?? .null
    return value.array?.compactMap(\.int) ?? [value.int].compactMap(\.self)
  }
}
