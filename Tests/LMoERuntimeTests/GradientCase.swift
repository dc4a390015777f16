import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// A case of `fixtures/gradients`: what autograd makes of a mixture in double precision.
struct GradientCase: CustomTestStringConvertible {
  let json: JSON
  var testDescription: String { json["name"]?.string ?? "" }

  static let index: JSON = {
    let file = URL(filePath: RuntimeFixture.path("gradients/cases.json"))
    return (try? JSON(parsing: [UInt8](Data(contentsOf: file)))) ?? .null
  }()
  /// All but those with a bias on B, which are not mixed.
  static let all = (index["cases"]?.array ?? []).map { GradientCase(json: $0) }.filter { sample in
    !sample.experts.contains { $0.directory.hasSuffix("letters") }
  }

  var experts: [(name: String, directory: String)] {
    (json["experts"]?.array ?? []).map { ($0["name"]?.string ?? "", $0["directory"]?.string ?? "") }
  }

  /// A bundle with the experts and the gate `g`.
  func bundle(_ fixture: RuntimeFixture) throws -> Bundle {
    let bundle = try fixture.bundle(base: json["base"]?.string ?? "", experts: experts)
    guard let gate = json["gate"], !gate.isNull else { return bundle }
    var ids: [String: String] = [:]
    for bank in bundle.banks(ofKind: "expert") { ids[bank.shortName] = bank.id.description }
    let writer = try BundleWriter(appendingTo: bundle.path)
    let rows = json["rows"]?.string
    try writer.addBank(
      "gate/g", card: MixtureCase.named(gate, ids),
      entries: try rows.map { try MixtureCase.rows(RuntimeFixture.path($0), ids) } ?? [])
    try writer.commit(note: "test")
    return try Bundle(path: bundle.path)
  }

  func documents(columns: [String]) -> [TrainingModel.Document] {
    Self.documents(json["documents"], columns: columns)
  }

  /// Documents of a case or a batch, with labels as columns of the gate.
  static func documents(_ json: JSON?, columns: [String]) -> [TrainingModel.Document] {
    (json?.array ?? []).map { item in
      TrainingModel.Document(
        tokens: (item["tokens"]?.array ?? []).compactMap(\.int),
        isTarget: (item["targets"]?.array ?? []).map { $0.int == 1 },
        label: item["label"]?.string.flatMap { label in columns.firstIndex { $0 == label } })
    }
  }

  func settings(_ documents: [TrainingModel.Document]) -> TrainingModel.PassSettings {
    var settings = TrainingModel.PassSettings(
      targets: documents.reduce(0) { $0 + $1.isTarget.count { $0 } },
      rows: documents.reduce(0) { $0 + $1.tokens.count })
    let auxiliary = json["auxiliary"]
    settings.losses.balance = auxiliary?["balance"]?.double ?? 0
    settings.losses.z = auxiliary?["z"]?.double ?? 0
    settings.losses.mutualInformation = auxiliary?["mutual-information"]?.double ?? 0
    settings.isSupervised = auxiliary?["supervised"] != nil
    settings.labelWeight = auxiliary?["supervised"]?.double ?? 1
    return settings
  }
}
