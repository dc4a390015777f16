public import LMoECore

extension BundleWriter {
  /// Takes a bank out.
  ///
  /// Its bytes stay in the file until it is compacted.
  ///
  /// - Throws: `no-such-bank`.
  public func removeBank(_ name: String) throws(FormatError) {
    try requireOpen()
    banks.remove(at: try index(of: name))
  }

  /// Gives a bank another full name; it keeps its id.
  ///
  /// - Throws: `no-such-bank`, `bank-exists`, `invalid-name`.
  public func renameBank(_ name: String, to newName: String) throws(FormatError) {
    try requireOpen()
    let index = try index(of: name)
    guard isValidName(newName) else { throw FormatError(.invalidName, path: path, found: newName) }
    guard !banks.contains(where: { $0.name.hasSameBytes(as: newName) }) else {
      throw FormatError(.bankExists, path: path, bank: newName)
    }
    var bank = banks.remove(at: index)
    bank.name = newName
    insert(bank)
  }

  /// Replaces a bank's card; its manifest and weights stay where they are.
  public func replaceCard(of name: String, with card: JSON) throws(FormatError) {
    let index = try index(of: name)
    try step { () throws(FormatError) in banks[index].card = try appendCard(card, bank: name) }
  }

  /// Takes tensors and documents out of a bank; the others stay where they are, and so does its id.
  ///
  /// - Parameters:
  ///   - name: The full name.
  ///   - card: What the bank means from now on.
  ///   - isKept: Which entries stay.
  /// - Throws: `no-such-bank`, `manifest-damaged`, `too-large`, `io`.
  public func reduceBank(
    _ name: String, card: JSON, keeping isKept: (Entry) -> Bool
  ) throws(FormatError) {
    try reviseBank(name, card: card, keeping: isKept)
  }

  /// The place of the bank with that full name.
  func index(of name: String) throws(FormatError) -> Int {
    guard let index = banks.firstIndex(where: { $0.name.hasSameBytes(as: name) }) else {
      throw FormatError(
        .noSuchBank, path: path, bank: name, expected: closestName(to: name, among: banks.map(\.name)))
    }
    return index
  }

  /// What a bank holds that this writer has written, or found in the file.
  ///
  /// - Throws: `manifest-damaged`, `manifest-invalid`, `io`.
  public func manifest(of bank: BankEntry) throws(FormatError) -> Manifest {
    try step { () throws(FormatError) in
      let bytes = try io { () throws(FileError) in
        try file.bytes(at: bank.manifest.offset, count: Int(bank.manifest.length))
      }
      guard Checksum.hash128(bytes) == bank.manifest.hash else {
        throw FormatError(.manifestDamaged, bank: bank.name, offset: bank.manifest.offset)
      }
      return try Manifest(parsing: bytes, isExternal: bank.isExternal, end: end)
    }
  }

  /// The card of a bank that this writer has written, or found in the file; nil if it has none.
  ///
  /// - Throws: `card-damaged`, `card-invalid`, `io`.
  public func card(of bank: BankEntry) throws(FormatError) -> JSON? {
    guard let extent = bank.card else { return nil }
    return try step { () throws(FormatError) in
      let bytes = try io { () throws(FileError) in
        try file.bytes(at: extent.offset, count: Int(extent.length))
      }
      guard Checksum.hash128(bytes) == extent.hash else {
        throw FormatError(.cardDamaged, bank: bank.name, offset: extent.offset)
      }
      do throws(JSONError) { return try JSON(parsing: bytes) } catch {
        throw FormatError(.cardInvalid, bank: bank.name, found: error.description)
      }
    }
  }

  /// Puts a bank in its place by name.
  func insert(_ bank: BankEntry) {
    let place = banks.firstIndex { ByteKey(bank.name) < ByteKey($0.name) } ?? banks.count
    banks.insert(bank, at: place)
  }

  func appendCard(_ card: JSON, bank: String) throws(FormatError) -> Extent {
    guard card.object != nil else {
      throw FormatError(.cardInvalid, bank: bank, found: "something other than an object")
    }
    let bytes = Array(card.serialized().utf8)
    guard bytes.count <= Int(Limits.cardBytes) else {
      throw FormatError(
        .tooLarge, bank: bank, field: "card", expected: "at most \(Limits.cardBytes) bytes",
        found: "\(bytes.count)")
    }
    return try append(bytes)
  }

