public import LMoECore
import LMoEFormat

/// The state of an interrupted training run, in a file beside the bundle: the last checkpoint, and the values
/// of the best evaluation if there was one (registry §5.4).
///
/// The file is a bundle with banks of the kind `training` and nothing else.
public struct TrainingState: Sendable {
  /// One checkpoint of the file.
  public struct Checkpoint: Sendable {
    /// What it says beside its numbers.
    public let card: TrainingCard
    /// Its tensors: names and shapes, sorted by name.
    public let tensors: [(name: String, shape: [Int])]
    let bundle: Bundle
    let bank: BankEntry
  }

  /// What a checkpoint has of a trained tensor.
  public enum Part: String, CaseIterable, Hashable, Sendable {
    case value
    case firstMoment = "first"
    case secondMoment = "second"

    /// The name of a checkpoint's tensor: the part, and the name of what is trained.
    public func name(of parameter: String) -> String { "\(rawValue)/\(parameter)" }
  }

  /// The file.
  public let path: String
  /// Where the run stood when it was last saved.
  public let last: Checkpoint
  /// The values of the best evaluation.
  public let best: Checkpoint?

  static let kind = "training"
  static let lastName = "training/last"
  static let bestName = "training/best"

  /// Opens a state: cards and lists are checked now, numbers when they are read.
  ///
  /// - Throws: `TrainingStateError`.
  public init(
    path: String, in system: any FileSystem = PosixFileSystem()
  ) throws(TrainingStateError) {
    let bundle = try Self.reading(path) { () throws(FormatError) in try Bundle(path: path, in: system) }
    guard bundle.banks.contains(where: { $0.kind == Self.kind }) else {
      throw TrainingStateError(.notAState, path: path)
    }
    guard let last = try Self.checkpoint(Self.lastName, in: bundle) else {
      throw TrainingStateError(.invalid, path: path, found: "it has no checkpoint \(Self.lastName)")
    }
    (self.path, self.last, best) = (path, last, try Self.checkpoint(Self.bestName, in: bundle))
  }

  private static func checkpoint(
    _ name: String, in bundle: Bundle
  ) throws(TrainingStateError) -> Checkpoint? {
    guard let bank = bundle.root.bank(name) else { return nil }
    let (json, manifest) = try reading(bundle.path) { () throws(FormatError) in
      (try bundle.card(of: bank), try bundle.manifest(of: bank))
    }
    guard let card = TrainingCard(json) else {
      throw TrainingStateError(
        .invalid, path: bundle.path, found: "the card of \(name) is not that of a checkpoint")
    }
    for tensor in manifest.tensors where tensor.type.dtype != .f32 {
      throw TrainingStateError(
        .invalid, path: bundle.path, found: "its tensor \(tensor.name.shortened) is not float32")
    }
    return Checkpoint(
      card: card, tensors: manifest.tensors.map { ($0.name, $0.type.shape) }, bundle: bundle, bank: bank)
  }

  /// Runs what reads a state.
  static func reading<Result>(
    _ path: String, _ body: () throws(FormatError) -> Result
  ) throws(TrainingStateError) -> Result {
    do throws(FormatError) { return try body() } catch { throw TrainingStateError(reading: path, error) }
  }
}
