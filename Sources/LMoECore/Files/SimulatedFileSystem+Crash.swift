extension SimulatedFileSystem {
  /// The files of a disk at one moment: what is stable, and what is on its way.
  public struct Snapshot: Sendable {
    /// What happens to one pending write when the power fails.
    public enum Fate: Hashable, Sendable {
      /// It reached the disk.
      case applied
      /// It did not.
      case dropped
      /// Of its 512-byte sectors, those whose bit is 1 reached the disk.
      case torn(sectors: [Bool])
      /// Its sectors hold garbage.
      case garbled(seed: UInt64)
    }

    private let durable: [Int: [UInt8]]
    /// Pending writes by file, in order.
    private let pending: [Int: [Pending]]
    private let durableNames: [ByteKey: Int]
    private let names: [ByteKey: Int]

    init(_ state: State) {
      durable = state.nodes.mapValues(\.durable)
      pending = state.nodes.mapValues(\.pending)
      durableNames = state.durableNames
      names = state.names
    }

    /// All pending writes, by file and order.
    public var pendingWrites: [Pending] { pending.keys.sorted().flatMap { pending[$0] ?? [] } }

    /// The files after a power failure.
    ///
    /// - Parameters:
    ///   - fates: What becomes of each of `pendingWrites`.
    ///   - namesApplied: Whether renames and new names that were not flushed reached the disk.
    public func crash(_ fates: [Fate], namesApplied: Bool) -> [String: [UInt8]] {
      var contents = durable
      var next = 0
      for node in pending.keys.sorted() {
        for write in pending[node] ?? [] {
          let fate = next < fates.count ? fates[next] : .dropped
          next += 1
          contents[node] = Self.apply(write, fate, to: contents[node] ?? [])
        }
      }
      var files: [String: [UInt8]] = [:]
      for (name, node) in namesApplied ? names : durableNames { files[name.text] = contents[node] ?? [] }
      return files
    }

    private static func apply(_ pending: Pending, _ fate: Fate, to content: [UInt8]) -> [UInt8] {
      var content = content
      switch pending {
      case .truncate(let size):
        if fate == .dropped { return content }
        if size < content.count {
          content.removeSubrange(size...)
        } else {
          content += [UInt8](repeating: 0, count: size - content.count)
        }
      case .write(let offset, let bytes):
        if fate == .dropped { return content }
        if content.count < offset + bytes.count {
          content += [UInt8](repeating: 0, count: offset + bytes.count - content.count)
        }
        var garbage = SplitMix(seed: 0)
        if case .garbled(let seed) = fate { garbage = SplitMix(seed: seed) }
        for (index, byte) in bytes.enumerated() {
          // Sectors are those of the file, not of the write.
          let sector = (offset + index) / 512 - offset / 512
          switch fate {
          case .applied: content[offset + index] = byte
          case .dropped: break
          case .torn(let sectors):
            if sector < sectors.count && sectors[sector] { content[offset + index] = byte }
          case .garbled: content[offset + index] = UInt8(truncatingIfNeeded: garbage.next())
          }
        }
      }
      return content
    }
  }
}

/// SplitMix64: a small generator with a seed, for tests and initialisers that must repeat.
public struct SplitMix: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// Starts from `seed`.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
