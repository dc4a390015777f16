private import CLMoEKernels
import LMoECore
public import LMoEExperts
import LMoEFormat

/// A base with a choice of experts, ready to compute logits.
///
/// One thread at a time uses it; it shares its work out among the workers of its base's pool.
public final class Model {
  /// The base, with its weights.
  public let base: LoadedBase
  /// Which experts take part.
  public let selection: Selection
  /// The experts that take part, in the order of the gate's columns.
  public let experts: [String]
  /// What the numbers depend on; an expert may have stacked the layers anew.
  public var configuration: ModelConfiguration { base.description.model }
  /// The number of layers.
  public var layerCount: Int { blocks.count }

  let compute: Compute
  let workspace: Workspace
  let embedding: Embedding
  let blocks: [DecoderBlock]
  let norm: RMSNorm
  let head: Linear
  private let rotary: Rotary
  private let angleTable: AngleTable
  /// The gate that serves the whole model, if that is its scope.
  let gate: GateInstance?
  /// Columns of the gate's weights: the experts, and the null expert where there is one.
  public let gateColumns: [String]

  /// Rows that go through the layers together.
  static let passRows = 512

  /// Puts the model together.
  ///
  /// - Throws: `RuntimeError` for experts that cannot be mixed, gates that cannot be run, or damaged cards;
  ///   `ExpertError`, `FormatError`.
  public convenience init(_ base: LoadedBase, selection: Selection = .base) throws {
    let mixture = try Mixture(selection, of: base)
    try self.init(
      base, selection: selection, mixture: mixture,
      experts: LoadedExperts(mixture.records, in: base.bundle, on: base.pool),
      compute: Compute(pool: base.pool, usesIntegers: true))
  }

  init(
    _ base: LoadedBase, selection: Selection, mixture: Mixture, experts loaded: LoadedExperts,
    compute: Compute
  ) throws {
    self.base = base
    self.selection = selection
    let builder = ModelBuilder(
      base: base, experts: loaded, isOutright: mixture.isOutright, gate: mixture.gate, compute: compute)
    experts = mixture.records.map(\.name)
    gateColumns = mixture.columns
    embedding = try builder.embedding()
    blocks = try builder.blocks()
    norm = try builder.norm("model.norm")
    head = try builder.head()
    gate = try mixture.gate?.global(inputs: base.description.model.hiddenSize)
    rotary = Rotary(base.description.model)
    angleTable = AngleTable(rotary)
    self.compute = compute
    workspace = Workspace()
  }

  /// Keys and values for one text.
  ///
  /// - Parameter capacity: The number of tokens there is room for at first.
  public func makeCache(_ precision: KVCache.Precision = .f32, capacity: Int = 256) -> KVCache {
    let model = configuration
    return KVCache(
      layers: layerCount, heads: model.keyValueHeadCount, width: model.headDimension, precision: precision,
      capacity: capacity)
  }

  /// Takes down what the gates decide in calls of `forward`.
  public func makeRecorder() -> RoutingRecorder { RoutingRecorder(columns: gateColumns) }

  // MARK: Forward

  /// Tokens that follow what a cache holds.
  public struct Segment {
    /// The tokens' ids; at least one.
    public let tokens: [Int]
    /// The keys and values of what came before, which those of these tokens join.
    public let cache: KVCache

    /// Pairs them.
    public init(_ tokens: some Sequence<Int>, _ cache: KVCache) {
      (self.tokens, self.cache) = (Array(tokens), cache)
    }
  }

  /// Which tokens' logits are wanted.
  public enum Wanted: Sendable {
    /// Of the last token of each segment.
    case last
    /// Of every token.
    case all
  }

  /// What a model makes of one token.
  public struct Output {
    /// The number of the segment.
    public let segment: Int
    /// The position in the text.
    public let position: Int
    /// The logits of what comes next [vocabulary]; valid inside the call.
    public let logits: Logits
    /// The last hidden state after the final norm [hidden]; valid inside the call.
    public let hidden: Logits
  }

  /// Computes logits for tokens of one text or several.
  ///
  /// - Parameters:
  ///   - segments: The texts' next tokens; of different lengths as they come.
  ///   - wanted: Which logits.
  ///   - recorder: Takes down what the gates decide.
  ///   - means: Takes the means of what gates look at.
  ///   - body: Takes each token's logits, in order within a segment.
  /// - Throws: `RuntimeError` with `token-out-of-range`, `prompt-too-long` or `non-finite`, what `body` throws.
  public func forward(
    _ segments: [Segment], wanting wanted: Wanted = .last, recorder: RoutingRecorder? = nil,
    means: InputMeans? = nil, _ body: (Output) throws -> Void
  ) throws {
    try requireTokens(segments.lazy.flatMap(\.tokens))
    let totals = segments.map { $0.cache.count + $0.tokens.count }
    for (segment, total) in zip(segments, totals) { segment.cache.reserve(total) }
    var step: [Piece] = []
    var rows = 0
    for (index, segment) in segments.enumerated() {
      var start = 0
      while start < segment.tokens.count {
        let count = min(segment.tokens.count - start, Self.passRows - rows)
        step.append(
          Piece(
            segment: index, tokens: Array(segment.tokens[start..<start + count]), cache: segment.cache,
            total: totals[index]))
        (start, rows) = (start + count, rows + count)
        if rows == Self.passRows {
          try self.step(step, wanted, recorder, means, body)
          (step, rows) = ([], 0)
        }
      }
    }
    if rows > 0 { try self.step(step, wanted, recorder, means, body) }
  }

