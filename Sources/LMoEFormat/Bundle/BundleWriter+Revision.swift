public import LMoECore

extension BundleWriter {
  /// Gives a bank another content: entries leave and others come; those that stay are not written again, and
  /// the bank keeps its id.
  ///
  /// - Parameters:
  ///   - name: The full name.
  ///   - card: What the bank means from now on.
  ///   - isKept: Which of its tensors and documents stay.
  ///   - entries: Tensors and documents that come, in any order.
  /// - Throws: `no-such-bank`, `manifest-damaged`, `invalid-name` for a name that stands twice, `too-large`,
  ///   `io`.
  @discardableResult public func reviseBank(
    _ name: String, card: JSON, keeping isKept: (Entry) -> Bool, adding entries: [NewEntry] = []
  ) throws(FormatError) -> BankEntry {
    let bank = banks[try index(of: name)]
    let kept = try manifest(of: bank).entries.filter(isKept)
    return try step { () throws(FormatError) in
      do throws(FormatError) {
        let added =
          entries.isEmpty ? [] : try write(try Self.sorted(entries), isExternal: bank.isExternal).entries
        let manifest = try Self.merged(kept, added)
        let extent = try appendCard(card, bank: name)
        banks.remove(at: try index(of: name))
        return try finishBank(
          name, id: bank.id, card: extent, manifest: manifest, isExternal: bank.isExternal)
      } catch { throw error.at(bank: name) }
    }
  }

  /// One list in the manifest's order.
  private static func merged(_ kept: [Entry], _ added: [Entry]) throws(FormatError) -> Manifest {
    if added.isEmpty { return Manifest(entries: kept) }
    let sorted = (kept + added).map { (key: ByteKey($0.name), entry: $0) }.sorted {
      ($0.entry.class.rawValue, $0.key) < ($1.entry.class.rawValue, $1.key)
    }
    for (left, right) in zip(sorted, sorted.dropFirst())
    where left.key == right.key && left.entry.class == right.entry.class {
      throw FormatError(
        .invalidName, entry: right.entry.name, field: "it stands twice", found: right.entry.name)
    }
    return Manifest(entries: sorted.map(\.entry))
  }
}
