import LMoECore

/// What opening finds out: header, superblock and root, and the state they are in.
struct Opened {
  let header: Header
  let superblock: Superblock
  let root: Root
  let damagedCopies: Int
  private(set) var successor: UInt64?
  let isRecovered: Bool
  let fileBytes: UInt64

  init(_ file: any File, options: BundleOptions) throws(FormatError) {
    let size = try io { () throws(FileError) in try file.size() }
    fileBytes = size
    let checking = options.checksMetadata
    guard size >= Limits.fixedArea else {
      let start = try io { () throws(FileError) in
        try file.bytes(at: 0, count: min(Int(size), Header.magic.count))
      }
      throw start == Header.magic
        ? FormatError(.truncated, expected: "at least \(Limits.fixedArea)", found: "\(size)")
        : FormatError(.notLMoE)
    }
    let area = try io { () throws(FileError) in try file.bytes(at: 0, count: Int(Limits.fixedArea)) }
    let (header, damagedHeaders) = try Header.parse(area, checking: checking)
    self.header = header
    let choice: SuperblockChoice
    do throws(FormatError) {
      choice = try SuperblockChoice(area, header: header, checking: checking)
    } catch {
      guard options.recovers, error.code == .superblocksDamaged else { throw error }
      let recovered = try Recovery(file, header: header, size: size).newest(from: [])
      (superblock, root) = recovered
      damagedCopies = damagedHeaders + 4
      successor = nil
      isRecovered = true
      return
    }
    damagedCopies = damagedHeaders + choice.damaged
    let newest = choice.newest
    let unknown = newest.features.incompatible
    guard unknown == 0 else {
      throw FormatError(.unsupportedFeature, field: "incompat \(Features.names(unknown))")
    }
    do throws(FormatError) {
      let root = try Self.root(of: newest, size: size, in: file, header: header, checking: checking)
      successor =
        choice.isInOrder || newest.committedEnd == size
        ? nil : try Recovery(file, header: header, size: size).successor(of: newest)?.generation
      (superblock, self.root, isRecovered) = (newest, root, false)
    } catch {
      guard options.recovers, [.truncated, .rootDamaged, .rootInvalid].contains(error.code) else {
        throw error
      }
      let known = [choice.newest, choice.other].compactMap(\.self)
      let (superblock, root) = try Recovery(file, header: header, size: size).newest(from: known)
      (self.superblock, self.root, isRecovered, successor) = (superblock, root, true, nil)
    }
  }

  /// Opens `file`, and does not mistake an append that is under way for a lost superblock.
  static func settled(_ file: any File, options: BundleOptions) throws(FormatError) -> Opened {
    var opened = try Opened(file, options: options)
    guard opened.successor != nil else { return opened }
    if file.isLockedByAnother() {
      opened.successor = nil
      return opened
    }
    // It may have been published between our looks.
    return try Opened(file, options: options)
  }

  /// A generation that no superblock names.
  init(_ file: any File, _ found: Recovery.Found) throws(FormatError) {
    fileBytes = try io { () throws(FileError) in try file.size() }
    let area = try io { () throws(FileError) in try file.bytes(at: 0, count: Int(Limits.fixedArea)) }
    (header, damagedCopies) = try Header.parse(area)
    (superblock, root, successor, isRecovered) = (found.superblock, found.root, nil, false)
  }

  /// Reads and checks the root that `superblock` names.
  static func root(
    of superblock: Superblock, size: UInt64, in file: any File, header: Header, checking: Bool
  ) throws(FormatError) -> Root {
    guard superblock.committedEnd <= size else {
      throw FormatError(.truncated, expected: "\(superblock.committedEnd)", found: "\(size)")
    }
    let extent = superblock.root
    guard let count = Int(exactly: extent.length) else { throw FormatError(.rootInvalid) }
    let bytes = try io { () throws(FileError) in try file.bytes(at: extent.offset, count: count) }
    if checking, Fields(bytes).bits128(count - Root.trailerBytes) != extent.hash {
      throw FormatError(.rootDamaged, offset: extent.offset)
    }
    let root = try Root(parsing: bytes, at: extent.offset, header: header, checking: checking)
    for (holds, field) in [
      (root.generation == superblock.generation, "generation"),
      (root.features == superblock.features, "features"),
      (root.commitNanoseconds == superblock.commitNanoseconds, "commit_ns"),
    ] where !holds {
      throw FormatError(.rootInvalid, offset: extent.offset, field: field + " differs from the superblock's")
    }
    return root
  }
}
