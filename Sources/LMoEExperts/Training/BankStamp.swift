public import LMoECore
public import LMoEFormat

/// What a bank was at one moment: enough to tell later whether it is still the same.
///
/// Renaming and compacting change nothing of it.
public struct BankStamp: Hashable, Sendable {
  /// Its full name then.
  public let name: String
  /// Its id.
  public let id: Bits128
  /// The content id: names, types and values of its tensors.
  public let contentID: Bits128
  /// The hash of its card; nil if it has none.
  public let cardHash: Bits128?

  /// Takes the stamp of a bank.
  public init(_ bank: BankEntry) {
    (name, id, contentID, cardHash) = (bank.name, bank.id, bank.contentID, bank.card?.hash)
  }

  /// Reads one that `json` made; nil if it is none.
  public init?(_ json: JSON) {
    guard let name = json["bank"]?.string, let id = Self.bits(json["id"]),
      let contentID = Self.bits(json["content_id"])
    else { return nil }
    (self.name, self.id, self.contentID, cardHash) = (name, id, contentID, Self.bits(json["card_hash"]))
  }

  private static func bits(_ json: JSON?) -> Bits128? {
    json?.string.flatMap { Bits128(hexadecimal: $0) }
  }

  /// What a card has of it (registry §5.4).
  public var json: JSON {
    [
      "bank": .string(name), "id": .string(id.description), "content_id": .string(contentID.description),
      "card_hash": cardHash.map { .string($0.description) } ?? .null,
    ]
  }

  /// The bank among `banks`, whatever its name is now.
  ///
  /// - Returns: nil if it is gone, and the bank of today if it was changed.
  func find(in banks: [BankEntry]) -> BankEntry? { banks.first { $0.id == id } }

  /// Whether `bank` is what it was.
  func matches(_ bank: BankEntry) -> Bool {
    bank.id == id && bank.contentID == contentID && bank.card?.hash == cardHash
  }
}

extension [BankStamp] {
  /// Makes sure that the banks of a bundle are what the stamps say.
  ///
  /// - Throws: `ExpertError` with `changed-meanwhile` that names those that are not.
  public func require(in bundle: Bundle) throws { try require(bundle.banks, path: bundle.path) }

  /// Makes sure that the banks of today are what the stamps say.
  ///
  /// - Throws: `ExpertError` with `changed-meanwhile` that names those that are not.
  func require(_ banks: [BankEntry], path: String) throws(ExpertError) {
    let changes = compactMap { stamp -> String? in
      guard let bank = stamp.find(in: banks) else { return "\(stamp.name) is gone" }
      return stamp.matches(bank) ? nil : "\(bank.name) was changed"
    }
    if !changes.isEmpty {
      throw ExpertError(.changedMeanwhile, path: path, found: changes.joined(separator: ", "))
    }
  }
}
