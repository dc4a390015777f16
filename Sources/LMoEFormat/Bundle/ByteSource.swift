public import LMoECore

/// Something that gives the raw bytes of a tensor or document, any part of it, from any thread.
public protocol ByteSource: Sendable {
  /// Fills `buffer` from `offset`.
  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError)
}

/// Bytes in memory.
public struct MemorySource: ByteSource {
  private let bytes: [UInt8]

  /// Gives `bytes`.
  public init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Copies a part.
  @unsafe public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(FormatError) {
    let start = Int(offset)
    unsafe buffer.copyBytes(from: bytes[start..<start + buffer.count])
  }
}

/// A part of an open file.
public struct FileSource: ByteSource {
  private let file: any File
  private let base: UInt64

  /// Gives the bytes of `file` from `base` on.
  public init(_ file: any File, at base: UInt64 = 0) {
    self.file = file
    self.base = base
  }

  /// Reads a part.
  @unsafe public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(FormatError) {
    try io { () throws(FileError) in try unsafe file.read(into: buffer, at: base + offset) }
  }
}

/// A file that is opened only while it is read: thousands of documents do not need thousands of descriptors.
public struct PathSource: ByteSource {
  private let path: String
  private let system: any FileSystem

  /// Gives the bytes of the file at `path`.
  public init(_ path: String, in system: any FileSystem) {
    self.path = path
    self.system = system
  }

  /// Opens, reads a part, closes.
  @unsafe public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(FormatError) {
    try io { () throws(FileError) in
      try unsafe system.open(path, .read).read(into: buffer, at: offset)
    }
  }
}

/// Something that sees the raw bytes of an entry while they are written.
public protocol ChunkObserver: Sendable {
  /// Sees a chunk: each once, from any worker, in no order.
  ///
  /// Not called where the bytes are in the bundle already.
  @unsafe func observe(_ bytes: UnsafeRawBufferPointer, at offset: Int)
}

/// A tensor or document on its way into a bundle.
public struct NewEntry: Sendable {
  /// Its name.
  public let name: String
  /// What it is.
  public let `class`: Entry.Class
  /// Its type.
  public let type: TensorType
  /// Where its raw bytes come from.
  public let source: any ByteSource
  /// Sees the raw bytes as they are written.
  public var observer: (any ChunkObserver)?
  /// How another bundle stores it, if it is to be copied as it is stored.
  var stored: StoredEntry?

  init(_ class: Entry.Class, _ name: String, type: TensorType, source: any ByteSource) {
    self.name = name
    self.class = `class`
    self.type = type
    self.source = source
  }

  /// A tensor.
  public init(tensor name: String, type: TensorType, source: any ByteSource) {
    self.init(.tensor, name, type: type, source: source)
  }

  /// A document in memory.
  ///
  /// - Throws: `too-large`.
  public init(document name: String, bytes: [UInt8]) throws(FormatError) {
    try self.init(document: name, byteCount: UInt64(bytes.count), source: MemorySource(bytes))
  }

  /// A document of `byteCount` bytes.
  ///
  /// - Throws: `too-large`.
  public init(
    document name: String, byteCount: UInt64, source: any ByteSource
  ) throws(FormatError) {
    guard byteCount <= Limits.documentBytes, let type = TensorType.bytes(Int(byteCount)) else {
      throw FormatError(
        .tooLarge, entry: name, expected: "at most \(Limits.documentBytes) bytes", found: "\(byteCount)")
    }
    self.init(.document, name, type: type, source: source)
  }
}
