import LMoECore
import LMoEFormat

/// Sums the squares of tensors while a writer reads them anyway.
final class WeightNorms: Sendable {
  private let sums = Guarded<[ByteKey: [Int: Double]]>([:])

  /// An entry that adds to the sums, if it is a matrix of numbers.
  func observing(_ entry: NewEntry) -> NewEntry {
    guard let values = FloatValues(entry.type), entry.type.shape.count == 2 else { return entry }
    var observed = entry
    observed.observer = Observer(key: ByteKey(entry.name), values: values, norms: self)
    return observed
  }

  private struct Observer: ChunkObserver {
    let key: ByteKey
    let values: FloatValues
    let norms: WeightNorms

    @unsafe func observe(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
      let sum = unsafe values.sumOfSquares(bytes, at: offset).sum
      norms.sums.withValue { $0[key, default: [:]][offset] = sum }
    }
  }

  /// ‖W‖_F of each tensor seen: the parts added in the order of their places, so that it does not depend on
  /// which worker came first.
  var norms: [(name: String, norm: Double)] {
    sums.withValue { sums in
      sums.sorted { $0.key < $1.key }.map { name, parts in
        (name.text, parts.sorted { $0.key < $1.key }.reduce(0) { $0 + $1.value }.squareRoot())
      }
    }
  }
}
