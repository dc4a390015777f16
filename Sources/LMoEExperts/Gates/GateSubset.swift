import LMoECore
import LMoEFormat

/// What is left of a gate without some experts (registry §5.2.1).
struct GateSubset {
  private let dropped: Set<Bits128>
  private let remaining: Set<Bits128>

  /// A gate without the experts of these ids, unless they remain under another name.
  ///
  /// Rows of other ids stay, whether the bundle has such an expert or not.
  init(without dropped: some Sequence<BankEntry>, of banks: some Sequence<BankEntry>) {
    let dropped = Set(dropped.map(\.id))
    remaining = Set(banks.filter { $0.kind == "expert" }.map(\.id)).subtracting(dropped)
    self.dropped = dropped.subtracting(remaining)
  }

  /// The card without them.
  func card(_ card: JSON) -> JSON {
    guard var object = card.object else { return card }
    for list in Self.lists {
      guard let rows = object[list]?.array else { continue }
      object[list] = .array(rows.filter { !isDropped($0["expert"]?.string) })
    }
    return .object(object)
  }

  /// Whether a tensor or document is none of theirs (`<expert id>/<place>`).
  func keeps(_ name: String, _ class: Entry.Class) -> Bool {
    `class` != .tensor || !isDropped(Self.expert(name))
  }

  /// What a tensor's name begins with; nil if nothing comes after it.
  private static func expert(_ name: String) -> String? {
    let id = name.utf8.prefix { $0 != UInt8(ascii: "/") }
    return id.count == name.utf8.count ? nil : String(decoding: id, as: UTF8.self)
  }

  /// What a gate loses; nil if nothing.
  func change(_ bank: BankEntry, card: JSON, manifest: Manifest) -> GateChange? {
    let lists = Self.lists.map { list in (card[list]?.array ?? []).map { $0["expert"]?.string } }
    let lost = lists.map { $0.count(where: isDropped) }
    let rows = manifest.tensors.count { !keeps($0.name, .tensor) }
    guard rows > 0 || lost != [0, 0] else { return nil }
    let isDeserted =
      (rows > 0 && !manifest.tensors.contains { isRemaining(Self.expert($0.name)) })
      || zip(lists, lost).contains { list, lost in lost > 0 && !list.contains(where: isRemaining) }
    return GateChange(
      gate: bank.shortName, rowCount: rows, memberCount: lost[0], weightCount: lost[1], isDeserted: isDeserted
    )
  }

  /// The fields of a card that list experts.
  private static let lists = ["members", "weights"]

  private func isDropped(_ id: String?) -> Bool {
    id.flatMap(Bits128.init(hexadecimal:)).map(dropped.contains) ?? false
  }

  private func isRemaining(_ id: String?) -> Bool {
    id.flatMap(Bits128.init(hexadecimal:)).map(remaining.contains) ?? false
  }
}
