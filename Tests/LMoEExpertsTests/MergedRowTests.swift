import Foundation
import LMoECore
import LMoEFormat
import Testing

@testable import LMoEExperts

import class LMoEFormat.Bundle

/// The row that a merged expert gets: its members' share, never more.
@Suite struct MergedRowTests {
  /// A bundle with a linear gate, of random rows or of equal ones.
  private func bundle(_ scratch: Scratch, equal: Bool, temperature: Double) throws -> Bundle {
    let made = try scratch.bundle(experts: ["math", "code", "verse"].map { Fixture.path("adapters/" + $0) })
    let writer = try BundleWriter(appendingTo: made.path)
    var random = RandomSource(seed: 4)
    let row = (0..<65).map { _ in Float(random.normal()) }
    var rows: Gate.Rows = [:]
    for layer in 0..<3 {
      for bank in made.banks(ofKind: "expert") {
        rows[ByteKey("model.layers.\(layer)"), default: [:]][bank.id] =
          equal ? row : (0..<65).map { _ in Float(random.normal()) }
      }
    }
    let gate = Gate(.linear, scope: .layer, normaliser: .softmax, temperature: temperature)
    try writer.addGate(NewGate(gate, rows: rows, initialiser: "test"), named: "g")
    try writer.commit(note: "gate")
    return try Bundle(path: made.path)
  }

  private func score(_ row: [Float], _ x: [Float]) -> Double {
    zip(row, x).reduce(Double(row.last ?? 0)) { $0 + Double($1.0) * Double($1.1) }
  }

  @Test(arguments: [false, true], [1.0, 0.3]) func `share`(_ equal: Bool, _ temperature: Double) throws {
    let scratch = try Scratch()
    let bundle = try bundle(scratch, equal: equal, temperature: temperature)
    let ids = try ["math", "verse"].map { try bundle.bank("expert/" + $0).id }
    let new = try Bits128.random()
    let shares = zip(ids, equal ? [0.5, 0.5] : [0.8, 0.2]).map { (id: $0, share: $1) }
    let stored = try bundle.gate(named: "g")
    let merged = try #require(try MergedRow(stored, expert: new, shares: shares))
    #expect(merged.entries.count == 3 && merged.missing == 0)
    let rows = try stored.rows()
    var random = RandomSource(seed: 9)
    for entry in merged.entries {
      let place = ByteKey(String(entry.name.dropFirst(33)))
      var bytes = [UInt8](repeating: 0, count: entry.type.rawBytes)
      try bytes.withUnsafeMutableBytes { try entry.source.read(into: $0, at: 0) }
      let row = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      for _ in 0..<50 {
        let x = (0..<64).map { _ in Float(random.normal()) * 0.2 }
        let own = try ids.map { score(try #require(rows[place]?[$0]), x) / temperature }
        let together = log(own.reduce(0) { $0 + exp($1) })
        let found = score(row, x) / temperature
        #expect(found <= together + 1e-5)
        if equal { #expect(abs(found - together) < 1e-5) }
        // The entropy is in the bias: without it the share would be that of the mean score.
        let mean = zip(own, shares).reduce(0) { $0 + $1.0 * $1.1.share }
        let entropy = shares.reduce(0) { $0 - $1.share * log($1.share) }
        #expect(abs(found - mean - entropy) < 1e-5)
      }
    }
  }

  @Test func `places without a member's row`() throws {
    let scratch = try Scratch()
    let bundle = try bundle(scratch, equal: false, temperature: 1)
    let known = try bundle.bank("expert/math").id
    let stranger = try Bits128.random()
    let shares = [(id: known, share: 0.5), (id: stranger, share: 0.5)]
    #expect(try MergedRow(try bundle.gate(named: "g"), expert: .zero, shares: shares) == nil)
  }
}
