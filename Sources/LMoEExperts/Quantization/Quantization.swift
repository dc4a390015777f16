public import LMoECore
public import LMoEFormat

/// A change of a bundle's weights to quantized blocks: the base, experts, or both.
///
/// Ids and source ids stay, as do gates and documents. Tensors are converted as they are written, a few at a
/// time, on all workers.
public struct Quantization: Sendable {
  /// What the base's matrices become; nil to leave them.
  public var base: QuantizedType?
  /// What experts' factors become; nil to leave them.
  public var experts: QuantizedType?
  /// The experts; nil for all.
  public var names: [String]?
  /// What of the base stays as it is, besides vectors.
  public var kept: Set<TensorClass> = []
  /// How much an error in each input of a layer counts, for types that take it.
  public var importance: InputImportance?

  /// Of nothing yet.
  public init() {}

  /// Does it, and publishes the result.
  ///
  /// - Parameters:
  ///   - path: The bundle.
  ///   - output: A new bundle to write, without history; nil to append a generation to the one at `path`.
  ///   - options: How the writer works.
  /// - Returns: What became of the tensors.
  /// - Throws: `ExpertError` with `weights-elsewhere`, `quantized-already`, `nothing-to-quantize`,
  ///   `not-quantizable` or `non-finite`, `FormatError`. Nothing is published then, unless it is
  ///   `commit-uncertain`.
  public func run(
    _ path: String, output: String? = nil, options: BundleWriter.Options = BundleWriter.Options(),
    in system: any FileSystem = PosixFileSystem()
  ) throws -> QuantizationReport {
    let writer: BundleWriter
    let bundle: Bundle
    if let output {
      bundle = try Bundle(path: path, in: system)
      if system.kind(output) != nil { throw FormatError(.alreadyExists, path: output) }
      writer = try BundleWriter(creating: output, options: options, in: system)
    } else {
      writer = try BundleWriter(appendingTo: path, options: options, in: system)
      guard let base = writer.base else { throw FormatError(.writerClosed, path: path) }
      bundle = base
    }
    defer { writer.abort() }
    let plans = try self.plans(bundle, clock: options.clock(), on: options.pool)
    for bank in bundle.banks {
      guard let plan = plans.first(where: { $0.bank.name.hasSameBytes(as: bank.name) }) else {
        if output != nil {
          try writer.addBank(
            bank.name, id: bank.id, card: try bundle.card(of: bank),
            entries: try bundle.entriesToCopy(of: bank), isExternal: bank.isExternal)
        }
        continue
      }
      try plan.write(to: writer, isCopy: output != nil)
    }
    if let output, system.kind(output) != nil { throw FormatError(.alreadyExists, path: output) }
    let added = try writer.commit(note: note)
    return QuantizationReport(
      path: writer.path, generation: writer.generation, addedBytes: added,
      tensors: try plans.flatMap { try $0.report(writer) }, notes: plans.flatMap(\.notes))
  }

  /// Raw bytes that it writes, for progress.
  public func rawBytes(of bundle: Bundle, isCopy: Bool) throws -> UInt64 {
    let plans = try self.plans(bundle, clock: 0, on: nil)
    return bundle.banks.reduce(0) { total, bank in
      if let plan = plans.first(where: { $0.bank.name.hasSameBytes(as: bank.name) }) {
        return total + plan.rawBytes(isCopy: isCopy)
      }
      return total + (isCopy && !bank.isExternal ? bank.logicalBytes : 0)
    }
  }

  /// What becomes of each bank that is about to change.
  ///
  /// - Parameter pool: The workers that read whole tensors where a type asks for it; nil to leave that out.
  private func plans(_ bundle: Bundle, clock: UInt64, on pool: WorkerPool?) throws -> [BankQuantization] {
    var plans: [BankQuantization] = []
    if let base {
      guard let bank = bundle.root.bank("base") else { throw ExpertError(.noBase, path: bundle.path) }
      if bank.isExternal { throw ExpertError(.weightsElsewhere, path: bundle.path) }
      let record = QuantizationRecord(
        type: base, kept: TensorClass.allCases.filter(kept.contains),
        calibration: base.takesImportance ? importance?.textHash : nil, clock: clock)
      plans.append(
        try BankQuantization(
          base: bank, in: bundle, record, importance: base.takesImportance ? importance : nil))
    }
    if let experts {
      let banks =
        try names.map { try $0.map { try bundle.bank("expert/" + $0) } } ?? bundle.banks(ofKind: "expert")
      if banks.isEmpty {
        throw ExpertError(.nothingToQuantize, path: bundle.path, found: "it has no experts")
      }
      let record = QuantizationRecord(type: experts, kept: [], calibration: nil, clock: clock)
      for bank in banks { plans.append(try BankQuantization(expert: bank, in: bundle, record)) }
    }
    guard plans.contains(where: { !$0.conversions.isEmpty }) else {
      let reasons = plans.flatMap(\.notes)
      throw ExpertError(
        .nothingToQuantize, path: bundle.path,
        found: reasons.isEmpty
          ? "say what the base or the experts are to become" : reasons.joined(separator: "; "))
    }
    guard let pool else { return plans }
    return try plans.map { try $0.prepared(on: pool) }
  }

  /// What history says of it.
  private var note: String {
    let parts = [base.map { "base to \($0.name)" }, experts.map { "experts to \($0.name)" }]
    return "quantize " + parts.compactMap(\.self).joined(separator: ", ")
  }
}
