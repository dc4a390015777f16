import LMoECore
public import LMoEFormat

/// What a checkpoint says about the texts of its model: `generation_config.json`, and `config.json` for what
/// that leaves out.
public struct TextSettings: Hashable, Sendable {
  /// The token that a text begins with.
  public var beginToken: Int?
  /// Tokens that end a text.
  public var endTokens: Set<Int> = []
  /// How tokens are chosen: at random only if the checkpoint says so.
  public var sampling = SamplingOptions.greedy

  /// Reads the files of a bundle's base.
  ///
  /// - Throws: `FormatError` where a file cannot be read. What is in it is not insisted on.
  public init(bundle: Bundle) throws {
    guard let bank = bundle.root.bank("base") else {
      throw FormatError(.noSuchBank, path: bundle.path, bank: "base")
    }
    func file(_ name: String) throws -> JSON {
      guard let bytes = try bundle.document("files/" + name, in: bank) else { return .null }
      return (try? JSON(parsing: bytes)) ?? .null
    }
    self.init(generation: try file("generation_config.json"), configuration: try file("config.json"))
  }

  /// Reads the two documents.
  init(generation: JSON, configuration: JSON) {
    func value(_ key: String) -> JSON? {
      [generation[key], configuration[key]].compactMap { $0 }.first { !$0.isNull }
    }
    beginToken = value("bos_token_id")?.int
    if let end = value("eos_token_id") {
      endTokens = Set(end.int.map { [$0] } ?? end.array?.compactMap(\.int) ?? [])
    }
    guard generation["do_sample"]?.bool == true else { return }
    func number(_ key: String, _ range: ClosedRange<Double>) -> Double? {
      generation[key]?.double.flatMap { range.contains($0) ? $0 : nil }
    }
    sampling.temperature = number("temperature", 0...100) ?? 1
    // transformers keeps the 50 most likely tokens unless told otherwise.
    sampling.topK = generation["top_k"]?.int ?? 50
    if let k = sampling.topK, k < 1 { sampling.topK = nil }
    sampling.topP = number("top_p", 0...1) ?? 1
    sampling.minP = number("min_p", 0...1) ?? 0
    sampling.repetitionPenalty = number("repetition_penalty", 0.01...100) ?? 1
  }
}
