public import LMoECore

/// What is wrong with a file, or why an operation was refused: a code and its facts.
public struct FormatError: Error, Hashable, Sendable {
  /// The kind of error.
  ///
  /// Raw values up to `content-mismatch` are the codes of the specification's §8.
  public enum Code: String, Hashable, Sendable {
    case notLMoE = "not-lmoe"
    case truncated
    case headerDamaged = "header-damaged"
    case headerInvalid = "header-invalid"
    case unsupportedVersion = "unsupported-version"
    case superblocksDamaged = "superblocks-damaged"
    case superblockInvalid = "superblock-invalid"
    case unsupportedFeature = "unsupported-feature"
    case rootDamaged = "root-damaged"
    case rootInvalid = "root-invalid"
    case manifestDamaged = "manifest-damaged"
    case manifestInvalid = "manifest-invalid"
    case unsupportedDType = "unsupported-dtype"
    case cardDamaged = "card-damaged"
    case cardInvalid = "card-invalid"
    case chunkDamaged = "chunk-damaged"
    case chunkInvalid = "chunk-invalid"
    case contentMismatch = "content-mismatch"

    case io
    case nothingToRecover = "nothing-to-recover"
    case safetensorsInvalid = "safetensors-invalid"
    case ggufInvalid = "gguf-invalid"
    case readOnlyFeature = "read-only-feature"
    case successorFound = "successor-found"
    case locked
    case locksUnsupported = "locks-unsupported"
    case replaced
    case commitUncertain = "commit-uncertain"
    case writerClosed = "writer-closed"
    case noSuchBank = "no-such-bank"
    case noSuchEntry = "no-such-entry"
    case noSuchGeneration = "no-such-generation"
    case bankExists = "bank-exists"
    case invalidName = "invalid-name"
    case tooLarge = "too-large"
    case external
    case alreadyExists = "already-exists"
    case encodingFailed = "encoding-failed"
  }

  /// The kind of error.
  public var code: Code
  /// The file.
  public var path: String?
  /// The bank, by its full name.
  public var bank: String?
  /// The tensor or document.
  public var entry: String?
  /// Where in the file.
  public var offset: UInt64?
  /// The field or rule that is broken.
  public var field: String?
  /// What it had to be.
  public var expected: String?
  /// What it was.
  public var found: String?
  /// The failed file operation, for `io` and `commitUncertain`.
  public var file: FileError?

  /// Makes an error of its facts.
  public init(
    _ code: Code, path: String? = nil, bank: String? = nil, entry: String? = nil, offset: UInt64? = nil,
    field: String? = nil, expected: String? = nil, found: String? = nil, file: FileError? = nil
  ) {
    self.code = code
    self.path = path
    self.bank = bank
    self.entry = entry
    self.offset = offset
    self.field = field
    self.expected = expected
    self.found = found
    self.file = file
  }

  /// Wraps a failed file operation.
  public init(_ error: FileError) { self.init(.io, path: error.path, offset: error.offset, file: error) }

  /// The same error with the facts it lacks filled in.
  public func at(path: String? = nil, bank: String? = nil, entry: String? = nil) -> FormatError {
    var error = self
    error.path = error.path ?? path
    error.bank = error.bank ?? bank
    error.entry = error.entry ?? entry
    return error
  }
}

/// Runs a file operation, its failure wrapped.
func io<Result>(_ body: () throws(FileError) -> Result) throws(FormatError) -> Result {
  do throws(FileError) { return try body() } catch { throw FormatError(error) }
}

extension FormatError.Code {
  /// Whether a bundle with this error was whole once and is damaged or cut off now.
  public var isDamage: Bool {
    switch self {
    case .truncated, .headerDamaged, .superblocksDamaged, .rootDamaged, .manifestDamaged, .cardDamaged,
      .chunkDamaged, .chunkInvalid, .contentMismatch:
      true
    default: false
    }
  }
}
