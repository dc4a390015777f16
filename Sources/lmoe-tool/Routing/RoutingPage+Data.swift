import LMoECore

extension RoutingPage {
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
    let coder = WeightCode(largest: largest)
    for place in trace.places.indices {
      let row = weights.indices.contains(place) ? weights[place] : []
      for column in trace.columns.indices {
        coder.append(row.indices.contains(column) ? row[column] : nil, to: &bytes)
      }
    }
    return bytes
  }
}
