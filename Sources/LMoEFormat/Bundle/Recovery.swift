import LMoECore

/// Looks for roots that no superblock names (specification §6.3, §6.5).
struct Recovery {
  private let file: any File
  private let header: Header
  private let size: UInt64

  init(_ file: any File, header: Header, size: UInt64) {
    self.file = file
    self.header = header
    self.size = size
  }

  /// Bytes hashed in vain so far: a hostile tail of heads must not cost its square.
  private final class Budget {
    var spent: UInt64 = 0
  }

  private let budget = Budget()

  /// A root that lies whole in the file.
  struct Found {
    let extent: Extent
    let root: Root
    var generation: UInt64 { root.generation }

    var superblock: Superblock {
      Superblock(
        fileUUID: root.fileUUID, generation: root.generation, features: root.features, root: extent,
        commitNanoseconds: root.commitNanoseconds, liveBytes: root.liveBytes(rootBytes: extent.length),
        writer: "")
    }
  }

  /// The generation after `superblock` that was written and perhaps published, if there is one.
  func successor(of superblock: Superblock) throws(FormatError) -> Found? {
    // The last generation there can be has none.
    let (next, overflow) = superblock.generation.addingReportingOverflow(1)
    if overflow { return nil }
    var result: Found?
    let isCandidate = { (head: Fields) in
      head.u64(24) == next && head.u64(56) == superblock.root.offset
        && head.bits128(72) == superblock.root.hash
    }
    try scan(from: superblock.committedEnd, where: isCandidate) { found in
      result = found
      return false
    }
    return result
  }

  /// The highest generation whose root, manifests and cards are all whole.
  func newest(from superblocks: [Superblock]) throws(FormatError) -> (Superblock, Root) {
    var candidates: [Found] = []
    try scan(from: Limits.fixedArea, where: { _ in true }) { found in
      if found.root.features.incompatible == 0 { candidates.append(found) }
      return true
    }
    candidates.sort { $0.generation > $1.generation }
    for candidate in candidates {
      var superblock = candidate.superblock
      // The superblock itself, where it survived, knows who wrote it and how much is live.
      superblock =
        superblocks.first { $0.root == superblock.root && $0.generation == superblock.generation }
        ?? superblock
      if isWhole(candidate.root) { return (superblock, candidate.root) }
    }
    throw FormatError(.nothingToRecover, found: "\(size)")
  }

  private func isWhole(_ root: Root) -> Bool {
    for bank in root.banks {
      for extent in [bank.manifest, bank.card].compactMap(\.self) {
        guard extent.end <= size, let count = Int(exactly: extent.length),
          let bytes = try? file.bytes(at: extent.offset, count: count),
          Checksum.hash128(bytes) == extent.hash
        else { return false }
      }
    }
    return true
  }

  /// Calls `visit` with each whole root at a multiple of 4,096 from `start` on, until it returns false.
  private func scan(
    from start: UInt64, where isCandidate: (Fields) -> Bool, _ visit: (Found) throws(FormatError) -> Bool
  ) throws(FormatError) {
    let window: UInt64 = 1 << 20
    var base = start
    var beyond = start
    while base < size {
      let length = Int(min(window, size - base))
      let bytes = try io { () throws(FileError) in try file.bytes(at: base, count: length) }
      for place in stride(from: 0, through: length - Root.magic.count, by: Int(Limits.segmentAlignment)) {
        guard bytes[place..<place + Root.magic.count].elementsEqual(Root.magic) else { continue }
        if budget.spent > Limits.vainHashing { return }
        // Roots do not nest: one inside the last is somebody's text.
        guard base + UInt64(place) >= beyond,
          let found = try root(at: base + UInt64(place), where: isCandidate)
        else { continue }
        beyond = found.extent.end
        if try !visit(found) { return }
      }
      base += window
    }
  }

  private func root(
    at offset: UInt64, where isCandidate: (Fields) -> Bool
  ) throws(FormatError) -> Found? {
    guard size - offset >= Root.minimumBytes else { return nil }
    let head = try io { () throws(FileError) in try file.bytes(at: offset, count: Root.headBytes) }
    let length = Fields(head).u64(104)
    guard Fields(head).bits128(8) == header.fileUUID, isCandidate(Fields(head)),
      (Root.minimumBytes...Limits.rootBytes).contains(length), length <= size - offset
    else { return nil }
    let bytes = try io { () throws(FileError) in try file.bytes(at: offset, count: Int(length)) }
    guard let root = try? Root(parsing: bytes, at: offset, header: header) else {
      budget.spent += length
      return nil
    }
    let hash = Fields(bytes).bits128(bytes.count - Root.trailerBytes)
    return Found(extent: Extent(offset: offset, length: length, hash: hash), root: root)
  }
}
