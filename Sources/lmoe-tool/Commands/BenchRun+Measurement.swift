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

  /// The multiplications that the prompt takes.
  var multiplications: Model.Multiplications { model.multiplications(prompt: prompt.count) }

  /// Runs once; what is not to be kept warms up.
  mutating func measure(keeps: Bool) throws {
    // What ran before has left its own in the caches.
    _ = try run(start, 1)
    let reading = try run(prompt, 1)
    let writing = try run(start, tokens + 1)
    guard keeps else { return }
    promptSeconds.append(reading.promptSeconds)
    tokenSeconds.append(writing.seconds / Double(tokens))
  }

  /// Runs once more, and says what the time was spent on: seconds of the prompt, and of a token.
  func stages() throws -> InferenceStages {
    let (prompt, _) = try model.timed { _ = try run(self.prompt, 1) }
    var measured: Generator.Measurement?
    let (_, tokens) = try model.timed { measured = try run(start, self.tokens + 1) }
    let count = Double(self.tokens)
    let seconds = tokens.mapValues { $0 / count }
    let total = (measured?.seconds ?? 0) / count
    return InferenceStages(prompt: prompt, token: seconds, tokenRest: total - seconds.values.reduce(0, +))
  }

  private func run(_ prompt: [Int], _ tokens: Int) throws -> Generator.Measurement {
    var options = options
    options.tokens = tokens
    let generator = Generator(model, options)
    try generator.run([prompt]) { _, _ in true }
    return generator.measurement
  }
}

/// What the time of a model is spent on, in seconds.
struct InferenceStages {
  /// Of the prompt.
  let prompt: [StageTimer.Stage: Double]
  /// Of a token.
  let token: [Model.DecodeStage: Double]
  /// Of a token outside the layers: its embedding, its choice.
  let tokenRest: Double

  var json: JSON {
    var stages = Model.DecodeStage.allCases.map { ($0.rawValue, JSON.double(token[$0] ?? 0)) }
    stages.append(("rest", .double(tokenRest)))
    return [
      "prompt": .object(StageTimer.Stage.inPrompts.map { ($0.rawValue, .double(prompt[$0] ?? 0)) }),
      "token": .object(stages),
    ]
  }
}

extension StageTimer.Stage {
  /// Those that a prompt has.
  static var inPrompts: [StageTimer.Stage] { [.products, .attention, .head, .gates, .passes] }
}

/// What this machine can do at best, round by round: it is shared with others, and so is its memory.
///
/// Memory is read as a token reads it: as many bytes as the model has weights, again and again, from the caches what
/// these keep.
struct InferenceFloors {
  private let pool: WorkerPool
  private let model: Model
  /// Bytes read from memory a second.
  private(set) var bytes: [Double] = []
  /// Multiplications and additions a second that the processor does in registers.
  private(set) var multiplyAdds: [Double] = []
  /// The same that large products of matrices get to: of floats, and where the model's weights are multiplied as
  /// integers, of those.
  private(set) var floats: [Double] = []
  private(set) var integers: [Double] = []

  init(of model: Model, on pool: WorkerPool) { (self.model, self.pool) = (model, pool) }

  mutating func measure() {
    let share = min(max(model.weightBytes / pool.count, 1 << 20), 512 << 20)
    bytes.append(MemoryBandwidth.measure(on: pool, bytes: share, rounds: 3))
    multiplyAdds.append(MultiplyAddPeak.measure(on: pool))
    let pace = MatrixThroughput.measure(on: pool, rounds: 3)
    floats.append(pace)
    integers.append(MatrixThroughput.measureIntegers(of: model, on: pool, rounds: 3) ?? pace)
  }
}

/// Tokens a second of a model, and what the machine allows.
struct InferenceRates {
  /// Of the prompt.
  let prefill: Double
  /// Of the tokens that follow.
  let decode: Double
  /// The part of a prompt's time that its multiplications would take in registers, all of them as floats; of integers
  /// a processor may do more.
  let prefillShare: Double
  /// The part that they would take as large products of the same types, and nothing else.
  let prefillProductsShare: Double
  /// The part of a token's time that reading the weights would take alone.
  let decodeShare: Double
  /// Bytes that are read for a token.
  let weightBytes: Int

  init(_ measured: InferenceMeasurement, prompt: Int, _ floors: InferenceFloors) {
    prefill = Double(prompt) / measured.promptSeconds.median
    decode = 1 / measured.tokenSeconds.median
    weightBytes = measured.model.weightBytes
    let (work, bytes) = (measured.multiplications, Double(weightBytes))
    let (ofIntegers, ofFloats) = (2 * Double(work.integers), 2 * Double(work.floats))
    prefillShare =
      zip(measured.promptSeconds, floors.multiplyAdds).map { (ofIntegers + ofFloats) / $1 / $0 }.median
    prefillProductsShare =
      measured.promptSeconds.indices.map {
        (ofIntegers / floors.integers[$0] + ofFloats / floors.floats[$0]) / measured.promptSeconds[$0]
      }.median
    decodeShare = zip(measured.tokenSeconds, floors.bytes).map { bytes / $1 / $0 }.median
  }

  var json: JSON {
    [
      "prefill_tokens_s": .double(prefill), "prefill_floor_share": .double(prefillShare),
      "prefill_products_share": .double(prefillProductsShare),
      "decode_tokens_s": .double(decode), "decode_share": .double(decodeShare),
      "weight_bytes": .integer(weightBytes),
    ]
  }
}

extension [Double] {
  /// The one in the middle, or the mean of the two; of none, NaN.
  var median: Double {
    let sorted = sorted()
    return isEmpty ? .nan : (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
  }
}
