import LMoECore

extension RoutingPage {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  /// The number that the largest weight has.
  private static let steps: Float = 2047
  /// Stands for a weight that was not taken down.
  private static let missing = 4095

  /// What the script needs.
  ///
  /// The weights of a token are a text with two letters a number, by place and column: 2047 + 2047 · weight /
  /// largest in base 64; a token with the same text as an earlier one has that one's number.
  var data: JSON {
    var known: [[UInt8]: Int] = [:]
    let tokens = trace.tokens.enumerated().map { index, token -> JSON in
      let bytes = encoded(token.weights)
      if let earlier = known[bytes] { return .integer(earlier) }
      known[bytes] = index
      return .string(String(decoding: bytes, as: UTF8.self))
    }
    let others = grid.others.map { Optional($0) }
    return [
      "names": .array(trace.names.map { .string($0.printable) }),
      "base": .array(trace.columns.map { .bool($0.isEmpty) }),
      "places": .array(trace.places.map { .string($0.printable) }),
      "cells": .array((grid.cells + (grid.layers.isEmpty ? [] : others)).map { .integer($0 ?? -1) }),
      "largest": .double(Double(max(largest, .leastNormalMagnitude))),
      "full": .double(Double(fullBar)),
      "prompt": .integer(trace.promptCount),
      "tokens": .array(tokens),
    ]
  }

  private func encoded(_ weights: [[Float]]) -> [UInt8] {
    if weights.allSatisfy(\.isEmpty) { return [] }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(trace.places.count * trace.columns.count * 2)
    for place in trace.places.indices {
      let row = weights.indices.contains(place) ? weights[place] : []
      for column in trace.columns.indices {
        let code = row.indices.contains(column) ? code(row[column]) : Self.missing
        bytes += [Self.alphabet[code >> 6], Self.alphabet[code & 63]]
      }
    }
    return bytes
  }

  private func code(_ weight: Float) -> Int {
    guard weight.isFinite, largest > 0 else { return weight.isFinite ? Int(Self.steps) : Self.missing }
    return Int((weight / largest * Self.steps).rounded()) + Int(Self.steps)
  }
}
