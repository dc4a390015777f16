public import LMoECore
public import LMoEFormat

/// The weights of a bundle's base, wherever they are: in the bundle itself, in another bundle, or in a
/// checkpoint.
///
/// Names and types are compared when it is made, contents when a tensor is first read as a whole, or all at
/// once by `verify`.
public final class ResolvedBase: Sendable {
  /// A tensor of the base.
  public struct Tensor: Sendable {
    /// Name, type and content hash, as the bundle has them.
    public let entry: Entry
    /// Gives its raw bytes.
    public let source: any ByteSource
    /// Where it is stored, if in a bundle (`holder`): raw ones can be used from its map.
    public let stored: BankedEntry?
  }

  /// The bundle whose base it is.
  public let bundle: Bundle
  /// The bank of the base there.
  public let bank: BankEntry
  /// The bundle that holds the weights; nil if a checkpoint does.
  public let holder: Bundle?
  /// Where the weights are.
  public let path: String
  /// The tensors, sorted by name.
  public let tensors: [Tensor]
  private let places: [ByteKey: Int]
  private let verified = Guarded<Set<Int>>([])

  /// Finds the weights of the base of `bundle`.
  ///
  /// - Parameter path: A checkpoint directory or a bundle that holds them, if the bundle does not.
  /// - Throws: `ExpertError` with `no-base` or `other-base`, `FormatError` with `external` if nothing holds
  ///   them.
  public init(
    _ bundle: Bundle, at path: String? = nil, in system: any FileSystem = PosixFileSystem()
  ) throws {
    guard let bank = bundle.root.bank("base") else { throw ExpertError(.noBase, path: bundle.path) }
    let manifest = try bundle.manifest(of: bank)
    (self.bundle, self.bank) = (bundle, bank)
    guard bank.isExternal else {
      (holder, self.path) = (bundle, bundle.path)
      tensors = manifest.tensors.map { Self.stored($0, as: $0, in: bundle) }
      self.places = Self.places(tensors)
      return
    }
    guard let path else { throw FormatError(.external, path: bundle.path, bank: bank.name) }
    self.path = path
    var found: [ByteKey: (type: TensorType, hash: Bits128?, tensor: (Entry) -> Tensor)] = [:]
    if system.kind(path) == .directory {
      holder = nil
      for weight in try HFCheckpoint(path: path, in: system).weights() {
        found[ByteKey(weight.name)] = (
          weight.type, nil, { Tensor(entry: $0, source: weight.source, stored: nil) }
        )
      }
    } else {
      let other = try Bundle(path: path, in: system)
      guard let base = other.root.bank("base") else { throw ExpertError(.noBase, path: path) }
      if base.isExternal { throw FormatError(.external, path: path, bank: base.name) }
      holder = other
      for entry in try other.manifest(of: base).tensors {
        found[ByteKey(entry.name)] = (
          entry.type, entry.contentHash, { Self.stored($0, as: entry, in: other) }
        )
      }
    }
    tensors = try manifest.tensors.map { entry in
      guard let place = found.removeValue(forKey: ByteKey(entry.name)) else {
        throw Self.otherBase(path, bundle, entry.name, "is not there")
      }
      guard place.type == entry.type else {
        throw Self.otherBase(
          path, bundle, entry.name,
          "is \(place.type.dtypeName) \(place.type.shape), not \(entry.type.dtypeName) \(entry.type.shape)")
      }
      if let hash = place.hash, hash != entry.contentHash {
        throw Self.otherBase(path, bundle, entry.name, "has other values")
      }
      return place.tensor(entry)
    }
    places = Self.places(tensors)
    if let extra = found.keys.min() { throw Self.otherBase(path, bundle, extra.text, "is not in that base") }
  }

  private static func places(_ tensors: [Tensor]) -> [ByteKey: Int] {
    Dictionary(
      tensors.enumerated().map { (ByteKey($1.entry.name), $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The index of the tensor with that name.
  public func index(of name: String) -> Int? { places[ByteKey(name)] }

  private static func stored(_ entry: Entry, as place: Entry, in holder: Bundle) -> Tensor {
    let item = BankedEntry(bank: "base", entry: place)
    return Tensor(entry: entry, source: NewEntry(copying: item, of: holder).source, stored: item)
  }

  private static func otherBase(
    _ path: String, _ bundle: Bundle, _ tensor: String, _ found: String
  ) -> ExpertError {
    ExpertError(.otherBase, path: path, name: tensor, expected: bundle.path, found: found)
  }

  /// The tensor with that index on its way into another bundle or file: as it is stored, if it is.
  func newEntry(_ index: Int) -> NewEntry {
    let tensor = tensors[index]
    if let stored = tensor.stored, let holder { return NewEntry(copying: stored, of: holder) }
    return NewEntry(tensor: tensor.entry.name, type: tensor.entry.type, source: tensor.source)
  }

  /// Fills `buffer` with the raw bytes of the tensor with that index; their hash is checked the first time.
  @unsafe public func read(_ index: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
    let tensor = tensors[index]
    try unsafe tensor.source.read(into: buffer, at: 0)
    guard !verified.withValue({ $0.contains(index) }) else { return }
    guard unsafe Checksum.hash128(UnsafeRawBufferPointer(buffer)) == tensor.entry.contentHash else {
      throw mismatch(tensor.entry.name)
    }
    verified.withValue { _ = $0.insert(index) }
  }

  /// Reads all tensors that have not been read yet, and compares their hashes.
  ///
  /// - Parameter progress: Called with the number of bytes that were read, from any worker.
  public func verify(
    on pool: WorkerPool = .shared, progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws {
    let known = verified.withValue { $0 }
    let rest = tensors.indices.filter { !known.contains($0) }
    try checkingValues {
      _ = try unsafe SourceReader(rest.map(newEntry), on: pool)
        .read(expecting: rest.map { tensors[$0].entry.contentHash }) { _, _, bytes in
          progress(UInt64(bytes.count))
        }
    }
    verified.withValue { $0.formUnion(rest) }
  }

  /// Runs `body`, and says of a hash that differs that this is another base.
  func checkingValues<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch let error as FormatError where error.code == .contentMismatch {
      throw error.entry.map(mismatch) ?? error
    }
  }

  private func mismatch(_ tensor: String) -> any Error {
    // A bundle has promised this hash: it is damaged. A checkpoint has promised nothing.
    holder.map { FormatError(.contentMismatch, path: $0.path, bank: "base", entry: tensor) }
      ?? Self.otherBase(path, bundle, tensor, "has other values")
  }
}
