public import LMoECore

/// How a chunk's bytes are stored.
public enum Codec: UInt8, CaseIterable, Hashable, Sendable {
  case raw = 0
  case zstd = 1
  case planes = 2

  /// The registry's name.
  public var name: String {
    switch self {
    case .raw: "RAW"
    case .zstd: "ZSTD"
    case .planes: "PLANES"
    }
  }
}

/// How raw bytes are split into planes.
enum Filter: UInt8, Hashable, Sendable {
  case none = 0
  case rotateSplit = 1
  case split = 2
  case structSplit = 3
}

/// A piece of an entry: the unit of reading, checking and parallel work.
public struct Chunk: Hashable, Sendable {
  /// Where its stored bytes begin.
  public var offset: UInt64
  /// Their number.
  public var storedLength: Int
  /// The number of raw bytes.
  public var rawLength: Int
  /// XXH3-64 of the stored bytes.
  public var storedHash: UInt64
  /// How they are stored.
  public var codec: Codec
  var filter: Filter
  var planes: UInt8

  static let encodedBytes = 32

  func append(to bytes: inout [UInt8]) {
    bytes.append(little: offset)
    bytes.append(little: UInt32(storedLength))
    bytes.append(little: UInt32(rawLength))
    bytes.append(little: storedHash)
    bytes.append(codec.rawValue)
    bytes.append(filter.rawValue)
    bytes.append(planes)
    bytes.append(zeros: 5)
  }
}

/// A tensor or a document of a bank.
public struct Entry: Hashable, Sendable {
  /// What an entry is.
  public enum Class: UInt8, Hashable, Sendable {
    case tensor = 0
    case document = 1
  }

  /// Its name.
  public var name: String
  /// What it is.
  public var `class`: Class
  /// Type and shape; a document is U8 of rank 1.
  public var type: TensorType
  /// Raw bytes of each chunk but the last.
  public var chunkRawBytes: Int
  /// XXH3-128 of the raw bytes.
  public var contentHash: Bits128
  /// Its chunks, in order; empty if it has no bytes or is external.
  public var chunks: [Chunk]

  static let encodedBytes = 64

  /// Bytes in the file.
  public var storedBytes: UInt64 { chunks.reduce(0) { $0 + UInt64($1.storedLength) } }

  /// Whether it can be used from a memory map as it is.
  public var isRawExtent: Bool { chunks.allSatisfy { $0.codec == .raw } }
}

/// What a bank holds: its tensors, then its documents, each sorted by name.
public struct Manifest: Hashable, Sendable {
  /// Tensors, then documents.
  public var entries: [Entry]

  static let magic = Array("LMOEMF1\n".utf8)
  static let headBytes = 64

  /// The tensors.
  public var tensors: ArraySlice<Entry> { entries[..<tensorCount] }
  /// The documents.
  public var documents: ArraySlice<Entry> { entries[tensorCount...] }

  /// Where documents begin, found by halving: every look-up of a tensor asks for it.
  private var tensorCount: Int {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].class == .tensor { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// The tensor with that name.
  public func tensor(_ name: String) -> Entry? { find(name, in: tensors) }
  /// The document with that name.
  public func document(_ name: String) -> Entry? { find(name, in: documents) }

  private func find(_ name: String, in slice: ArraySlice<Entry>) -> Entry? {
    let key = ByteKey(name)
    var low = slice.startIndex
    var high = slice.endIndex
    while low < high {
      let middle = low + (high - low) / 2
      if ByteKey(slice[middle].name) < key { low = middle + 1 } else { high = middle }
    }
    guard low < slice.endIndex, ByteKey(slice[low].name) == key else { return nil }
    return slice[low]
  }

  /// Sums of the entries that the root repeats.
  public var logicalBytes: UInt64 { tensors.reduce(0) { $0 + UInt64($1.type.rawBytes) } }
  /// Stored bytes of all chunks.
  public var storedBytes: UInt64 { entries.reduce(0) { $0 + $1.storedBytes } }
  /// Whether every tensor is a raw extent.
  public var isRaw: Bool { tensors.allSatisfy(\.isRawExtent) }

  /// The bank's content id (specification §4.4).
  public var contentID: Bits128 {
    let hash = StreamingHash()
    for tensor in tensors {
      var bytes: [UInt8] = []
      bytes.append(little: UInt16(tensor.name.utf8.count))
      bytes.append(contentsOf: tensor.name.utf8)
      bytes.append(tensor.type.dtype.rawValue)
      bytes.append(UInt8(tensor.type.shape.count))
      for dimension in tensor.type.shape { bytes.append(little: UInt64(dimension)) }
      tensor.type.geometry?.append(to: &bytes)
      bytes.append(tensor.contentHash)
      hash.update(bytes)
    }
    return hash.digest
  }

  /// The manifest's bytes.
  func encoded() -> [UInt8] {
    var records: [UInt8] = []
    var chunks: [UInt8] = []
    var dimensions: [UInt8] = []
    var strings: [UInt8] = []
    var geometries: [BlockGeometry] = []
    for entry in entries {
      var geometryNumber: UInt8 = 0
      if let geometry = entry.type.geometry {
        if let known = geometries.firstIndex(of: geometry) {
          geometryNumber = UInt8(known + 1)
        } else {
          geometries.append(geometry)
          geometryNumber = UInt8(geometries.count)
        }
      }
      records.append(little: UInt32(strings.count))
      records.append(little: UInt16(entry.name.utf8.count))
      records.append(entry.class.rawValue)
      records.append(entry.type.dtype.rawValue)
      records.append(UInt8(entry.type.shape.count))
      records.append(geometryNumber)
      records.append(zeros: 2)
      records.append(little: UInt32(dimensions.count / 8))
      records.append(little: UInt32(chunks.count / Chunk.encodedBytes))
      records.append(little: UInt32(entry.chunks.count))
      records.append(little: UInt32(entry.chunks.isEmpty ? 0 : entry.chunkRawBytes))
      records.append(zeros: 4)
      records.append(little: UInt64(entry.type.rawBytes))
      records.append(entry.contentHash)
      records.append(zeros: 8)
      strings.append(contentsOf: entry.name.utf8)
      for dimension in entry.type.shape { dimensions.append(little: UInt64(dimension)) }
      for chunk in entry.chunks { chunk.append(to: &chunks) }
    }
    var bytes = Self.magic
    bytes.append(
      little: UInt64(
        Self.headBytes + records.count + chunks.count + dimensions.count
          + geometries.count * BlockGeometry.encodedBytes + strings.count))
    bytes.append(little: UInt32(entries.count))
    bytes.append(little: UInt32(chunks.count / Chunk.encodedBytes))
    bytes.append(little: UInt32(dimensions.count / 8))
    bytes.append(little: UInt32(geometries.count))
    bytes.append(little: UInt32(strings.count))
    bytes.append(zeros: 28)
    bytes += records
    bytes += chunks
    bytes += dimensions
    for geometry in geometries { geometry.append(to: &bytes) }
    bytes += strings
    return bytes
  }
}
