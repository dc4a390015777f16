public import LMoECore

/// A change to a bundle on its way: banks come and go, and `commit` publishes all of it at once.
///
/// Nothing that a reader can reach changes before `commit` returns, and after a failure the bundle is as it
/// was. A writer that is dropped without `commit` takes back what it wrote. For one thread at a time.
public final class BundleWriter: @unchecked Sendable {
  /// How a writer works.
  public struct Options: Sendable {
    /// How tensors are stored.
    public var codec = CodecPolicy.planes
    /// Whether to go on where the file system has no locks.
    public var allowsMissingLocks = false
    /// Raw bytes of a chunk; more for block types whose blocks do not divide it.
    public var chunkBytes = 1 << 20
    /// The workers that encode.
    public var pool = WorkerPool.shared
    /// Called after each chunk with the number of its raw bytes, from any worker.
    public var progress: @Sendable (UInt64) -> Void = { _ in }
    /// The name that goes into the superblock.
    public var writerName = "lmoe-tool"
    /// Gives the time of a commit, in nanoseconds since 1970.
    public var clock: @Sendable () -> UInt64 = currentNanoseconds
    /// Gives the id of a new bank; no two may be the same.
    public var identifier: @Sendable () throws(FileError) -> Bits128 = { () throws(FileError) in
      try Bits128.random()
    }

    /// The defaults.
    public init() {}
  }

  /// The path of the bundle.
  public let path: String
  /// How it works.
  public let options: Options
  /// The banks as they will be after `commit`, sorted by name.
  public internal(set) var banks: [BankEntry]

  let system: any FileSystem
  let file: any File
  let header: Header
  /// The published state that is appended to; nil for a file that is being made.
  public let base: Bundle?
  var previous: Root.Parent?
  /// The generation that `commit` publishes, or has published.
  public let generation: UInt64
  /// Where the next bytes go.
  var end: UInt64
  let start: UInt64
  /// The temporary path of a file that is being made.
  let temporary: String?
  var isOpen = true
  /// Whether what stands after the committed end may be cut off.
  ///
  /// Not while a successor there is undecided.
  var ownsTail = true
  var coders: [ChunkCoder] = []
  var duplicates: Deduplication?

  /// Makes a new file, which appears at `path` with `commit`.
  ///
  /// - Parameters:
  ///   - path: Its path; a file there is replaced.
  ///   - header: The identity of a bundle that is being rewritten; by default a new one.
  ///   - generation: The number of its first generation.
  ///   - resumes: Whether the same process may be killed and started again: the temporary file then has a fixed
  ///     name, and what a killed one left of it is removed now.
  /// - Throws: `locked` if another process is making the file, and `resumes`; `io`.
  public init(
    creating path: String, header: Header? = nil, generation: UInt64 = 1, resumes: Bool = false,
    options: Options = Options(), in system: any FileSystem = PosixFileSystem()
  ) throws(FormatError) {
    self.path = system.resolve(path)
    self.options = options
    self.system = system
    let uuid = try io { () throws(FileError) in try Bits128.random() }
    let header = header ?? Header(fileUUID: uuid, createdNanoseconds: options.clock())
    self.header = header
    self.generation = generation
    let target = self.path
    if resumes {
      (temporary, file) = try Self.resumed(target, in: system)
    } else {
      let temporary = try io { () throws(FileError) in try temporaryPath(for: target) }
      (self.temporary, file) = (
        temporary, try io { () throws(FileError) in try system.open(temporary, .createNew) }
      )
    }
    base = nil
    banks = []
    start = Limits.fixedArea
    end = start
    if let temporary { TemporaryFiles.began(temporary) }
    try io { () throws(FileError) in try file.write(header.fixedArea(), at: 0) }
  }

  /// Opens the bundle at `path` for appending a generation.
  ///
  /// - Parameter settling: Go on although a successor was found; the caller has been told which to keep.
  /// - Throws: `locked`, `locks-unsupported`, `successor-found`, `read-only-feature`, or what opening throws.
  public init(
    appendingTo path: String, options: Options = Options(), settling: Bool = false,
    in system: any FileSystem = PosixFileSystem()
  ) throws(FormatError) {
    let (file, bundle) = try Self.lock(path, options: options, in: system)
    self.path = path
    self.options = options
    self.system = system
    self.file = file
    if let successor = bundle.successor, !settling {
      throw FormatError(
        .successorFound, path: path, expected: "\(bundle.generation)", found: "\(successor)")
    }
    try bundle.superblock.features.requireWritable(path)
    base = bundle
    header = bundle.header
    previous = Root.Parent(extent: bundle.superblock.root, generation: bundle.generation)
    generation = try bundle.nextGeneration()
    banks = bundle.banks
    start = bundle.superblock.committedEnd
    end = start
    temporary = nil
    ownsTail = !settling
    if bundle.fileBytes > start && !settling {
      // The tail of an interrupted append is nobody's.
      try io { () throws(FileError) in try file.truncate(to: start) }
    }
  }

  deinit { if isOpen { abort() } }

  /// Locks the file at `path` and opens it, again if another process replaced it meanwhile.
  private static func lock(
    _ path: String, options: Options, in system: any FileSystem
  ) throws(FormatError) -> (any File, Bundle) {
    for _ in 0..<8 {
      let file = try io { () throws(FileError) in try system.open(path, .update) }
      switch try io({ () throws(FileError) in try file.lockForWriting() }) {
      case .taken: break
      case .heldByAnother: throw FormatError(.locked, path: path)
      case .unsupported:
        guard options.allowsMissingLocks else { throw FormatError(.locksUnsupported, path: path) }
      }
      let (ours, current) = try io { () throws(FileError) in
        (try file.identity(), try system.identity(path))
      }
      if ours == current { return (file, try Bundle(file: file)) }
      file.unlock()
    }
    throw FormatError(.replaced, path: path)
  }

  /// Takes back what was written: the bundle is as it was, a new file is gone.
  public func abort() {
    guard isOpen else { return }
    isOpen = false
    if let temporary {
      try? system.remove(temporary)
      TemporaryFiles.ended(temporary)
    } else {
      if ownsTail { try? file.truncate(to: start) }
      file.unlock()
    }
  }

  /// Where the bytes of `entry` are already, if anywhere (see `Deduplication`).
  func origin(of entry: NewEntry, orFresh index: Int) throws(FormatError) -> WritePlan.Origin? {
    if duplicates == nil {
      duplicates = Deduplication(base, ChunkReader(file: file, checks: true), codec: options.codec)
    }
    return try duplicates?.origin(of: entry, orFresh: index)
  }

  func requireOpen() throws(FormatError) {
    if !isOpen { throw FormatError(.writerClosed, path: path) }
  }

  /// Runs a step that must not fail half way: any error ends the change.
  func step<Result>(_ body: () throws(FormatError) -> Result) throws(FormatError) -> Result {
    try requireOpen()
    do throws(FormatError) { return try body() } catch {
      abort()
      throw error.at(path: path)
    }
  }
}
