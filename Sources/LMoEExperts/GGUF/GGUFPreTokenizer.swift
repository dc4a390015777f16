import LMoECore

/// How llama.cpp splits text before byte-level BPE, by its name of the kind; only kinds that this tool has too.
///
/// llama.cpp's converter tells the kind from a hash of what a tokenizer makes of one text, which knows the
/// tokenizers of the day. Here it is told from how the tokenizer is built, which holds for any vocabulary.
struct GGUFPreTokenizer: Hashable {
  /// llama.cpp's name.
  let name: String
  /// The regular expression in `tokenizer.json`; nil for that of the component ByteLevel.
  let regex: String?
  /// Whether every digit stands alone before that.
  let isolatesDigits: Bool
  /// Whether a word that is a token is taken whole.
  let ignoresMerges: Bool
  /// Whether a start token is added unless the file says otherwise.
  var addsStart = false

  private static let contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  private static let lines = #"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let other = #"| ?[^\s\p{L}\p{N}]+"#

  private static func modern(_ digits: String) -> String {
    contraction + #"|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits + other + lines
  }

  private static func cased(_ suffix: String, _ digits: String) -> String {
    let lead = #"[^\r\n\p{L}\p{N}]?"#
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
    return "\(lead)\(upper)*\(lower)+\(suffix)|\(lead)\(upper)+\(lower)*\(suffix)|\(digits)\(other)"
      + #"[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  fileprivate static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// The kinds; of those that are alike, the one to write comes first.
  static let all: [GGUFPreTokenizer] = {
    let three = #"\p{N}{1,3}"#
    let one = #"\p{N}"#
    func kinds(
      _ names: [String], _ regex: String?, digits: Bool = false, ignoresMerges: Bool = false,
      addsStart: Bool = false
    ) -> [GGUFPreTokenizer] {
      names.map {
        GGUFPreTokenizer(
          name: $0, regex: regex, isolatesDigits: digits, ignoresMerges: ignoresMerges, addsStart: addsStart)
      }
    }
    return kinds(["llama-bpe", "llama3", "llama-v3"], modern(three), ignoresMerges: true, addsStart: true)
      + kinds(["smaug-bpe", "dbrx"], modern(three))
      + kinds(["qwen2", "stablelm2", "hunyuan", "megrez", "deepseek-r1-qwen"], modern(one))
      + kinds(["tekken"], cased("", one), ignoresMerges: true, addsStart: true)
      + kinds(["gpt-4o", "llama4"], cased(contraction + "?", three))
      + kinds(["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"], nil, digits: true)
      + kinds(["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion"], nil)
  }()

  /// The kind with llama.cpp's name.
  static func named(_ name: String) -> GGUFPreTokenizer? { all.first { $0.name.hasSameBytes(as: name) } }
}

extension GGUFPreTokenizer {
  /// The kind that splits as `tokenizer.json` says.
  ///
  /// - Parameters:
  ///   - json: The section `pre_tokenizer`.
  ///   - ignoresMerges: The model's `ignore_merges`.
  /// - Returns: nil if llama.cpp has none that does.
  init?(_ json: JSON, ignoresMerges: Bool) {
    let parts = json["type"]?.string == "Sequence" ? json["pretokenizers"]?.array ?? [] : [json]
    guard let last = parts.last, last["type"]?.string == "ByteLevel",
      last["add_prefix_space"]?.bool == false, parts.count <= 2
    else { return nil }
    var regex: String?
    var isolatesDigits = false
    let usesRegex = last["use_regex"]?.bool ?? true
    if parts.count == 2 {
      switch parts[0]["type"]?.string {
      case "Digits": isolatesDigits = parts[0]["individual_digits"]?.bool ?? false
      case "Split":
        guard parts[0]["behavior"]?.string == "Isolated", parts[0]["invert"]?.bool ?? false == false else {
          return nil
        }
        regex = parts[0]["pattern"]?["Regex"]?.string
        if let text = regex, text.hasSameBytes(as: Self.gpt2) { regex = nil }
      default: return nil
      }
      guard isolatesDigits != (parts[0]["type"]?.string == "Split"), usesRegex == isolatesDigits else {
        return nil
      }
    } else if !usesRegex {
      return nil
    }
    let match = Self.all.first {
      $0.regex?.utf8.elementsEqual((regex ?? "").utf8) ?? (regex == nil)
        && $0.isolatesDigits == isolatesDigits
        && $0.ignoresMerges == ignoresMerges
    }
    guard let match else { return nil }
    self = match
  }

  /// The section `pre_tokenizer` that splits so.
  var json: JSON {
    func byteLevel(_ usesRegex: Bool) -> JSON {
      [
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": .bool(usesRegex),
      ]
    }
    let first: JSON
    if isolatesDigits {
      first = ["type": "Digits", "individual_digits": true]
    } else if let regex {
      first = [
        "type": "Split", "pattern": ["Regex": .string(regex)], "behavior": "Isolated", "invert": false,
      ]
    } else {
      return byteLevel(true)
    }
    return ["type": "Sequence", "pretokenizers": [first, byteLevel(isolatesDigits)]]
  }
}
