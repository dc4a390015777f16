public import LMoECore
public import LMoEFormat

/// What a publication of trained weights led to.
public struct Publication: Sendable {
  /// The bundle that has them.
  public let path: String
  /// Its generation.
  public let generation: UInt64
  /// The trained banks as they are now: what the next publication expects.
  public let stamps: [BankStamp]
  /// The number of bytes that it added to the file.
  public let addedBytes: UInt64
}

extension TrainedWeights {
  /// Publishes the weights: all of them in one generation, or none.
  ///
  /// Banks are found by the ids that their stamps have, so that a rename meanwhile does not matter; what
  /// stands beside them may have changed freely.
  ///
  /// - Parameters:
  ///   - path: The bundle that was trained.
  ///   - stamps: The banks that must be what they were: those that were trained, and any others.
  ///   - output: A new bundle to publish to, without history; the one at `path` then stays as it is.
  ///   - options: How the writer works.
  /// - Throws: `ExpertError` with `changed-meanwhile`, or for values that do not fit; `FormatError`. Nothing
  ///   is published then, unless it is `commit-uncertain`.
  @discardableResult public func publish(
    to path: String, expecting stamps: [BankStamp], output: String? = nil,
    options: BundleWriter.Options = BundleWriter.Options(), in system: any FileSystem = PosixFileSystem()
  ) throws -> Publication {
    let writer: BundleWriter
    let bundle: Bundle
    if let output {
      bundle = try Bundle(path: path, in: system)
      if system.kind(output) != nil { throw FormatError(.alreadyExists, path: output) }
      try stamps.require(bundle.banks, path: path)
      writer = try BundleWriter(creating: output, options: options, in: system)
    } else {
      writer = try BundleWriter(appendingTo: path, options: options, in: system)
      guard let base = writer.base else { throw FormatError(.writerClosed, path: path) }
      bundle = base
    }
    defer { writer.abort() }
    try stamps.require(bundle.banks, path: path)
    let weights = renamed(stamps, bundle.banks)
    let change = try TrainingChange(weights, of: bundle, to: writer)
    if output != nil { try change.copyOthers() }
    let written = try change.apply()
    if let output, system.kind(output) != nil { throw FormatError(.alreadyExists, path: output) }
    let added = try writer.commit(note: weights.note)
    return Publication(
      path: writer.path, generation: writer.generation, stamps: written.map { BankStamp($0) },
      addedBytes: added)
  }

  /// The same under the names that the banks have now.
  private func renamed(_ stamps: [BankStamp], _ banks: [BankEntry]) -> TrainedWeights {
    let names = Dictionary(
      stamps.compactMap { stamp in
        stamp.find(in: banks).map { (ByteKey(stamp.name), $0.shortName) }
      }, uniquingKeysWith: { first, _ in first })
    var copy = self
    copy.experts = experts.map { Expert(names[ByteKey("expert/" + $0.name)] ?? $0.name, tensors: $0.tensors) }
    copy.gates = gates.map { GateValues(names[ByteKey("gate/" + $0.name)] ?? $0.name, $0.numbers) }
    return copy
  }
}
