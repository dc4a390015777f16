import LMoECore
import LMoEFormat

/// How far quantized values are from what they were.
public struct QuantizationError: Hashable, Sendable {
  /// Values that were compared.
  public private(set) var count = 0
  /// The largest difference.
  public private(set) var largest = 0.0
  private var squaredDifferences = 0.0
  private var squares = 0.0

  /// Of nothing.
  public init() {}

  mutating func add(_ other: QuantizationError) {
    count += other.count
    largest = max(largest, other.largest)
    squaredDifferences += other.squaredDifferences
    squares += other.squares
  }

  mutating func add(_ part: (largest: Double, differences: Double, squares: Double), count: Int) {
    self.count += count
    largest = max(largest, part.largest)
    squaredDifferences += part.differences
    squares += part.squares
  }

  /// The root mean square of the values.
  public var size: Double { count > 0 ? (squares / Double(count)).squareRoot() : 0 }
  /// The root mean square of the differences, relative to that of the values.
  public var relative: Double { squares > 0 ? (squaredDifferences / squares).squareRoot() : 0 }
  /// The largest difference, relative to the root mean square of the values.
  public var relativeLargest: Double { size > 0 ? largest / size : 0 }
}

/// The errors of a tensor, part by part: parts that are made only to be compared do not count.
final class ErrorMeter: ChunkObserver {
  private let parts = Guarded<[Int: (length: Int, error: QuantizationError)]>([:])
  private let counted = Guarded<[Int: QuantizationError]>([:])

  /// A part of the tensor's bytes was made.
  func made(_ length: Int, at offset: Int, _ error: QuantizationError) {
    parts.withValue { $0[offset] = (length, error) }
  }

  /// That part is written.
  @unsafe func observe(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    let part = parts.withValue { $0.removeValue(forKey: offset) }
    guard let part, part.length == bytes.count else { return }
    counted.withValue { $0[offset] = part.error }
  }

  /// Of all that was written, in the order of its places.
  var error: QuantizationError {
    counted.withValue { parts in
      parts.sorted { $0.key < $1.key }.reduce(into: QuantizationError()) { $0.add($1.value) }
    }
  }
}
