import LMoEExperts
import LMoEFormat

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// A mixture of the fixtures with random documents, labels and losses, for the model in training and for the
/// reference.
struct TrainingReferenceCase {
  let item: MixtureCase
  let bundle: Bundle
  let reference: ReferenceModel
  let documents: [ReferenceDocument]
  let objective: ReferenceObjective
  /// Whether documents with a label are given to their expert.
  let isSupervised: Bool

  /// - Parameter number: What lengths, tokens, labels and losses follow from.
  init(_ item: MixtureCase, number: Int, lengths: [Int], in fixture: RuntimeFixture) throws {
    self.item = item
    bundle = try item.bundle(fixture)
    var reference = try ReferenceModel(bundle, gate: "g")
    // Constant weights are for all places at once, or not trained.
    reference.gate?.isTrained = true
    self.reference = reference
    var random = TinyReference(seed: 1000 + number)
    isSupervised = number % 3 == 0
    // One label only: the runtime takes the mean over all pairs of a token and a place, the reference that of
    // each place first.
    let routed = reference.gate?.routed ?? []
    let label = routed.isEmpty ? nil : routed[random.integer(below: routed.count)]
    let isSupervised = isSupervised
    documents = lengths.enumerated().map { index, length in
      ReferenceDocument(
        tokens: (0..<length).map { _ in random.integer(below: 96) },
        isTarget: (0..<length).map { $0 > 0 && ($0 == length - 1 || random.integer(below: 4) > 0) },
        label: isSupervised && index % 2 == 0 ? label : nil)
    }
    var objective = ReferenceObjective()
    if number % 2 == 0 {
      objective.balance = 0.3
      objective.z = 0.02
      objective.mutualInformation = 0.2
    }
    objective.label = isSupervised ? 0.7 : 0
    self.objective = objective
  }

  func model(
    on base: LoadedBase, recomputes: Bool = false, training experts: [String]? = nil, gate: Bool = true
  )
    throws -> TrainingModel
  {
    var plan = TrainingPlan(.gate("g"), trainsGate: gate, experts: experts ?? item.experts.map(\.name))
    plan.recomputes = recomputes
    return try TrainingModel(plan, on: base)
  }

  /// Runs forward and backward.
  @discardableResult func run(_ model: TrainingModel, dropout: Float = 0) -> TrainingModel.PassResult {
    let columns = model.model.gateColumns
    let documents = documents.map { document in
      TrainingModel.Document(
        tokens: document.tokens, isTarget: document.isTarget,
        label: document.label.flatMap { label in columns.firstIndex { $0 == label } })
    }
    var settings = TrainingModel.PassSettings(
      targets: documents.reduce(0) { $0 + $1.isTarget.count { $0 } },
      rows: documents.reduce(0) { $0 + $1.tokens.count })
    settings.labelled = isSupervised ? model.labelled(documents) : 0
    settings.losses.balance = objective.balance
    settings.losses.z = objective.z
    settings.losses.mutualInformation = objective.mutualInformation
    settings.isSupervised = isSupervised
    settings.labelWeight = objective.label
    (settings.dropout, settings.dropoutKey) = (dropout, 9)
    return model.run(documents, settings)
  }
}
