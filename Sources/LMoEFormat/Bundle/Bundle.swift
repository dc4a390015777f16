public import LMoECore

/// An open `.lmoe` file, for reading: one generation of it, fixed at opening.
///
/// Opening reads the fixed area and the root; manifests, cards and chunks are read and checked when they are
/// asked for. Appends and compactions by others do not disturb it.
public final class Bundle: Sendable {
  /// The path it was opened under.
  public let path: String
  /// The file's identity.
  public let header: Header
  /// The superblock in use.
  public let superblock: Superblock
  /// The directory of banks.
  public let root: Root
  /// Copies of header and superblocks that were damaged; the others stood in.
  public let damagedCopies: Int
  /// The generation of a successor whose superblock is lost, if there is one: the file must not be written.
  public let successor: UInt64?
  /// Whether an older generation was opened because the newest is damaged.
  public let isRecovered: Bool
  /// The file's size at opening.
  public let fileBytes: UInt64
  /// How it was opened.
  public let options: BundleOptions

  let file: any File
  let chunkReader: ChunkReader
  private let manifests = Guarded<[BankEntry: Manifest]>([:])
  let mapping = Guarded<MappedRegion?>(nil)
  let verifiedExtents = Guarded<Set<[Chunk]>>([])

  /// Opens the bundle at `path`.
  ///
  /// - Throws: `FormatError` with a code of the specification's §8, or `io`.
  public convenience init(
    path: String, options: BundleOptions = BundleOptions(), in system: any FileSystem = PosixFileSystem()
  ) throws(FormatError) {
    let file = try io { () throws(FileError) in try system.open(path, .read) }
    try self.init(file: file, options: options)
  }

  /// Opens the bundle in an open file.
  convenience init(file: any File, options: BundleOptions = BundleOptions()) throws(FormatError) {
    do throws(FormatError) {
      self.init(try Opened.settled(file, options: options), file: file, options: options)
    } catch {
      throw error.at(path: file.path)
    }
    if options.verification == .eager, let first = try verify(decoding: false).first { throw first }
  }

  /// Opens a generation that has a root and no superblock.
  convenience init(file: any File, published root: Recovery.Found) throws(FormatError) {
    self.init(try Opened(file, root), file: file, options: BundleOptions())
  }

  private init(_ opened: Opened, file: any File, options: BundleOptions) {
    self.file = file
    self.path = file.path
    self.options = options
    chunkReader = ChunkReader(file: file, checks: options.verification != .off)
    header = opened.header
    superblock = opened.superblock
    root = opened.root
    damagedCopies = opened.damagedCopies
    successor = opened.successor
    isRecovered = opened.isRecovered
    fileBytes = opened.fileBytes
  }

  /// The generation that is open.
  public var generation: UInt64 { superblock.generation }

  /// The number of the generation after this one.
  ///
  /// - Throws: `too-large` for the last there can be, which only a hostile file has.
  func nextGeneration() throws(FormatError) -> UInt64 {
    guard generation < .max else {
      throw FormatError(.tooLarge, path: path, field: "generation number", found: "\(generation)")
    }
    return generation + 1
  }

  /// Whether an append may be tried: no successor, no unknown feature, not recovered.
  public var isWritable: Bool { successor == nil && superblock.features.readOnly == 0 && !isRecovered }

  /// All banks, sorted by name.
  public var banks: [BankEntry] { root.banks }

  /// The banks of one kind.
  public func banks(ofKind kind: String) -> [BankEntry] { root.banks.filter { $0.kind == kind } }

  /// The bank with that full name.
  ///
  /// - Throws: `no-such-bank`.
  public func bank(_ name: String) throws(FormatError) -> BankEntry {
    guard let bank = root.bank(name) else {
      throw FormatError(
        .noSuchBank, path: path, bank: name, expected: closestName(to: name, among: banks.map(\.name)))
    }
    return bank
  }

  /// What a bank holds.
  ///
  /// Read and checked once.
  ///
  /// - Throws: `manifest-damaged`, `manifest-invalid`, `unsupported-dtype`, `io`.
  public func manifest(of bank: BankEntry) throws(FormatError) -> Manifest {
    // By the whole entry: two banks may name the same bytes and say different things of them.
    if let known = manifests.withValue({ $0[bank] }) { return known }
    do throws(FormatError) {
      let bytes = try read(bank.manifest, damaged: .manifestDamaged)
      let manifest = try Manifest(parsing: bytes, isExternal: bank.isExternal, end: superblock.root.offset)
      try bank.check(against: manifest)
      manifests.withValue { $0[bank] = manifest }
      return manifest
    } catch {
      throw error.at(path: path, bank: bank.name)
    }
  }

  /// The bytes of a bank's card, checked against their hash; nil if it has none.
  public func cardBytes(of bank: BankEntry) throws(FormatError) -> [UInt8]? {
    guard let card = bank.card else { return nil }
    do throws(FormatError) {
      return try read(card, damaged: .cardDamaged)
    } catch {
      throw error.at(path: path, bank: bank.name)
    }
  }

  /// A bank's card; nil if it has none.
  ///
  /// - Throws: `card-damaged`, `card-invalid`, `io`.
  public func card(of bank: BankEntry) throws(FormatError) -> JSON? {
    guard let bytes = try cardBytes(of: bank) else { return nil }
    do throws(JSONError) {
      let card = try JSON(parsing: bytes)
      if card.object != nil { return card }
    } catch {
      throw FormatError(.cardInvalid, path: path, bank: bank.name, found: error.description)
    }
    throw FormatError(.cardInvalid, path: path, bank: bank.name, found: "something other than an object")
  }

  /// The bytes of an extent, checked against its hash.
  func read(_ extent: Extent, damaged code: FormatError.Code) throws(FormatError) -> [UInt8] {
    guard let count = Int(exactly: extent.length), extent.end <= fileBytes else {
      throw FormatError(code, offset: extent.offset)
    }
    let bytes = try io { () throws(FileError) in try file.bytes(at: extent.offset, count: count) }
    if options.checksMetadata, Checksum.hash128(bytes) != extent.hash {
      throw FormatError(code, offset: extent.offset)
    }
    return bytes
  }
}

extension BankEntry {
  /// Checks what the root says about the bank against its manifest.
  func check(against manifest: Manifest) throws(FormatError) {
    func require(_ holds: Bool, _ field: String) throws(FormatError) {
      if !holds { throw FormatError(.manifestInvalid, field: field + " in the root differs") }
    }
    try require(Int(tensorCount) == manifest.tensors.count, "tensor_count")
    try require(Int(documentCount) == manifest.documents.count, "document_count")
    try require(logicalBytes == manifest.logicalBytes, "logical_bytes")
    try require(storedBytes == manifest.storedBytes, "stored_bytes")
    try require(isRaw == (!isExternal && manifest.isRaw), "raw flag")
    try require(contentID == manifest.contentID, "content_id")
  }
}