  /// Adds a bank: encodes its entries on all workers, each chunk decoded again and compared before it is
  /// written, and writes its manifest and card.
  ///
  /// - Parameters:
  ///   - name: The full name.
  ///   - id: The bank's id; by default a new one.
  ///   - card: What the bank means; required for base, expert and gate.
  ///   - entries: Tensors and documents, in any order.
  ///   - isExternal: Record the tensors' names, types and hashes, and not their bytes.
  /// - Throws: `bank-exists`, `invalid-name`, `too-large`, `encoding-failed`, `io`, or what a source throws.
  @discardableResult public func addBank(
    _ name: String, id: Bits128? = nil, card: JSON?, entries: [NewEntry], isExternal: Bool = false
  ) throws(FormatError) -> BankEntry {
    try addBank(name, id: id, entries: entries, isExternal: isExternal) { _ in card }
  }

  /// Adds a bank whose card depends on its content.
  ///
  /// - Parameter card: Makes the card, given the bank's content id.
  @discardableResult public func addBank(
    _ name: String, id: Bits128? = nil, entries: [NewEntry], isExternal: Bool = false,
    card: (Bits128) -> JSON?
  ) throws(FormatError) -> BankEntry {
    try step { () throws(FormatError) in
      guard isValidName(name) else { throw FormatError(.invalidName, found: name) }
      guard !banks.contains(where: { $0.name.hasSameBytes(as: name) }) else {
        throw FormatError(.bankExists, bank: name)
      }
      do throws(FormatError) {
        let manifest = try write(try Self.sorted(entries), isExternal: isExternal)
        var extent: Extent?
        if let card = card(manifest.contentID) { extent = try appendCard(card, bank: name) }
        let fresh = try io { () throws(FileError) in try options.identifier() }
        return try finishBank(
          name, id: id ?? fresh, card: extent, manifest: manifest, isExternal: isExternal)
      } catch { throw error.at(bank: name) }
    }
  }

  /// Writes the manifest of a bank whose chunks and card are written.
  func finishBank(
    _ name: String, id: Bits128, card: Extent?, manifest: Manifest, isExternal: Bool
  ) throws(FormatError) -> BankEntry {
    let geometries = Set(manifest.entries.compactMap(\.type.geometry)).count
    guard geometries <= 255 else {
      throw FormatError(
        .tooLarge, bank: name, field: "block geometries", expected: "at most 255", found: "\(geometries)")
    }
    let bytes = manifest.encoded()
    guard bytes.count <= Int(Limits.manifestBytes), manifest.entries.count <= Int(Limits.entries) else {
      throw FormatError(.tooLarge, bank: name, field: "manifest", found: "\(bytes.count) bytes")
    }
    let bank = BankEntry(
      id: id, name: name, isExternal: isExternal, isRaw: !isExternal && manifest.isRaw,
      manifest: try append(bytes), card: card, contentID: manifest.contentID,
      tensorCount: UInt32(manifest.tensors.count), documentCount: UInt32(manifest.documents.count),
      logicalBytes: manifest.logicalBytes, storedBytes: manifest.storedBytes)
    // Nothing is written that this reader would refuse.
    try bank.check(against: try Manifest(parsing: bytes, isExternal: isExternal, end: end))
    insert(bank)
    duplicates?.add(manifest)
    return bank
  }

  /// Entries in the manifest's order, names checked.
  static func sorted(_ entries: [NewEntry]) throws(FormatError) -> [NewEntry] {
    let sorted = entries.map { (key: ByteKey($0.name), entry: $0) }.sorted {
      ($0.entry.class.rawValue, $0.key) < ($1.entry.class.rawValue, $1.key)
    }
    for (left, right) in zip(sorted, sorted.dropFirst())
    where left.key == right.key && left.entry.class == right.entry.class {
      throw FormatError(
        .invalidName, entry: right.entry.name, field: "it stands twice", found: right.entry.name)
    }
    for item in sorted where !isValidName(item.entry.name) {
      throw FormatError(
        .invalidName, entry: item.entry.name,
        field: "names have 1 to \(Limits.nameBytes) bytes, no control characters and no component \"..\"",
        found: item.entry.name)
    }
    return sorted.map(\.entry)
  }
}
