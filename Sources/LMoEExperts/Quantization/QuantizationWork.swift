import LMoECore
import LMoEFormat

/// What all tensors of a quantization share: memory to work in, and why it stopped.
final class QuantizationWork: Sendable {
  /// The bundle, for errors.
  let path: String
  let floats: FloatValues
  private let free = Guarded<[QuantizationScratch]>([])
  private let cause = Guarded<ExpertError?>(nil)

  init?(path: String) {
    guard let floats = FloatValues(.f32) else { return nil }
    (self.path, self.floats) = (path, floats)
  }

  func borrow() -> QuantizationScratch { free.withValue { $0.popLast() } ?? QuantizationScratch() }

  func giveBack(_ scratch: QuantizationScratch) { free.withValue { $0.append(scratch) } }

  /// Remembers why a source cannot go on; what it throws itself only stops the writer.
  func failure(_ code: ExpertError.Code, _ name: String, found: String) -> FormatError {
    cause.withValue {
      if $0 == nil { $0 = ExpertError(code, path: path, name: name, found: found) }
    }
    return FormatError(.encodingFailed, entry: name, field: code.rawValue)
  }

  /// Runs `body`, and throws what stopped it.
  func explaining<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch { throw cause.withValue { $0 } ?? error }
  }
}

/// Memory of one worker, which grows as it is needed.
///
/// For one thread at a time.
final class QuantizationScratch: @unchecked Sendable {
  private var buffers: [RawBuffer?] = [nil, nil, nil, nil]

  @unsafe private func room(_ index: Int, _ count: Int) -> UnsafeMutableRawBufferPointer {
    if let buffer = buffers[index], unsafe buffer.bytes.count >= count {
      return unsafe buffer.prefix(count)
    }
    let buffer = RawBuffer(count: count)
    buffers[index] = buffer
    return unsafe buffer.prefix(count)
  }

  @unsafe func original(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe room(0, count) }
  @unsafe func blocks(_ count: Int) -> UnsafeMutableRawBufferPointer { unsafe room(1, count) }
  @unsafe func values(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
    unsafe room(2, 4 * count).bindMemory(to: Float.self)
  }
  @unsafe func others(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
    unsafe room(3, 4 * count).bindMemory(to: Float.self)
  }
}
