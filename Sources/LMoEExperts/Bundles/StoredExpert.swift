public import LMoECore
public import LMoEFormat

/// An expert that is in a bundle, and may be copied to another.
public struct StoredExpert: Sendable {
  /// The bundle.
  public let bundle: Bundle
  /// Its bank there.
  public let bank: BankEntry
  /// Its card.
  public let card: JSON
  /// Its tensors and documents.
  let manifest: Manifest

  /// Finds the expert `name` in `bundle`.
  ///
  /// - Throws: `no-such-bank`, or what reading the card and the manifest throws.
  public init(_ name: String, in bundle: Bundle) throws {
    self.bundle = bundle
    bank = try bundle.bank("expert/" + name)
    card = try bundle.card(of: bank) ?? [:]
    manifest = try bundle.manifest(of: bank)
  }

  /// `FILE#NAME`.
  public var path: String { bundle.path + "#" + bank.shortName }
  /// Raw bytes of its tensors.
  public var rawBytes: UInt64 { bank.logicalBytes }

  /// The source id of the base it was trained on, as its card has it.
  public var baseSourceID: String? { card["base"]?["source_id"]?.string }

  /// Its card for a bundle with another base: what says how it matches is adapted, all else is kept.
  ///
  /// - Parameters:
  ///   - sourceID: The source id of the base there.
  ///   - allowsMismatch: Whether the bases may differ.
  /// - Throws: `ExpertError` with `base-mismatch`.
  func card(forBase sourceID: String?, allowsMismatch: Bool) throws -> JSON {
    var base = card["base"]?.object ?? JSONObject()
    switch (baseSourceID, sourceID) {
    case (let own?, let other?) where !isSameID(own, other):
      let wasAccepted = base["accepted_for"]?.string.map { isSameID($0, other) } ?? false
      guard allowsMismatch || wasAccepted else {
        throw ExpertError(.baseMismatch, path: path, expected: other, found: own)
      }
      base["match"] = .string(Self.mismatched)
      base["accepted_for"] = .string(other)
    case (_?, _?) where base["match"]?.string != Self.mismatched:
      return card
    default:
      // Names and shapes agree, which is checked apart, and that is all that is known.
      base["match"] = "asserted"
      base["accepted_for"] = nil
      base["source_id"] = (baseSourceID ?? sourceID).map(JSON.string) ?? .null
    }
    var copy = card.object ?? JSONObject()
    copy["base"] = .object(base)
    return .object(copy)
  }

  private static let mismatched = "mismatched"
}

/// Whether both hexadecimal texts are the same id.
func isSameID(_ first: String, _ second: String) -> Bool {
  first.hasSameBytes(as: second)
    || Bits128(hexadecimal: first).map { $0 == Bits128(hexadecimal: second) } ?? false
}

extension BundleWriter {
  /// Copies an expert of a bundle as the bank `expert/<name>`, its chunks as they are stored, after checking
  /// that it fits the base here.
  ///
  /// It keeps its id: gates refer to experts by id, and it is the same expert. Only where the bundle already
  /// has a bank of that id, which makes this a copy beside the original, it gets a fresh one.
  ///
  /// - Parameters:
  ///   - expert: The expert.
  ///   - name: Its name here.
  ///   - allowsMismatch: Whether it may have been trained on another base; shapes must fit all the same.
  /// - Returns: The bank, and whether the bases differ.
  /// - Throws: `ExpertError` if it does not fit, `FormatError`.
  @discardableResult public func addExpert(
    copying expert: StoredExpert, named name: String, allowsMismatch: Bool = false
  ) throws -> (bank: BankEntry, isMismatched: Bool) {
    try requireExpertName(name)
    guard let current = self.base else { throw ExpertError(.noBase, path: path) }
    let base = try BaseShapes(current)
    let card = try expert.card(forBase: base.sourceID, allowsMismatch: allowsMismatch)
    try ExpertFit(card: card, manifest: expert.manifest, path: expert.path).check(againstBase: base.shape)
    let isTaken = banks.contains { $0.id == expert.bank.id }
    let bank = try addBank(
      "expert/" + name, id: isTaken ? nil : expert.bank.id, card: card,
      entries: try expert.bundle.entriesToCopy(of: expert.bank))
    return (bank, card["base"]?["match"] == "mismatched")
  }
}

extension Bundle {
  /// The names of its experts, for a sentence.
  public var expertNames: String {
    let names = banks(ofKind: "expert").map(\.shortName)
    if names.isEmpty { return "no experts" }
    let more = names.count > 20 ? " and \(names.count - 20) more" : ""
    return names.prefix(20).joined(separator: ", ") + more
  }
}