  /// Makes sure that the model has these tokens.
  ///
  /// - Throws: `RuntimeError` with `token-out-of-range`.
  func requireTokens(_ tokens: some Sequence<Int>) throws {
    for token in tokens where !(0..<configuration.vocabularySize).contains(token) {
      throw RuntimeError(
        .tokenOutOfRange, path: base.bundle.path, expected: "0 to \(configuration.vocabularySize - 1)",
        found: "\(token)")
    }
  }

  /// Tokens of one segment in one step.
  private struct Piece {
    let segment: Int
    let tokens: [Int]
    let cache: KVCache
    /// The length of the whole text.
    let total: Int
  }

  private func step(
    _ step: [Piece], _ wanted: Wanted, _ recorder: RoutingRecorder?, _ means: InputMeans?,
    _ body: (Output) throws -> Void
  ) throws {
    let pass = makePass(step, recorder, means)
    let x = workspace.residual.rows(pass.places.count, configuration.hiddenSize)
    embedding.forward(step.flatMap(\.tokens), into: x)
    if let means, means.scope == .global { means.add(x, at: Gate.globalPlace) }
    if let gate {
      let weights = workspace.layerWeights.rows(x.count, gate.width)
      gate.weigh(x, into: weights, in: pass)
      pass.weights = weights
    }
    if step.count == 1, x.count == 1, try decode(x, step[0], pass, body) { return }
    for block in blocks { block.forward(x, in: pass) }
    var first = 0
    for piece in step {
      piece.cache.count += piece.tokens.count
      let end = first + piece.tokens.count
      switch wanted {
      case .all: try finish(x[first..<end], piece, pass, first, body)
      case .last:
        if piece.cache.count == piece.total { try finish(x[end - 1..<end], piece, pass, end - 1, body) }
      }
      first = end
    }
  }

  /// What decodes single tokens; made when it is first needed.
  private(set) lazy var decoder = Decoder(self)
  /// Whether single tokens are decoded by themselves, and not as a pass of one row.
  var usesDecoder = true

  /// Computes the one token of a step by itself; false if only the general path can do it.
  private func decode(_ x: Rows, _ piece: Piece, _ pass: Pass, _ body: (Output) throws -> Void) throws -> Bool
  {
    guard usesDecoder, pass.recorder == nil, pass.means == nil, let decoder,
      decoder.run(
        x, angles: pass.angles, weights: pass.weights, position: piece.cache.count, cache: piece.cache)
    else { return false }
    piece.cache.count += 1
    try requireFinite(decoder.logits.rows, position: piece.cache.count - 1)
    try body(
      Output(
        segment: piece.segment, position: piece.cache.count - 1, logits: Logits(decoder.logits.rows),
        hidden: Logits(decoder.normed.rows)))
    return true
  }

  private func makePass(_ step: [Piece], _ recorder: RoutingRecorder?, _ means: InputMeans?) -> Pass {
    var places: [Pass.Place] = []
    var pieces: [Range<Int>] = []
    let angles = workspace.angles.rows(
      step.reduce(0) { $0 + $1.tokens.count }, configuration.headDimension)
    for piece in step {
      let rows = places.count..<places.count + piece.tokens.count
      let positions = piece.cache.count..<piece.cache.count + piece.tokens.count
      angleTable.fill(positions, contextLength: piece.total, into: angles[rows], on: compute)
      places += positions.map { Pass.Place(cache: piece.cache, position: $0) }
      pieces.append(rows)
    }
    return Pass(
      compute: compute, workspace: workspace, rotary: rotary, places: places, pieces: pieces, angles: angles,
      recorder: recorder, means: means)
  }

  /// Rows of logits that are computed together.
  private static let headRows = 32

  /// The final norm and the head.
  private func finish(
    _ x: Rows, _ piece: Piece, _ pass: Pass, _ first: Int, _ body: (Output) throws -> Void
  ) throws {
    for start in stride(from: 0, to: x.count, by: Self.headRows) {
      let rows = start..<min(start + Self.headRows, x.count)
      let normed = workspace.normed.rows(rows.count, x.width)
      norm.forward(x[rows], into: normed)
      let logits = workspace.logits.rows(rows.count, head.outputs)
      let weights = pass.weights
      pass.weights = weights.map { $0[first + rows.lowerBound..<first + rows.upperBound] }
      compute.timed(.head) { Linear.forward([Linear.Call(linear: head, output: logits)], normed, in: pass) }
      pass.weights = weights
      for row in 0..<rows.count {
        let place = pass.places[first + rows.lowerBound + row]
        try requireFinite(logits[row..<row + 1], position: place.position)
        try body(
          Output(
            segment: piece.segment, position: place.position, logits: Logits(logits[row..<row + 1]),
            hidden: Logits(normed[row..<row + 1])))
      }
    }
  }

  /// A NaN anywhere ends in the logits; where it came from is looked up only then.
  private func requireFinite(_ logits: Rows, position: Int) throws {
    guard unsafe lmoe_first_nonfinite(logits.base, logits.width, Weight.Kind.f32.code) < logits.width else {
      return
    }
    let source = base.firstNonFinite()
    throw RuntimeError(
      .nonFinite, path: base.bundle.path, name: source?.tensor, expected: source.map { "\($0.element)" },
      found: "\(position)")
  }
}
