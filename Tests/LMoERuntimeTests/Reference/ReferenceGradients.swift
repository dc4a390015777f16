/// The gradients of a reference model, held against finite differences.
struct ReferenceGradients {
  var model: ReferenceModel
  let documents: [ReferenceDocument]
  let objective: ReferenceObjective
  let result: ReferenceResult

  init(
    _ model: ReferenceModel, _ documents: [ReferenceDocument],
    _ objective: ReferenceObjective = ReferenceObjective()
  ) {
    self.model = model
    self.model.heldNorms = model.norms
    (self.documents, self.objective) = (documents, objective)
    result = model.lossAndGradients(documents, objective)
  }

  /// The derivative in one element, from the loss at four places; the error of the rule is of the fourth order.
  func slope(_ name: String, _ index: Int) -> Double {
    let step = 1e-4
    func loss(_ steps: Double) -> Double {
      var model = model
      model[parameter: name][index] += steps * step
      return model.loss(documents, objective).loss
    }
    return (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12 * step)
  }

  /// The parameters whose gradients differ from finite differences by more than 10⁻⁶ of their largest element.
  ///
  /// - Parameters:
  ///   - parameters: How many parameters are looked at; all if nil.
  ///   - elements: How many elements of each: the largest, and others by chance.
  func wrong(
    _ parameters: Int? = nil, elements: Int, seed: Int, where isWanted: (String) -> Bool = { _ in true }
  )
    -> [String]
  {
    var random = TinyReference(seed: seed)
    var names = result.gradients.keys.filter(isWanted).sorted()
    while names.count > parameters ?? .max { names.remove(at: random.integer(below: names.count)) }
    return names.filter { name in
      guard let gradient = result.gradients[name] else { return true }
      let largest = gradient.map(abs).max() ?? 0
      let others = (1..<elements).map { _ in random.integer(below: gradient.count) }
      return (gradient.indices.filter { abs(gradient[$0]) == largest }.prefix(1) + others).contains { index in
        // Where the gradient is 0 nothing but rounding may be left.
        return !(abs(slope(name, index) - gradient[index]) <= max(1e-6 * largest, 1e-10))
      }
    }
  }
}
