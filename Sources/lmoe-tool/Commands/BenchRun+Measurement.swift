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
  /// Seconds for the prompt, its first token included, round by round.
  private(set) var promptSeconds: [Double] = []
  /// Seconds for one of the tokens that follow, stretch by stretch.
  private(set) var tokenSeconds: [Double] = []

  /// Tokens after which models that are compared take turns: what one of them costs more than the other is little
  /// beside what a machine shared with others is slower now than a second ago.
  static let stretch = 16

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
    options.context = max(prompt, depth + Self.written(tokens))
    self.options = options
  }

  /// The multiplications that the prompt takes.
  var multiplications: Model.Multiplications { model.multiplications(prompt: prompt.count) }

  /// Lets models read their prompts one after the other, then write their tokens in turns.
  ///
  /// What is not to be kept warms up.
  static func measure(_ runs: inout [InferenceMeasurement], in order: [Int], keeps: Bool) throws {
    for index in order {
      // What ran before has left its own in the caches.
      _ = try runs[index].run(runs[index].start, 1)
      let seconds = try runs[index].run(runs[index].prompt, 1).promptSeconds
      if keeps { runs[index].promptSeconds.append(seconds) }
    }
    var writing = try runs.map { try Writing($0.generator(of: written($0.tokens)), $0.start) }
    for number in 0..<stretches(runs[0].tokens) {
      for index in number % 2 == 0 ? order : order.reversed() {
        let tokens = min(stretch, runs[index].tokens - number * stretch)
        let seconds = try writing[index].write(tokens)
        if keeps { runs[index].tokenSeconds.append(seconds / Double(tokens)) }
      }
    }
  }

  /// Stretches that tokens are written in.
  private static func stretches(_ tokens: Int) -> Int { (tokens + stretch - 1) / stretch }

  /// The tokens that are written for so many to be timed: the prompt's, and one at each change of turns.
  private static func written(_ tokens: Int) -> Int { tokens + stretches(tokens) + 1 }

  /// A text that grows stretch by stretch.
  private struct Writing {
    private let generator: Generator
    private var texts: Generator.Texts

    init(_ generator: Generator, _ start: [Int]) throws {
      self.generator = generator
      texts = try generator.begin([start]) { _, _ in true }
      try generator.advance(&texts) { _, _ in true }
    }

    /// Seconds for so many tokens, after one that fetches the model's weights back into the caches.
    mutating func write(_ tokens: Int) throws -> Double {
      try generator.advance(&texts) { _, _ in true }
      let before = generator.measurement.seconds
      for _ in 0..<tokens { try generator.advance(&texts) { _, _ in true } }
      return generator.measurement.seconds - before
    }
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
    let generator = generator(of: tokens)
    try generator.run([prompt]) { _, _ in true }
    return generator.measurement
  }

  private func generator(of tokens: Int) -> Generator {
    var options = options
    options.tokens = tokens
    return Generator(model, options)
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
