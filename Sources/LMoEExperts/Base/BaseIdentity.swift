public import LMoECore
public import LMoEFormat

/// What makes a base the one it is: the names, types and content hashes of its tensors, whatever files they
/// are in and however they are stored.
public struct BaseIdentity: Sendable {
  /// Where it is.
  public let path: String
  /// Its tensors, sorted by name.
  public let manifest: Manifest
  /// The hash over all of them.
  public let contentID: Bits128
  /// The content id of the unquantized original, if it is known.
  public let sourceID: String?

  /// Whether it is the unquantized original itself.
  public var isOriginal: Bool { sourceID.map { isSameID($0, contentID.description) } ?? false }

  /// The identity of the base in a bundle, embedded or external; no weights are read.
  ///
  /// - Throws: `ExpertError` with `no-base`, `FormatError`.
  public init(_ bundle: Bundle) throws {
    guard let bank = bundle.root.bank("base") else { throw ExpertError(.noBase, path: bundle.path) }
    path = bundle.path
    manifest = try bundle.manifest(of: bank)
    contentID = bank.contentID
    sourceID = try bundle.card(of: bank)?["source_id"]?.string
  }

  /// The identity of a checkpoint, whose tensors are all read and hashed.
  ///
  /// - Parameter progress: Called with the number of bytes that were read, from any worker.
  public init(
    _ checkpoint: HFCheckpoint, on pool: WorkerPool = .shared,
    progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws {
    path = checkpoint.path
    let entries = try checkpoint.weights().map { NewEntry(tensor: $0.name, type: $0.type, source: $0.source) }
    let hashes = try unsafe SourceReader(entries, on: pool).read { _, _, bytes in
      progress(UInt64(bytes.count))
    }
    manifest = Manifest(externalTensors: zip(entries, hashes).map { ($0.name, $0.type, $1) })
    contentID = manifest.contentID
    // As `import` has it: a checkpoint is taken for its own original, unless it was quantized.
    sourceID = try checkpoint.quantizationMethod() == nil ? contentID.description : nil
  }
}
