import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime
import Testing

import class LMoEFormat.Bundle

/// A case of `fixtures/mixtures`: a base, experts and a gate, and what comes out in double precision.
struct MixtureCase: CustomTestStringConvertible {
  let name: String
  let json: JSON
  var testDescription: String { name }

  /// All cases that have a gate.
  static let all: [MixtureCase] = ["llama", "mistral", "qwen2", "qwen3"].flatMap { family in
    let directory = RuntimeFixture.path("mixtures/" + family)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.sorted().compactMap { try? MixtureCase("\(family)/\($0)") }.filter { !$0.gate.isNull }
  }

  init(_ name: String) throws {
    self.name = name
    let file = RuntimeFixture.path("mixtures/\(name)/case.json")
    json = try JSON(parsing: [UInt8](try Data(contentsOf: URL(filePath: file))))
  }

  var gate: JSON { json["gate"] ?? .null }
  var base: String { json["base"]?.string ?? "" }
  var experts: [(name: String, directory: String)] {
    (json["experts"]?.array ?? []).map { ($0["name"]?.string ?? "", $0["directory"]?.string ?? "") }
  }
  /// The same experts in other factors.
  var regauged: [(name: String, directory: String)] {
    (json["experts"]?.array ?? []).map { ($0["name"]?.string ?? "", $0["regauged"]?.string ?? "") }
  }
  func expected() throws -> Reference { try Reference("mixtures/\(name)/expected.safetensors") }

  /// A bundle with the experts, added in this order, and the gate `g`.
  func bundle(
    _ fixture: RuntimeFixture, experts: [(name: String, directory: String)]? = nil
  ) throws -> Bundle {
    let bundle = try fixture.bundle(base: base, experts: experts ?? self.experts)
    var ids: [String: String] = [:]
    for bank in bundle.banks(ofKind: "expert") { ids[bank.shortName] = bank.id.description }
    let writer = try BundleWriter(appendingTo: bundle.path)
    try writer.addBank("gate/g", card: Self.named(gate, ids), entries: try rows(ids))
    try writer.commit(note: "test")
    return try Bundle(path: bundle.path)
  }

  /// The card with ids in place of names.
  static func named(_ json: JSON, _ ids: [String: String]) -> JSON {
    switch json {
    case .array(let items): .array(items.map { named($0, ids) })
    case .object(let object):
      .object(
        object.members.map { key, value in
          key == "expert"
            ? (key, .string(ids[value.string ?? ""] ?? value.string ?? "")) : (key, named(value, ids))
        })
    default: json
    }
  }

  private func rows(_ ids: [String: String]) throws -> [NewEntry] {
    try Self.rows(RuntimeFixture.path("mixtures/\(name)/rows.safetensors"), ids)
  }

  /// The rows of a gate in a file, whose names have the experts' names in place of ids.
  static func rows(_ path: String, _ ids: [String: String]) throws -> [NewEntry] {
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    let file = try SafetensorsFile(path: path)
    return file.tensors.map { tensor in
      let parts = tensor.name.split(separator: "/", maxSplits: 1).map(String.init)
      return NewEntry(
        tensor: (ids[parts[0]] ?? parts[0]) + "/" + parts[1], type: tensor.type,
        source: file.source(of: tensor))
    }
  }
}
