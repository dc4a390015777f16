public import LMoECore
public import LMoEFormat

extension TrainingState {
  /// What becomes of the values of the best evaluation.
  public enum Best: Sendable {
    /// There are none.
    case none
    /// Those in the file stay, if it has any.
    case kept
    /// These.
    case new(TrainingCard, [FloatTensor])
  }

  /// Saves the state of a run: the file at `path` is replaced as a whole, or stays as it is.
  ///
  /// - Parameters:
  ///   - card: Where the run stands.
  ///   - tensors: Its numbers: values and moments.
  ///   - best: The values of the best evaluation.
  ///   - path: The file; one that is there must be such a state.
  ///   - options: How it is written; tensors are stored raw whatever they say.
  /// - Throws: `TrainingStateError`: `not-saved` with the reason, after which the file is what it was;
  ///   `uncertain`; `not-a-training-state` for a file of another kind at `path`.
  public static func save(
    _ card: TrainingCard, _ tensors: [FloatTensor], best: Best = .kept, to path: String,
    options: BundleWriter.Options = BundleWriter.Options(), in system: any FileSystem = PosixFileSystem()
  ) throws(TrainingStateError) {
    try requireWhole(tensors, path: path)
    if case .new(_, let tensors) = best { try requireWhole(tensors, path: path) }
    let previous = try previous(path, best, in: system)
    var options = options
    options.codec = .raw
    do throws(FormatError) {
      let writer = try BundleWriter(creating: path, resumes: true, options: options, in: system)
      defer { writer.abort() }
      try add(lastName, card, tensors, to: writer)
      switch best {
      case .none: break
      case .new(let card, let tensors): try add(bestName, card, tensors, to: writer)
      case .kept:
        if let previous, let bank = previous.root.bank(bestName) {
          try writer.addBank(
            bestName, id: bank.id, card: try previous.card(of: bank),
            entries: try previous.entriesToCopy(of: bank))
        }
      }
      try writer.commit(note: "step \(card.step)")
    } catch {
      throw TrainingStateError(saving: path, error)
    }
  }

  private static func requireWhole(
    _ tensors: [FloatTensor], path: String
  ) throws(TrainingStateError) {
    for tensor in tensors where tensor.entry == nil {
      throw TrainingStateError(
        .notSaved, path: path, found: "the values of \(tensor.name) do not fill the shape \(tensor.shape)")
    }
  }

  private static func add(
    _ name: String, _ card: TrainingCard, _ tensors: [FloatTensor], to writer: BundleWriter
  ) throws(FormatError) {
    let entries = tensors.compactMap(\.entry)
    try writer.addBank(name, card: card.json(clock: writer.options.clock()), entries: entries)
  }

  /// The state that is to be replaced, which may be damaged unless something of it stays.
  private static func previous(
    _ path: String, _ best: Best, in system: any FileSystem
  ) throws(TrainingStateError) -> Bundle? {
    guard let kind = system.kind(path) else { return nil }
    guard kind == .file else { throw TrainingStateError(.notAState, path: path) }
    do throws(FormatError) {
      let bundle = try Bundle(path: path, in: system)
      // Somebody's bundle, perhaps: it is not ours to replace.
      if bundle.banks.contains(where: { $0.kind == Self.kind }) { return bundle }
    } catch {
      if error.code != .notLMoE {
        if case .kept = best { throw TrainingStateError(saving: path, error) }
        return nil
      }
    }
    throw TrainingStateError(.notAState, path: path)
  }
}
