public import LMoECore

/// The directory of banks of one generation.
public struct Root: Hashable, Sendable {
  /// Where the previous generation's root lies.
  public struct Parent: Hashable, Sendable {
    /// The root's bytes.
    public var extent: Extent
    /// Its generation.
    public var generation: UInt64
  }

  /// The header's.
  public var fileUUID: Bits128
  /// From 1.
  public var generation: UInt64
  /// The feature words.
  public var features: Features
  /// The previous generation, unless history ends here.
  public var parent: Parent?
  /// Nanoseconds since 1970.
  public var commitNanoseconds: UInt64
  /// What the generation did.
  public var note: String
  /// The banks, strictly increasing by name.
  public var banks: [BankEntry]

  static let magic = Array("LMOERT1\n".utf8)
  static let headBytes = 128
  static let trailerBytes = 16
  static let minimumBytes: UInt64 = 144

  /// The bank with that full name.
  public func bank(_ name: String) -> BankEntry? {
    let key = ByteKey(name)
    return banks.first { ByteKey($0.name) == key }
  }

  /// About what a compacted copy would have: extents that banks share count for each.
  func liveBytes(rootBytes: UInt64) -> UInt64 {
    banks.reduce(Limits.fixedArea + rootBytes) {
      $0 + $1.storedBytes + $1.manifest.length + ($1.card?.length ?? 0)
    }
  }

  /// The root's bytes and their hash.
  func encoded() -> (bytes: [UInt8], hash: Bits128) {
    var strings = Array(note.utf8)
    var entries: [UInt8] = []
    for bank in banks {
      bank.append(to: &entries, nameOffset: strings.count)
      strings.append(contentsOf: bank.name.utf8)
    }
    var bytes = Self.magic
    bytes.append(fileUUID)
    bytes.append(little: generation)
    bytes.append(little: features.compatible)
    bytes.append(little: features.readOnly)
    bytes.append(little: features.incompatible)
    let parentExtent = parent?.extent ?? .none
    bytes.append(little: parentExtent.offset)
    bytes.append(little: parentExtent.length)
    bytes.append(parentExtent.hash)
    bytes.append(little: parent?.generation ?? 0)
    bytes.append(little: commitNanoseconds)
    bytes.append(little: UInt64(Self.headBytes + entries.count + strings.count + Self.trailerBytes))
    bytes.append(little: UInt32(banks.count))
    bytes.append(little: UInt32(strings.count))
    bytes.append(little: UInt32(note.utf8.count))
    bytes.append(zeros: 4)
    bytes.append(contentsOf: entries)
    bytes.append(contentsOf: strings)
    let hash = Checksum.hash128(bytes)
    bytes.append(hash)
    return (bytes, hash)
  }
}

/// One bank of a root.
public struct BankEntry: Hashable, Sendable {
  /// Random, kept for the bank's life.
  public var id: Bits128
  /// The full name: `base`, `expert/math`.
  public var name: String
  /// The tensors are not in the file.
  public var isExternal: Bool
  /// Every tensor is a raw extent: usable from a memory map.
  public var isRaw: Bool
  /// Where the manifest lies.
  public var manifest: Extent
  /// Where the card lies, if there is one.
  public var card: Extent?
  /// The hash over names, types and values of the tensors.
  public var contentID: Bits128
  /// The number of tensors.
  public var tensorCount: UInt32
  /// The number of documents.
  public var documentCount: UInt32
  /// Raw bytes of all tensors.
  public var logicalBytes: UInt64
  /// Stored bytes of all chunks.
  public var storedBytes: UInt64

  static let encodedBytes = 128

  /// The name up to the first slash.
  public var kind: String {
    // By bytes: a combining mark after the slash would make one character of both.
    String(decoding: name.utf8.prefix { $0 != UInt8(ascii: "/") }, as: UTF8.self)
  }

  /// The name after the first slash; empty for `base`.
  public var shortName: String { String(decoding: name.utf8.dropFirst(kind.utf8.count + 1), as: UTF8.self) }

  func append(to bytes: inout [UInt8], nameOffset: Int) {
    bytes.append(id)
    bytes.append(little: UInt32(nameOffset))
    bytes.append(little: UInt16(name.utf8.count))
    bytes.append(little: UInt16((isExternal ? 1 : 0) | (isRaw ? 2 : 0)))
    for extent in [manifest, card ?? .none] {
      bytes.append(little: extent.offset)
      bytes.append(little: extent.length)
      bytes.append(extent.hash)
    }
    bytes.append(contentID)
    bytes.append(little: tensorCount)
    bytes.append(little: documentCount)
    bytes.append(little: logicalBytes)
    bytes.append(little: storedBytes)
  }
}
