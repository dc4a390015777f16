import LMoECore
public import LMoEFormat

/// What differs between two bundles: banks, their tensors and documents, and their cards.
public struct BundleDifference: Sendable {
  /// One difference.
  public struct Item: Hashable, Sendable {
    /// How the two sides differ.
    public enum Change: String, Hashable, Sendable {
      case onlyInFirst = "only in first"
      case onlyInSecond = "only in second"
      case type = "dtype or shape differs"
      case values = "values differ"
      case bytes = "bytes differ"
      case card = "card differs"
      case storage = "stored differently"
    }

    /// The bank's full name.
    public let bank: String
    /// The tensor or document; nil for the bank as a whole.
    public let entry: String?
    /// How it differs.
    public let change: Change
  }

  /// The differences, by bank and entry.
  public let items: [Item]

  /// Compares manifests and cards; no weights are read, their hashes say whether they are equal.
  public init(_ first: Bundle, _ second: Bundle) throws {
    var items: [Item] = []
    let names = Set((first.banks + second.banks).map { ByteKey($0.name) }).sorted()
    for name in names.map(\.text) {
      guard let left = first.root.bank(name) else {
        items.append(Item(bank: name, entry: nil, change: .onlyInSecond))
        continue
      }
      guard let right = second.root.bank(name) else {
        items.append(Item(bank: name, entry: nil, change: .onlyInFirst))
        continue
      }
      items += Self.entries(name, try first.manifest(of: left), try second.manifest(of: right))
      if try first.card(of: left) != second.card(of: right) {
        items.append(Item(bank: name, entry: nil, change: .card))
      }
      if left.isExternal != right.isExternal || left.isRaw != right.isRaw {
        items.append(Item(bank: name, entry: nil, change: .storage))
      }
    }
    self.items = items
  }

  private static func entries(_ bank: String, _ first: Manifest, _ second: Manifest) -> [Item] {
    struct Key: Hashable, Comparable {
      let `class`: UInt8
      let name: ByteKey
      static func < (left: Key, right: Key) -> Bool {
        (left.class, left.name) < (right.class, right.name)
      }
    }
    func table(_ manifest: Manifest) -> [Key: Entry] {
      Dictionary(
        uniqueKeysWithValues: manifest.entries.map {
          (Key(class: $0.class.rawValue, name: ByteKey($0.name)), $0)
        })
    }
    let (left, right) = (table(first), table(second))
    return Set(left.keys).union(right.keys).sorted().compactMap { key in
      let change: Item.Change? =
        switch (left[key], right[key]) {
        case (nil, _): .onlyInSecond
        case (_, nil): .onlyInFirst
        case (let a?, let b?) where a.type != b.type: a.class == .tensor ? .type : .bytes
        case (let a?, let b?) where a.contentHash != b.contentHash: a.class == .tensor ? .values : .bytes
        default: nil
        }
      return change.map { Item(bank: bank, entry: key.name.text, change: $0) }
    }
  }
}
