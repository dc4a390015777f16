import LMoECore

/// One forward and backward pass of a model: documents one after the other, each a run of rows.
final class TrainingPass: @unchecked Sendable {
  let compute: Compute
  let workspace: TrainingWorkspace
  let rotary: Rotary
  /// The rows of each document; positions count from its first.
  let documents: [Range<Int>]
  /// cos and sin for each row [T, d].
  let angles: Rows
  /// How gates are trained besides by the loss of the text.
  let auxiliary: AuxiliaryLosses.Scale
  /// The gate's column that each row belongs to, during the supervised warm-up; nil for no column.
  let labels: [Int?]
  /// The share of the adapters' inputs that is dropped.
  let dropout: Float
  /// What the masks of this pass are made from, and the number of its first row: a step's masks are the same in
  /// whatever parts it goes through.
  let dropoutKey: UInt64
  let firstRow: Int
  /// The gate that serves a layer, or the whole model, while it does.
  var gate: GateTape?
  /// What the gates decided, and what that costs.
  var statistics = RoutingStatistics()
  /// Whether a layer is computed a second time, for its backward pass.
  var isAgain = false

  init(
    compute: Compute, workspace: TrainingWorkspace, rotary: Rotary, documents: [Range<Int>], angles: Rows,
    auxiliary: AuxiliaryLosses.Scale = AuxiliaryLosses.Scale(), labels: [Int?] = [], dropout: Float = 0,
    dropoutKey: UInt64 = 0, firstRow: Int = 0
  ) {
    self.compute = compute
    self.workspace = workspace
    self.rotary = rotary
    self.documents = documents
    self.angles = angles
    self.auxiliary = auxiliary
    self.labels = labels
    self.dropout = dropout
    self.dropoutKey = dropoutKey
    self.firstRow = firstRow
  }

  /// T.
  var count: Int { documents.last?.upperBound ?? 0 }
  /// The documents in an order in which no worker is left with a long one at the end.
  var documentsLongestFirst: [Range<Int>] {
    documents.sorted { ($1.count, $0.lowerBound) < ($0.count, $1.lowerBound) }
  }
}

/// Memory that passes forward and backward work in, used again for every layer and every step.
final class TrainingWorkspace {
  let normed = Activations()
  let mixed = Activations()
  let residual = Activations()
  let gradient = Activations()
  let queryGradient = Activations()
  let keyGradient = Activations()
  let valueGradient = Activations()
  let gated = Activations()
  let gatedGradient = Activations()
  let gateGradient = Activations()
  let upGradient = Activations()
  let deltas = Activations()
  let angles = Activations()
  let logits = Activations()
  /// A row for each worker.
  let scores = Activations()
  /// Of experts that few rows have: rows of inputs and of gradients, U ⊙ Ĝ and transposes of a worker's expert, and
  /// what is added to rows.
  let sparseInputs = Activations()
  let sparseGradients = Activations()
  let sparseRanks = Activations()
  let sparseTransposed = Activations()
  let sparseProducts = Activations()
  /// Of up to three linear layers of one input.
  let slots = (0..<3).map { _ in Slot() }

  /// Memory for one of several linear layers of one input.
  final class Slot {
    /// U ⊙ Ĝ, and the gradient Q.
    let scaled = Activations()
    let q = Activations()
    /// (U ⊙ Ĝ)ᵀ and (Q ⊙ Ĝ)ᵀ of trained ranks.
    let scaledTransposed = Activations()
    let qTransposed = Activations()
    /// The input with elements dropped, and what flows back through it.
    let dropped = Activations()
    let droppedGradient = Activations()
    /// For magnitudes: δ ⊙ W₀x, and δ ⊙ (1 + Σ g·(c − 1)).
    let products = Activations()
    let rescaled = Activations()
    let magnitudeScores = Activations()
  }
}
