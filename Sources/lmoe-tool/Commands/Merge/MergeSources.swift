import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The experts that a merge is of, and where they are.
struct MergeSources {
  let inputs: [MergeInput]
  /// Their weights, where any were given.
  let weights: [Double]?
  /// The bundle that all come from, if it is one.
  let bundle: Bundle?

  init(_ command: MergeCommand) throws {
    if command.sources.count == 1, let path = command.sources.first,
      PosixFileSystem().kind(path) == .file
    {
      let bundle = try Bundle(path: path)
      let names =
        command.expert.isEmpty ? bundle.banks(ofKind: "expert").map(\.shortName) : command.expert.map(\.name)
      guard !names.isEmpty else { throw ExpertError(.noExperts, path: path) }
      inputs = try names.map { try MergeInput(StoredExpert($0, in: bundle)) }
      self.bundle = bundle
      let own = command.expert.map(\.weight)
      guard own.contains(where: { $0 != nil }) else {
        weights = command.options.listedWeights
        return
      }
      // One that is named without a weight counts as it is.
      weights = own.map { $0 ?? 1 }
      return
    }
    let base = try command.base.map { try Self.open($0) }
    var bundles: [Bundle] = []
    inputs = try command.sources.map { path in
      let source = try Self.source(path, base)
      if case .stored(let expert) = source { bundles.append(expert.bundle) }
      return try Self.input(source, base: base)
    }
    let first = bundles.first
    bundle =
      bundles.count == inputs.count && bundles.allSatisfy({ $0.path.hasSameBytes(as: first?.path ?? "") })
      ? first : nil
    weights = command.options.listedWeights
  }

  /// Whether an expert rescales the base's weights.
  var needsBase: Bool { inputs.contains(where: \.usesBase) }

  /// The weights of the base: at `path`, or in the bundle.
  func weights(of path: String?) throws -> BaseWeights {
    if let bundle { return try BaseWeights(ResolvedBase(bundle, at: path)) }
    guard let path else {
      throw ValidationError("Name the base with --base: a checkpoint, or a bundle that has it.")
    }
    return try Self.open(path)
  }

  /// An expert at `path`.
  static func input(_ path: String, base: BaseWeights?) throws -> MergeInput {
    try input(source(path, base), base: base)
  }

  /// What `path` names.
  ///
  /// Adapters of some formats say too little of their modules without a base.
  private static func source(_ path: String, _ base: BaseWeights?) throws -> ExpertSource {
    try ExpertSource(path) {
      guard let base else {
        throw ValidationError(
          "The adapter \(path.printable) can only be read on a base: name it with --base.")
      }
      return base.description.model
    }
  }

  private static func input(_ source: ExpertSource, base: BaseWeights?) throws -> MergeInput {
    switch source {
    case .adapter(let adapter):
      let input = try MergeInput(adapter, on: base?.description)
      return try base.map { try input.withoutCopies(of: $0) } ?? input
    case .stored(let expert): return try MergeInput(expert)
    }
  }

  /// A base at `path`: a checkpoint, or a bundle that has one.
  static func open(_ path: String) throws -> BaseWeights {
    PosixFileSystem().kind(path) == .file
      ? try BaseWeights(ResolvedBase(try Bundle(path: path))) : try BaseWeights(HFCheckpoint(path: path))
  }
}
