import LMoECore

/// What the four superblock copies say together (specification §2.3).
struct SuperblockChoice {
  /// The whole copy with the highest generation.
  let newest: Superblock
  /// The best whole copy of the other slot, if any.
  let other: Superblock?
  /// Copies that are neither whole nor empty.
  let damaged: Int
  /// Whether all four copies are as an undisturbed file has them; if not, a successor may exist.
  let isInOrder: Bool

  init(_ area: [UInt8], header: Header, checking: Bool = true) throws(FormatError) {
    var whole: [[Superblock]] = [[], []]
    var damaged = 0
    for slot in 0..<2 {
      let records = Superblock.copies.map { copy in
        let start = Int(Limits.slots[slot] + copy)
        return Array(area[start..<start + Header.recordBytes])
      }
      for record in records {
        if record.allSatisfy({ $0 == 0 }) { continue }
        if !checking || isSealed(record) {
          whole[slot].append(try Superblock(parsing: record, slot: slot, header: header))
        } else {
          damaged += 1
        }
      }
      let pair = whole[slot]
      if pair.count == 2, pair[0].generation == pair[1].generation, records[0] != records[1] {
        throw FormatError(
          .superblockInvalid, offset: Limits.slots[slot], field: "two copies of one generation differ")
      }
    }
    guard let newest = (whole[0] + whole[1]).max(by: { $0.generation < $1.generation }) else {
      throw FormatError(.superblocksDamaged)
    }
    let own = Int(newest.generation & 1)
    let others = whole[1 - own]
    self.newest = newest
    self.other = others.max { $0.generation < $1.generation }
    self.damaged = damaged
    isInOrder =
      whole[own].count == 2 && whole[own].allSatisfy { $0.generation == newest.generation }
      && others.count == 2 && others.allSatisfy { $0.generation == newest.generation - 1 }
  }
}
