public import LMoECore

/// What a checkpoint of an interrupted training run says beside its numbers (registry §5.4).
public struct TrainingCard: Sendable {
  /// The number of steps that were taken.
  public var step: Int
  /// The `file_uuid` of the bundle that is trained.
  public var bundle: Bits128
  /// The banks that are trained, as they were when the run began or last published.
  public var banks: [BankStamp]
  /// An object of what else the run needs to go on: counters, the place in the data, options.
  public var run: JSON

  /// Puts them together.
  public init(step: Int, bundle: Bits128, banks: [BankStamp], run: JSON = [:]) {
    (self.step, self.bundle, self.banks, self.run) = (step, bundle, banks, run)
  }

  /// Reads a card; nil if it is none of a checkpoint.
  init?(_ json: JSON?) {
    guard let json, json["card"]?.int == 1, json["kind"] == "training", let step = json["step"]?.int,
      let bundle = json["bundle"]?["file_uuid"]?.string.flatMap({ Bits128(hexadecimal: $0) }),
      let rows = json["banks"]?.array
    else { return nil }
    let banks = rows.compactMap { BankStamp($0) }
    guard banks.count == rows.count else { return nil }
    self.init(step: step, bundle: bundle, banks: banks, run: json["run"] ?? [:])
  }

  func json(clock: UInt64) -> JSON {
    [
      "card": Cards.schema, "kind": "training", "step": .integer(step),
      "bundle": ["file_uuid": .string(bundle.description)], "banks": .array(banks.map(\.json)),
      "run": run, "saved_ns": .integer(clock), "tool": .string(toolName),
    ]
  }
}
