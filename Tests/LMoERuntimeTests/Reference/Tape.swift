/// Reverse-mode automatic differentiation over matrices: what was computed, and for each step what the gradient
/// of its result says about those of its operands.
///
/// It is slow and plain on purpose: gradients that were derived by hand are held against it.
final class Tape {
  /// A matrix on a tape.
  struct Variable {
    let index: Int
  }

  /// Adds to the gradients of the operands what follows from the gradient of the result.
  typealias Backward = (_ tape: Tape, _ gradient: ReferenceMatrix) -> Void

  private var values: [ReferenceMatrix] = []
  private var gradients: [ReferenceMatrix?] = []
  private var steps: [Backward?] = []
  private var needsGradient: [Bool] = []
  /// Whether gradients are wanted at all.
  let records: Bool

  init(records: Bool = true) {
    self.records = records
  }

  subscript(variable: Variable) -> ReferenceMatrix { values[variable.index] }

  /// What nothing on the tape computes: a constant, or something to be trained.
  func leaf(_ value: ReferenceMatrix, isTrained: Bool = false) -> Variable {
    append(value, isTrained && records, nil)
  }

  /// The result of a step.
  func step(
    _ value: ReferenceMatrix, of operands: [Variable], _ backward: @escaping Backward
  ) -> Variable {
    let needs = operands.contains { needsGradient[$0.index] }
    return append(value, needs, needs ? backward : nil)
  }

  /// The same value, through which no gradient flows.
  func detached(_ a: Variable) -> Variable { leaf(self[a]) }

  /// Whether a gradient of it is of any use.
  func needs(_ variable: Variable) -> Bool { needsGradient[variable.index] }

  /// Adds to the gradient of an operand.
  func add(_ gradient: @autoclosure () -> ReferenceMatrix, to variable: Variable) {
    guard needs(variable) else { return }
    let more = gradient()
    let value = self[variable]
    precondition(more.rows == value.rows && more.columns == value.columns, "a gradient of another shape")
    gradients[variable.index] = gradients[variable.index]?.combined(with: more, +) ?? more
  }

  /// Computes the gradients of a number.
  func differentiate(_ loss: Variable) {
    add(ReferenceMatrix(1, 1, [1]), to: loss)
    for index in values.indices.reversed() {
      if let gradient = gradients[index], let step = steps[index] { step(self, gradient) }
    }
  }

  /// The gradient of the number that was differentiated.
  func gradient(of variable: Variable) -> ReferenceMatrix {
    gradients[variable.index] ?? ReferenceMatrix(self[variable].rows, self[variable].columns)
  }

  private func append(_ value: ReferenceMatrix, _ needs: Bool, _ backward: Backward?) -> Variable {
    values.append(value)
    gradients.append(nil)
    steps.append(backward)
    needsGradient.append(needs)
    return Variable(index: values.count - 1)
  }
}
