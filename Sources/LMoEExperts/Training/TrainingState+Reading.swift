public import LMoECore
import LMoEFormat

/// Memory for a tensor of float32, to be filled from a file.
@safe public struct FloatSlot: @unchecked Sendable {
  /// The tensor's name.
  public let name: String
  /// Its shape.
  public let shape: [Int]
  @unsafe fileprivate let memory: UnsafeMutableRawBufferPointer

  /// Takes memory that is there, and that nobody else touches, until what the slot is given to returns.
  @unsafe public init(_ name: String, shape: [Int], memory: UnsafeMutableBufferPointer<Float>) {
    (self.name, self.shape) = (name, shape)
    unsafe self.memory = UnsafeMutableRawBufferPointer(memory)
  }

  @unsafe fileprivate func fill(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    unsafe UnsafeMutableRawBufferPointer(rebasing: memory[offset..<offset + bytes.count])
      .copyMemory(from: bytes)
  }

  fileprivate var byteCount: Int { unsafe memory.count }
}

extension TrainingState.Checkpoint {
  /// Fills `slots`, which are all that the checkpoint has and nothing else, every byte checked.
  ///
  /// After an error the slots hold nothing of use.
  ///
  /// - Throws: `TrainingStateError` that names the tensor that is missing, left over, of another shape or
  ///   damaged.
  public func read(
    into slots: [FloatSlot], on pool: WorkerPool = .shared
  ) throws(TrainingStateError) {
    let path = bundle.path
    let manifest = try TrainingState.reading(path) { () throws(FormatError) in try bundle.manifest(of: bank) }
    var entries: [BankedEntry] = []
    for slot in slots {
      guard let entry = manifest.tensor(slot.name) else {
        throw TrainingStateError(.missingTensor, path: path, name: slot.name)
      }
      guard entry.type.shape == slot.shape, entry.type.rawBytes == slot.byteCount else {
        throw TrainingStateError(
          .shapeMismatch, path: path, name: slot.name, expected: "\(slot.shape)",
          found: "\(entry.type.shape)")
      }
      entries.append(BankedEntry(bank: bank.name, entry: entry))
    }
    let wanted = Set(slots.map { ByteKey($0.name) })
    if let other = tensors.first(where: { !wanted.contains(ByteKey($0.name)) }) {
      throw TrainingStateError(.unexpectedTensor, path: path, name: other.name)
    }
    try TrainingState.reading(path) { () throws(FormatError) in
      try unsafe bundle.decode(entries, on: pool) { (index, offset, bytes) in
        unsafe slots[index].fill(bytes, at: offset)
      }
    }
  }

  /// The values of one tensor, every byte checked.
  ///
  /// - Throws: `TrainingStateError`, with `missing-tensor` if there is none of that name.
  public func values(
    of name: String, on pool: WorkerPool = .shared
  ) throws(TrainingStateError) -> [Float] {
    let values = try TrainingState.reading(bundle.path) { () throws(FormatError) -> [Float]? in
      guard let entry = try bundle.manifest(of: bank).tensor(name) else { return nil }
      return try bundle.floats(of: [BankedEntry(bank: bank.name, entry: entry)], on: pool).first
    }
    guard let values else { throw TrainingStateError(.missingTensor, path: bundle.path, name: name) }
    return values
  }
}
