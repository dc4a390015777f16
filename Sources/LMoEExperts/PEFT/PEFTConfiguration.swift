import LMoECore

/// What an `adapter_config.json` says that changes numbers.
struct PEFTConfiguration: Sendable {
  /// Which of the base's biases were trained along.
  enum Bias: String, Sendable {
    case none
    case all
    case loraOnly = "lora_only"
  }

  let path: String
  let rank: Int
  let alpha: Double
  let usesRSLoRA: Bool
  let usesDoRA: Bool
  let hasLoRABias: Bool
  let bias: Bias
  let rankPattern: [(key: ModulePattern, rank: Int)]
  let alphaPattern: [(key: ModulePattern, alpha: Double)]
  let modulesToSave: [String]
  /// Token rows that were trained, by module; an empty name stands for the input embedding.
  let tokenIndices: [(module: String, indices: [Int])]
  /// Layers [start, end) of the base in the order in which they are stacked anew; empty if they are not.
  let layerReplication: [Range<Int>]
  let tiesWeights: Bool
  let targets: PEFTTargets
  let baseName: String?
  /// Keys that this version of the tool has never heard of; they are carried, and named to the user.
  let unknownKeys: [String]

  init(_ json: JSON, path: String) throws {
    let reader = try ConfigurationReader(json, path: path)
    self.path = path
    unknownKeys = try PEFTKeys.check(reader)
    // Null is not a default: a value that changes numbers is never guessed.
    for key in ["r", "lora_alpha"] where reader.isNull(key) { throw reader.invalid("\(key) is null") }
    guard let rank = Int(exactly: try reader.number("r") ?? 8), (1...(1 << 24)).contains(rank) else {
      throw reader.invalid("r is not a positive whole number")
    }
    self.rank = rank
    alpha = try reader.number("lora_alpha") ?? 8
    usesRSLoRA = try reader.flag("use_rslora") ?? false
    usesDoRA = try reader.flag("use_dora") ?? false
    hasLoRABias = try reader.flag("lora_bias") ?? false
    if usesDoRA, hasLoRABias {
      throw ExpertError(
        .unsupportedAdapter, path: path, name: "lora_bias", expected: "PEFT has no DoRA with a bias on B",
        found: "true beside use_dora")
    }
    let biasText = try reader.text("bias") ?? "none"
    guard let bias = Bias(rawValue: biasText) else {
      throw reader.invalid("bias is \(JSON.string(biasText).shortText), not none, all or lora_only")
    }
    self.bias = bias
    rankPattern = try Self.patterns(reader, "rank_pattern").map { pattern, value in
      guard let rank = value.int, (1...(1 << 24)).contains(rank) else {
        throw reader.invalid("a rank in rank_pattern is not positive")
      }
      return (pattern, rank)
    }
    alphaPattern = try Self.patterns(reader, "alpha_pattern").map { pattern, value in
      guard let alpha = value.double else {
        throw reader.invalid("an alpha in alpha_pattern is not a number")
      }
      return (pattern, alpha)
    }
    modulesToSave = try reader.texts("modules_to_save") ?? []
    guard modulesToSave.count <= 4096 else {
      throw reader.invalid("modules_to_save has more than 4,096 names")
    }
    tokenIndices = try Self.tokens(reader)
    layerReplication = try Self.replication(reader)
    tiesWeights = try reader.flag("ensure_weight_tying") ?? false
    targets = try PEFTTargets(reader, modulesToSave: modulesToSave)
    baseName = reader.value("base_model_name_or_path")?.string
  }

  private static func patterns(
    _ reader: ConfigurationReader, _ key: String
  ) throws -> [(ModulePattern, JSON)] {
    guard let object = try reader.object(key) else { return [] }
    guard object.members.count <= 4096 else { throw reader.invalid("\(key) has more than 4,096 keys") }
    var size = 0
    return try object.members.map { member in
      do throws(PatternError) {
        let pattern = try ModulePattern(suffixKey: member.key)
        size += pattern.size
        guard size <= 1_000_000 else {
          throw PatternError(what: "too many steps with those before it", position: 0)
        }
        return (pattern, member.value)
      } catch {
        throw ExpertError(
          .unsupportedPattern, path: reader.path, name: member.key, expected: key,
          found: "it has \(error.what)")
      }
    }
  }

  private static func tokens(
    _ reader: ConfigurationReader
  ) throws -> [(module: String, indices: [Int])] {
    let key = "trainable_token_indices"
    guard let value = reader.value(key), !value.isOff else { return [] }
    guard let object = value.object else { return [("", try reader.integers(key) ?? [])] }
    let inner = reader.inside(object, of: key)
    return try object.members.map { ($0.key, try inner.integers($0.key) ?? []) }
  }

  private static func replication(_ reader: ConfigurationReader) throws -> [Range<Int>] {
    guard let value = reader.value("layer_replication"), !value.isOff else { return [] }
    let ranges = (value.array ?? []).compactMap { pair -> Range<Int>? in
      guard let pair = pair.array, pair.count == 2, let start = pair[0].int, let end = pair[1].int,
        start >= 0, end >= start, end <= 10_000
      else { return nil }
      return start..<end
    }
    guard let count = value.array?.count, ranges.count == count, count <= 10_000,
      ranges.reduce(0, { $0 + $1.count }) <= 10_000
    else {
      throw reader.invalid("layer_replication is not a list of [start, end) pairs")
    }
    return ranges
  }

  /// Refuses patterns that would take minutes to compare with so many names: each may take as many steps a
  /// character as it is long.
  func requireFewSteps(forNames bytes: Int) throws {
    let size = (rankPattern.map(\.key) + alphaPattern.map(\.key)).reduce(0) { $0 + $1.cost }
    guard size.multipliedReportingOverflow(by: bytes).partialValue <= 1_000_000_000,
      !size.multipliedReportingOverflow(by: bytes).overflow
    else {
      throw ExpertError(
        .invalidConfiguration, path: path,
        found: "rank_pattern and alpha_pattern are too much work for this many modules; write module names")
    }
  }

  /// Rank, alpha and scaling of a module: the first matching pattern wins, the scaling uses both overridden
  /// values, s = α/r or, for rsLoRA, α/√r.
  ///
  /// - Parameter module: Its path as PEFT had it, without `base_model.model.`.
  func resolve(_ module: String) -> (rank: Int, alpha: Double, scaling: Double) {
    let rank = rankPattern.first { $0.key.matches(module) }?.rank ?? rank
    let alpha = alphaPattern.first { $0.key.matches(module) }?.alpha ?? alpha
    return (rank, alpha, alpha / (usesRSLoRA ? Double(rank).squareRoot() : Double(rank)))
  }
}
