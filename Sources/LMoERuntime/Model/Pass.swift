import LMoECore

/// One step of a model: rows of tokens of one text or several, on their way through the layers.
final class Pass: @unchecked Sendable {
  /// Where a row belongs.
  struct Place {
    /// The text's keys and values.
    let cache: KVCache
    /// The row's position in the text.
    let position: Int
  }

  let compute: Compute
  let workspace: Workspace
  let rotary: Rotary
  /// One for each row.
  let places: [Place]
  /// Runs of rows that are consecutive positions of one text.
  let pieces: [Range<Int>]
  /// cos and sin for each row [T, d].
  let angles: Rows
  /// The weights of the experts where one gate serves a layer or the whole model: [T, experts].
  var weights: Rows? {
    didSet { expertRows = nil }
  }
  /// The rows that have each expert by those weights, once somebody has asked.
  private var expertRows: ExpertRows?
  /// Takes down what the gates decide, if anybody wants to know.
  let recorder: RoutingRecorder?
  /// Takes the means of what gates look at, if anybody wants to know.
  let means: InputMeans?

  init(
    compute: Compute, workspace: Workspace, rotary: Rotary, places: [Place], pieces: [Range<Int>],
    angles: Rows, recorder: RoutingRecorder?, means: InputMeans? = nil
  ) {
    self.compute = compute
    self.workspace = workspace
    self.rotary = rotary
    self.places = places
    self.pieces = pieces
    self.angles = angles
    self.recorder = recorder
    self.means = means
  }

  /// The weights of the experts at a linear layer [T, experts]; `place` is its number among those of one input.
  func weights(for linear: Linear, input: Rows, place: Int) -> Rows? {
    guard let gate = linear.gate else { return weights }
    let rows = workspace.moduleWeights[place].rows(input.count, gate.width)
    gate.weigh(input, into: rows, in: self)
    return rows
  }

  /// The rows that have each expert at a linear layer whose weights of the experts these are.
  func expertRows(of linear: Linear, _ weights: Rows) -> ExpertRows {
    if linear.gate != nil { return ExpertRows(weights) }
    if let expertRows { return expertRows }
    let made = ExpertRows(weights)
    expertRows = made
    return made
  }

  /// Runs `body` for all rows, shared out among the workers if that pays.
  func forEachRow(_ count: Int, width: Int, _ body: @escaping @Sendable (Range<Int>) -> Void) {
    compute.forEachRow(count, width: width, body)
  }
}
