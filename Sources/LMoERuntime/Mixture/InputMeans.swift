public import LMoECore
public import LMoEExperts

/// The means of what gates of one scope would look at, or of its squares, over the tokens that a model sees.
public final class InputMeans {
  /// The scope of the gates.
  public let scope: Gate.Scope
  private let areSquares: Bool
  private let lock = Guarded<[ByteKey: (sum: [Double], count: Int)]>([:])

  /// Begins with no tokens.
  public init(scope: Gate.Scope, ofSquares areSquares: Bool = false) {
    (self.scope, self.areSquares) = (scope, areSquares)
  }

  /// The mean at each place.
  public var means: [ByteKey: [Float]] {
    lock.withValue { places in
      places.mapValues { place in place.sum.map { Float($0 / Double(max(1, place.count))) } }
    }
  }

  func add(_ rows: Rows, at place: String) {
    lock.withValue { places in
      var entry = places[ByteKey(place)] ?? ([Double](repeating: 0, count: rows.width), 0)
      for row in 0..<rows.count {
        for column in 0..<rows.width {
          let value = Double(rows[row, column])
          entry.sum[column] += areSquares ? value * value : value
        }
      }
      entry.count += rows.count
      places[ByteKey(place)] = entry
    }
  }
}
