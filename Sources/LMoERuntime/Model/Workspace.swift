import LMoECore

/// The memory a model works in, used again for every step.
final class Workspace {
  let residual = Activations()
  let normed = Activations()
  let queries = Activations()
  let keys = Activations()
  let values = Activations()
  let mixed = Activations()
  let gated = Activations()
  let upward = Activations()
  let angles = Activations()
  let logits = Activations()
  /// U = x·Āᵀ of up to three layers of one input.
  let ranks = [Activations(), Activations(), Activations()]
  /// Ā and B̄ of each of them.
  let factors = [FactorMemory(), FactorMemory(), FactorMemory()]
  /// Of experts that few rows have: their U, and each worker's rows of x and of what comes out.
  let sparseRanks = Activations()
  let sparseRows = Activations()
  let sparseProducts = Activations()
  /// Outputs that are changed before they are added to others.
  let apart = [Activations(), Activations(), Activations()]
  /// The gate's scores and weights: of the layer, and of up to three modules.
  let gateScores = Activations()
  let layerWeights = Activations()
  let moduleWeights = [Activations(), Activations(), Activations()]
  /// Attention scores: a row for each worker.
  let scores = Activations()
}
