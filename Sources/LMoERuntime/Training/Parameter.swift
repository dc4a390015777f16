import LMoECore

/// A trained matrix: where its values are, and the sum of its gradients.
///
/// Layers read the values where they are; the optimizer changes them in place.
final class Parameter: Sendable {
  /// What it is a part of; each has a learning rate of its own.
  enum Role: String, CaseIterable, Sendable {
    /// A gate's rows, biases or constants.
    case gate
    /// The factor that an expert's input meets.
    case a
    /// The factor that gives an expert's output.
    case b
    /// The magnitudes of DoRA.
    case magnitude
  }

  /// Its name, unique in a run: the place, and what it is there.
  let name: String
  let role: Role
  /// Rows × columns.
  let values: Rows
  /// The sum of the gradients since it was last cleared, in the same shape.
  let gradient: Rows
  private let owner: Weight
  private let gradientMemory: OwnedRows

  /// The first `count` rows of `weight`, which is float32 in memory of its own.
  init(_ name: String, _ role: Role, _ weight: Weight, rows count: Int? = nil) {
    (self.name, self.role, owner) = (name, role, weight)
    values = weight.mutableRows[0..<(count ?? weight.rows)]
    gradientMemory = OwnedRows(values.count, values.width)
    gradient = gradientMemory.rows
    gradient.clear()
  }

  /// The number of elements.
  var count: Int { values.count * values.width }
}
