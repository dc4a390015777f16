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

  /// How often each expert is there, under names of its own; to the gate each copy is another one.
  var times = 1

  var gate: JSON {
    guard times > 1, case .object(var card)? = json["gate"] else { return json["gate"] ?? .null }
    let members = card["members"]?.array ?? []
    let others = members.filter { Self.hasName($0["expert"]?.string ?? "") }
    card["members"] = .array(
      members
        + (1..<times).flatMap { copy in
          others.map { member in
            let name = Self.name(member["expert"]?.string ?? "", copy)
            return ["expert": .string(name), "role": member["role"] ?? .null]
          }
        })
    return .object(card)
  }
  var base: String { json["base"]?.string ?? "" }
  var experts: [(name: String, directory: String)] {
    (0..<times).flatMap { copy in
      (json["experts"]?.array ?? []).map {
        (Self.name($0["name"]?.string ?? "", copy), $0["directory"]?.string ?? "")
      }
    }
  }
  private static func name(_ name: String, _ copy: Int) -> String { copy == 0 ? name : "\(name)-\(copy)" }
  /// Whether a member of a gate is not the bare base.
  private static func hasName(_ member: String) -> Bool { !member.allSatisfy { $0 == "0" } }

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
    let path = RuntimeFixture.path("mixtures/\(name)/rows.safetensors")
    let first = try Self.rows(path, ids)
    guard times > 1 else { return first }
    let file = try SafetensorsFile(path: path)
    return try first
      + (1..<times).flatMap { copy in
        try file.tensors.compactMap { tensor in
          let parts = tensor.name.split(separator: "/", maxSplits: 1).map(String.init)
          guard Self.hasName(parts[0]) else { return nil }
          let source = ScaledSource(
            file.source(of: tensor), tensor.type, times: copy == 1 ? -1 : 0.6 / Double(copy), as: .f32)
          return NewEntry(
            tensor: try #require(ids[Self.name(parts[0], copy)]) + "/" + parts[1], type: tensor.type,
            source: try #require(source))
        }
      }
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
