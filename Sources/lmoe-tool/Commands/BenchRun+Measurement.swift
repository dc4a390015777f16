import LMoECore
import LMoEExperts
import LMoERuntime

/// How long a model takes, round by round.
struct InferenceMeasurement {
  let model: Model
  private let prompt: [Int]
  private let start: [Int]
  private let options: Generator.Options
  private let tokens: Int
  /// Seconds for the prompt, its first token included.
  private(set) var promptSeconds: [Double] = []
  /// Seconds for one of the tokens that follow.
  private(set) var tokenSeconds: [Double] = []

  /// - Parameters:
  ///   - prompt: Tokens that are read at once.
  ///   - tokens: Tokens that are written.
  ///   - depth: Tokens that are there before.
  ///   - cache: How keys and values are kept.
  init(_ model: Model, prompt: Int, tokens: Int, _ depth: Int, _ cache: KVCache.Precision) {
    self.model = model
    self.tokens = tokens
    var random = RandomSource(seed: 0)
    let vocabulary = model.configuration.vocabularySize
    self.prompt = (0..<prompt).map { _ in Int.random(in: 0..<vocabulary, using: &random) }
    start = (0..<depth).map { _ in Int.random(in: 0..<vocabulary, using: &random) }
    var options = Generator.Options()
    options.sampling = .greedy
    options.cache = cache
    options.context = max(prompt, depth + tokens)
    self.options = options
  }

  /// The number of multiplications that the prompt takes.
  var multiplications: Int { model.multiplications(prompt: prompt.count) }

  /// Runs once; what is not to be kept warms up.
  mutating func measure(keeps: Bool) throws {
    let reading = try run(prompt, 1)
    let writing = try run(start, tokens + 1)
    guard keeps else { return }
    promptSeconds.append(reading.promptSeconds)
    tokenSeconds.append(writing.seconds / Double(tokens))
  }

  private func run(_ prompt: [Int], _ tokens: Int) throws -> Generator.Measurement {
    var options = options
    options.tokens = tokens
    let generator = Generator(model, options)
    try generator.run([prompt]) { _, _ in true }
    return generator.measurement
  }
}

/// What this machine can do at best.
struct InferenceFloors {
  /// Bytes read from memory a second.
  let bytes: Double
  /// Multiplications and additions of matrices a second.
  let operations: Double

  init(on pool: WorkerPool) {
    bytes = MemoryBandwidth.measure(on: pool)
    operations = MatrixThroughput.measure(on: pool)
  }
}

/// Tokens a second of a model, and what the machine allows.
struct InferenceRates {
  /// Of the prompt.
  let prefill: Double
  /// Of the tokens that follow.
  let decode: Double
  /// If a prompt took only its multiplications.
  let prefillFloor: Double
  /// If a token took only the reading of the weights.
  let decodeFloor: Double
  /// Bytes that are read for a token.
  let weightBytes: Int

  init(_ measured: InferenceMeasurement, prompt: Int, _ floors: InferenceFloors) {
    prefill = Double(prompt) / Self.median(measured.promptSeconds)
    decode = 1 / Self.median(measured.tokenSeconds)
    weightBytes = measured.model.weightBytes
    prefillFloor = Double(prompt) * floors.operations / (2 * Double(measured.multiplications))
    decodeFloor = floors.bytes / Double(max(1, weightBytes))
  }

  var json: JSON {
    [
      "prefill_tokens_s": .double(prefill), "prefill_share": .double(prefill / prefillFloor),
      "decode_tokens_s": .double(decode), "decode_share": .double(decode / decodeFloor),
      "weight_bytes": .integer(weightBytes),
    ]
  }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }
}
